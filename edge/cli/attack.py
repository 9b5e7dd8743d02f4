"""`edge-agent attack`: red-team replay through the deployed path."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli.options import bundle_names, settings_defaults

if TYPE_CHECKING:
    from edge.redteam import Outcome


def attack(
    recording: Path = typer.Argument(
        ...,
        metavar="RECORDING",
        help="WFDB, EDF, CSV, npz or UCR .tsv file, or a zip or folder of them.",
        show_default=False,
    ),
    *,
    bundle: str | None = typer.Option(
        None, "--bundle", autocompletion=bundle_names, metavar="NAME|FILE",
        help="Shipped bundle or bundle file. Default: as configured.",
    ),
    epsilon: float | None = typer.Option(
        None,
        "--epsilon",
        metavar="X",
        help="Largest change of a sample, in the bundle's unit. Default: 10 where that is uV, else 0.1.",
    ),
    attacks: str | None = typer.Option(
        None,
        "--attacks",
        metavar="NAMES",
        help="With commas. Default: the stored waveform, else all there are.",
    ),
    record: list[str] = typer.Option(
        [], "--record", metavar="NAME", help="Only this record; may be given several times."
    ),
    labels: str | None = typer.Option(
        None, "--labels", metavar="NAMES", help="Labels that are events, with commas. Default: all."
    ),
    join: bool = typer.Option(
        False, "--join", help="Play all records one after the other, as one stream, each without its mean."
    ),
    rate_hz: float | None = typer.Option(
        None,
        "--rate-hz",
        metavar="X",
        help="Sampling rate of files that do not say it. Default: the bundle's.",
    ),
    seed: int = typer.Option(0, "--seed", metavar="N", min=0, help="Seed of every random choice."),
    json_out: bool = typer.Option(False, "--json", help="The outcome as JSON."),
) -> None:
    """Replay recordings clean and attacked: how many verdicts and events turned, and how many were noticed.

    Attacks: `universal`, a stored waveform that needs no look at the signal, and, where a package offers them (the
    trainer does), attacks by gradient, which need one. The device's window starts are not known to any of them. They
    act on the signal at the bundle's rate.
    """
    from edge.build import load_bundle
    from edge.cli.progress import steps
    from edge.config import EventSettings
    from edge.decisions import label_rules
    from edge.redteam import RedTeamError, joined, offered, run
    from edge.sources import replay

    settings = settings_defaults().bundle
    change = {"name": bundle, "path": None} if bundle else {}
    loaded, classifier = load_bundle(settings.model_copy(update=change))
    manifest = loaded.manifest
    wanted = tuple(labels.split(",")) if labels else manifest.labels
    events = EventSettings(labels=wanted)
    label_rules(events, manifest.labels)
    names = attacks.split(",") if attacks else offered(loaded)[:1]
    if not names:
        raise RedTeamError(f"no attack for {manifest.ref} here: pip install 'wavewall[trainer]'")
    budget = epsilon if epsilon is not None else 10.0 if manifest.input.units == "uV" else 0.1
    records = replay.open_set(recording, manifest.input, rate_hz)
    played = [replay.read(records, name) for name in record or records.names]
    if join:
        played = [joined(played)]
    outcomes = [
        run(name, loaded, classifier, played, budget, events=events, seed=seed)
        for name in steps(names, "attacks")
    ]
    if json_out:
        rows = [{"attack": o.attack, "epsilon": o.epsilon, **asdict(o.turned)} for o in outcomes]
        facts = {"bundle": manifest.ref, "recordings": len(played), "labels": list(wanted), "rows": rows}
        typer.echo(json.dumps(facts, indent=2))
        return
    first = outcomes[0].turned
    typer.echo(
        f"{manifest.ref}: {len(played)} stream(s), {first.hours * 60:.1f} minutes, {first.windows} windows, "
        f"{first.clean_events} events of {', '.join(wanted)}, {first.false_tampers} tamper events without attack"
    )
    for outcome in outcomes:
        typer.echo(_text(outcome, manifest.input.units))


def _text(outcome: Outcome, units: str) -> str:
    turned = outcome.turned
    share = turned.turned / turned.windows if turned.windows else 0.0
    return (
        f"{outcome.attack} of {outcome.epsilon:g} {units}: verdicts turned {turned.turned} ({share:.1%}), of them "
        f"noticed {turned.turned_noticed}; events turned {turned.events_turned} ({turned.lost} lost, {turned.false} "
        f"false), of them noticed {turned.events_noticed}; suspect windows {turned.suspect}, tamper events "
        f"{turned.tampers}"
    )


def register(app: typer.Typer) -> None:
    app.command("attack")(attack)
