"""``trainer attack``: streams attacked while they flow, scored by what people are told."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from trainer.cli.common import load_keras, native_notes_hidden, progress_bar, tells_mistakes


class Stage(str, Enum):
    """Where the outcome is counted."""

    VERDICT = "verdict"
    DECISION = "decision"


@tells_mistakes
def attack(
    model: Annotated[str, typer.Argument(help="A bundle, or the name of a shipped bundle.")],
    data: Annotated[
        Path, typer.Option("--data", help="UCR folder, CinC 2017 zip or folder, .npz, or CSV folder.")
    ],
    stage: Annotated[
        Stage, typer.Option("--stage", help="Count verdicts alone, or the events made of them, too.")
    ] = Stage.DECISION,
    attacks: Annotated[
        str,
        typer.Option(
            "--attacks", help="With commas: universal (causal), or an attack on blocks: pgd, sap, ..."
        ),
    ] = "noise,universal,pgd",
    epsilon: Annotated[
        float | None,
        typer.Option(
            "--epsilon", help="Budget per sample in the data's units; 10 where those are uV, else 0.1."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Labels that are events, with commas; all if not given.")
    ] = None,
    hours: Annotated[float, typer.Option("--hours", help="Hours of signal, made of test records.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random choice.")] = 0,
    twin: Annotated[
        Path | None,
        typer.Option("--twin", help="The run a bundle was exported from, where it is not a shipped one."),
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the rows here.")] = None,
) -> None:
    """Attack streams whose window starts the attacker does not know, and count what turned for each hour of signal.

    Records of the test part are joined to streams. `universal` learns one waveform on training records and plays it
    from a random phase on; any other attack is run on blocks of the stream that do not match the device's windows.
    Gradients come from the float twin; the bundle's own file is judged.
    """
    load_keras()
    from trainer.data.registry import load_data
    from trainer.errors import EvaluationError
    from trainer.evaluate import report
    from trainer.evaluate.attacked import attack_streams
    from trainer.evaluate.streams import Rules, make_streams, score
    from trainer.evaluate.subject import open_subject

    with native_notes_hidden():
        subject = open_subject(model, twin)
    if subject.bundle is None or subject.device is None:
        raise EvaluationError(f"{model}: is a run; export it first, as events are made by the bundle's file")
    wanted = tuple(labels.split(",")) if labels else subject.spec.labels
    unknown = sorted(set(wanted) - set(subject.spec.labels))
    if unknown:
        raise EvaluationError(
            f"--labels: {subject.name} has no {', '.join(unknown)}; it has {', '.join(subject.spec.labels)}"
        )
    if not hours > 0:
        raise EvaluationError(f"--hours {hours:g}: give a number above 0")
    budget = epsilon if epsilon is not None else 10.0 if subject.spec.units == "uV" else 0.1
    records = load_data(data)
    rows = []
    with progress_bar(unit="attacks") as bar:
        names = [name.strip() for name in attacks.split(",") if name.strip()]
        task = bar.add_task(subject.name, total=len(names), note="")
        for name in names:
            import numpy as np

            streams = make_streams(records.part("test"), hours, np.random.default_rng(seed))
            attacked = attack_streams(name, subject, records, streams, budget, seed)
            pairs = list(zip(streams, attacked, strict=True))
            turned = score(subject.bundle, subject.device, pairs, Rules(wanted), records.spec.rate_hz)
            rows.append({"attack": name, "epsilon": budget, "units": subject.spec.units, **asdict(turned)})
            bar.advance(task)
    if json_out is not None:
        head = {"model": subject.name, "data": records.spec.name, "labels": list(wanted), "seed": seed}
        report.write_text(json_out, json.dumps({**head, "rows": rows}, indent=1) + "\n")
    typer.echo(
        f"{subject.name}: {rows[0]['hours']:.2f} hours of {records.spec.name}/test, {rows[0]['windows']} windows, "
        f"{rows[0]['clean_events']} events of {', '.join(wanted)}, {rows[0]['false_tampers']} tamper events when clean"
    )
    for row in rows:
        typer.echo(_line(row, stage))


def _line(row: dict, stage: Stage) -> str:
    share = row["turned"] / row["windows"] if row["windows"] else 0.0
    text = (
        f"{row['attack']:<10} {row['epsilon']:g} {row['units']}  verdicts turned {row['turned']:>4} ({share:.1%}), "
        f"noticed {row['turned_noticed']}"
    )
    if stage is Stage.DECISION:
        turned = row["lost"] + row["false"]
        text += (
            f"; events turned {turned:>3} ({turned / row['hours']:.1f} an hour: {row['lost']} lost, "
            f"{row['false']} false), noticed {row['events_noticed']}; tamper events {row['tampers']}"
        )
    return text
