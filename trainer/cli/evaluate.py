"""``trainer evaluate``: accuracy under attack, of the float twin and of the very file that ships."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.cli.common import (
    EXIT_FAILED,
    fail,
    load_keras,
    native_notes_hidden,
    progress_bar,
    tells_mistakes,
)

if TYPE_CHECKING:
    from trainer.evaluate.pieces import Share
    from trainer.evaluate.runner import Runner
    from trainer.evaluate.subject import Subject


class Split(str, Enum):
    """Which records."""

    TEST = "test"
    VAL = "val"
    TRAIN = "train"
    ALL = "all"


class Norm(str, Enum):
    """How a change is measured."""

    LINF = "linf"
    L2 = "l2"


class TargetChoice(str, Enum):
    """Which of the two models answers."""

    FLOAT = "float"
    INT8 = "int8"
    FILE = "file"
    BOTH = "both"


@tells_mistakes
def evaluate(
    model: Annotated[str, typer.Argument(help="A bundle, a run folder, or the name of a shipped bundle.")],
    data: Annotated[
        Path, typer.Option("--data", help="UCR folder, CinC 2017 zip or folder, .npz, or CSV folder.")
    ],
    split: Annotated[Split, typer.Option("--split", help="Which part of the data.")] = Split.TEST,
    records: Annotated[
        str | None,
        typer.Option(
            "--records",
            help="Only these records of the part: a file with a name a line, or names with commas.",
        ),
    ] = None,
    attacks: Annotated[
        str,
        typer.Option(
            "--attacks",
            help="With commas: clean, standard (a suite), fgsm, pgd, sap, apgd, cw, smooth, band, universal, eot, "
            "joint, quantized; without gradients square, nes, hopskipjump, boundary, noise.",
        ),
    ] = "clean",
    epsilon: Annotated[
        str | None,
        typer.Option(
            "--epsilon",
            help="Budget per sample in the data's units, several with commas; 10 where those are uV, else 0.1.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of an attack, ATTACK.NAME=VALUE as in pgd.steps=50; repeat for more."),
    ] = None,
    target: Annotated[
        TargetChoice,
        typer.Option("--target", help="The float twin, the device's file (int8, or file for any other), or both."),
    ] = TargetChoice.BOTH,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the rows here.")] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Write the answer to each record here, as CSV.")
    ] = None,
    twin: Annotated[
        Path | None,
        typer.Option("--twin", help="The run a bundle was exported from, where it is not a shipped one."),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", help="The window.toml of a MODEL that is somebody else's .tflite file.")
    ] = None,
    norm: Annotated[
        Norm, typer.Option("--norm", help="What epsilon bounds: each sample, or the root of the squared changes.")
    ] = Norm.LINF,
    bounds: Annotated[
        str | None, typer.Option("--bounds", help="LOW,HIGH in the data's units, which no changed sample passes.")
    ] = None,
    quantum: Annotated[
        float, typer.Option("--quantum", help="Changes are whole multiples of this, one integer of the converter.")
    ] = 0.0,
    through: Annotated[
        str | None,
        typer.Option(
            "--through",
            help="Make the attacks on the float twin of this model instead: a bundle, a run folder or a name.",
        ),
    ] = None,
    undefended: Annotated[
        str | None,
        typer.Option(
            "--undefended",
            help="The network that the transfer attack of 'standard' is made on; for ECG the shipped ecg-undefended.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random choice.")] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", help="At most so many records, spread evenly over the part.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Processes side by side, one thread each; the rows are the same.")
    ] = 1,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Share the work over a Ray cluster instead: ray://HOST:10001 (extra ray)."),
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option("--parts", help="Keep what is finished in this folder, and take what is there: goes on after "
                     "a stop."),
    ] = None,
) -> None:  # fmt: skip
    """Measure accuracy, clean and under attack, with 95 % intervals and warnings about hidden gradients.

    Accuracy ignores the verdict's status. The int8 file is attacked by windows made on its float twin; of all
    surrogate gradients the worst answer of each record counts. Samples that padding adds are never attacked.
    """
    from trainer.data.registry import load_data
    from trainer.errors import EvaluationError
    from trainer.evaluate import report, standard
    from trainer.evaluate.plan import Plan
    from trainer.evaluate.rows import rows_of
    from trainer.evaluate.runner import Runner
    from trainer.evaluate.scope import check, missing_labels
    from trainer.evaluate.subject import open_foreign, open_subject
    from trainer.evaluate.windows import choose, fit, read_names

    if spec is not None and Path(model).suffix != ".tflite":
        raise EvaluationError("--spec goes with a .tflite file; a bundle says itself what its windows are")
    with native_notes_hidden():
        foreign = Path(model).suffix == ".tflite"
        subject = open_foreign(Path(model), spec) if foreign else open_subject(model, twin)
        attacked = open_subject(through) if through is not None else None
    targets = _targets(subject, target)
    names = tuple(name.strip() for name in attacks.split(",") if name.strip())
    names = _possible(subject, names) if attacked is None else names
    transferred = _undefended(subject, undefended) if standard.NAME in names else None
    ball, settings = _ball(norm, bounds, quantum), _settings(given or [], names)
    plan = Plan(names, _budgets(epsilon, subject.spec.units), targets, seed, settings, ball)
    if "float" in targets or set(names) - {"clean"}:
        load_keras()
    check(subject, plan, attacked)
    chosen = choose(
        load_data(data).part(split.value), read_names(records) if records is not None else None, limit
    )
    windows = fit(chosen, subject.spec)
    _tell_refit(subject, split)
    with progress_bar(unit="records") as bar:
        tasks = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, note="")
            bar.update(tasks[stage], completed=done)

        with _shared(jobs, address, parts) as share:
            runner = Runner(subject, windows, plan, progress, attacked, transferred, share)
            _tell_limits(runner, missing_labels(windows))
            trials = runner.run()
    rows = rows_of(trials, subject.spec.units)
    if json_out is not None:
        report.write_text(
            json_out,
            report.to_json(
                subject.name,
                f"{chosen.spec.name}/{split.value}",
                seed,
                rows,
                attacked.name if attacked is not None else None,
            ),
        )
    if predictions is not None:
        report.write_text(predictions, report.to_csv(trials, chosen.names, subject.spec.labels))
    made = f", attacked through {attacked.name}" if attacked is not None else ""
    typer.echo(f"{subject.name} on {len(windows)} records of {chosen.spec.name}/{split.value}{made}")
    typer.echo(report.to_table(rows))
    if any(trial.refused for trial in trials):
        fail("a gradient of zero is no robustness: rows without a figure could not be attacked", EXIT_FAILED)


def _tell_refit(subject: Subject, split: Split) -> None:
    """A refit has learnt from the validation records."""
    card = subject.bundle.card if subject.bundle is not None else {}
    if split is Split.VAL and card.get("training", {}).get("data", {}).get("refit"):
        says = f"{subject.name} has learnt from the validation records (data.refit): figures on them are too good"
        typer.echo(f"note: {says}; take --split test", err=True)


@contextmanager
def _shared(jobs: int, address: str | None, parts: Path | None) -> Iterator[Share | None]:
    """What does the pieces: this process (None), others, a cluster; and where results stay."""
    from trainer import grid
    from trainer.evaluate import pieces

    if address is None and jobs == 1 and parts is None:
        yield None
        return
    made = grid.pool(jobs, address)
    with made as pool:
        share = partial(pool.map, pieces.run)
        yield share if parts is None else pieces.kept(parts, share)


def _targets(subject: Subject, chosen: TargetChoice) -> tuple[str, ...]:
    """What "both" means for this subject; what cannot be measured is said."""
    if chosen is not TargetChoice.BOTH:
        return (chosen.value,)
    if subject.quantization is None:
        typer.echo(f"{subject.name} is a run: only the float target is measured", err=True)
    elif subject.twin_at is None:
        typer.echo(
            f"{subject.name} has no float twin: only its file is measured, and attacked without gradients (square, "
            "noise) or through another model (--through)",
            err=True,
        )
    return subject.targets


def _possible(subject: Subject, names: tuple[str, ...]) -> tuple[str, ...]:
    """The attacks that can be run; without a float twin those that need gradients are left out, and it is said."""
    from trainer.evaluate import standard
    from trainer.evaluate.scope import needing_gradients

    if subject.twin_at is not None or not set(names) - {"clean"}:
        return names
    load_keras()
    left_out = needing_gradients(names)
    kept = tuple(name for name in names if name not in left_out)
    if standard.NAME in kept:
        typer.echo(f"{subject.name} has no float twin: of 'standard' only square and transfer are run", err=True)
    if not set(kept) - {"clean"}:
        return names  # nothing is left of what was asked for: refused with the reason
    if left_out:
        typer.echo(
            f"{subject.name} has no float twin: only black-box attacks are run; left out: {', '.join(left_out)}",
            err=True,
        )
    return kept


def _ball(norm: Norm, bounds: str | None, quantum: float) -> dict[str, Any]:
    """What every attack is told beside its budget; nothing by default."""
    from trainer.errors import EvaluationError

    given: dict[str, Any] = {}
    if norm is not Norm.LINF:
        given["norm"] = norm.value
    if bounds is not None:
        try:
            low, high = (float(part) for part in bounds.split(","))
        except ValueError as error:
            raise EvaluationError(f"--bounds {bounds!r} is not LOW,HIGH: two numbers in the data's units") from error
        given["bounds"] = (low, high)
    if quantum:
        given["quantum"] = quantum
    return given


def _settings(given: list[str], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """``--set`` by attack; values are JSON, anything else a word."""
    from trainer.errors import EvaluationError
    from trainer.evaluate import standard

    found: dict[str, dict[str, Any]] = {}
    for text in given:
        place, equals, value = text.partition("=")
        name, _, key = place.partition(".")
        if not (equals and key and name in names) or name in ("clean", standard.NAME):
            raise EvaluationError(f"--set {text!r}: give ATTACK.NAME=VALUE for one of --attacks, such as pgd.steps=50")
        try:
            found.setdefault(name, {})[key] = json.loads(value)
        except ValueError:
            found.setdefault(name, {})[key] = value
    return found


def _tell_limits(runner: Runner, missing: tuple[str, ...]) -> None:
    """What a reader of the figures must know beforehand."""
    units = runner.subject.spec.units
    if missing:
        typer.echo(
            f"no record of class {', '.join(missing)}: macro F1 and balanced accuracy are over the other classes, and "
            "say nothing of how often these are missed",
            err=True,
        )
    large = [e for e in runner.plan.epsilons if e >= runner.reach and set(runner.plan.attacks) - {"clean"}]
    if large:
        typer.echo(
            f"epsilon {', '.join(f'{e:g}' for e in large)} {units} is larger than the signal, which stays within "
            f"{runner.reach:.4g} {units} of its middle: any record can become any other, and accuracy must fall to "
            "next to nothing; smaller budgets say more",
            err=True,
        )


def _undefended(subject: Subject, given: str | None) -> Subject | None:
    """What ``standard`` transfers from: what was named, or the shipped undefended net where it takes the same
    windows.
    """
    from trainer.evaluate.subject import open_subject

    with native_notes_hidden():
        if given is not None:
            return open_subject(given)
        shipped = open_subject("ecg-undefended")
    keys = ("units", "rate_hz", "window_samples", "channels", "labels")
    if shipped.name != subject.name and all(getattr(shipped.spec, k) == getattr(subject.spec, k) for k in keys):
        return shipped
    typer.echo("no undefended network for these windows: 'standard' leaves its transfer attack out", err=True)
    return None


def _budgets(text: str | None, units: str) -> tuple[float, ...]:
    from trainer.errors import EvaluationError

    if text is None:
        return (10.0,) if units == "uV" else (0.1,)
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise EvaluationError(f"--epsilon {text!r} is not a number, or several with commas") from error
