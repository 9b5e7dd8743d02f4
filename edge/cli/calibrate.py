"""`edge-agent calibrate`: suspect thresholds for one sensor, from its own clean recordings."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli.options import bundle_names, settings_defaults

if TYPE_CHECKING:
    import numpy as np

    from edge.bundle import Bundle
    from edge.pipeline.calibrate import Calibration, Values
    from edge.pipeline.classify import Classifier


def calibrate(
    recordings: Path = typer.Option(
        ...,
        "--recordings",
        metavar="DIR",
        help="Clean recordings of this sensor: a folder, zip or file.",
        show_default=False,
    ),
    *,
    false_alarms: float = typer.Option(
        0.01, "--false-alarms", metavar="X", help="Share of clean windows that may be called suspect."
    ),
    bundle: str | None = typer.Option(
        None, "--bundle", autocompletion=bundle_names, metavar="NAME|FILE",
        help="Shipped bundle or bundle file. Default: as configured.",
    ),
    record: list[str] = typer.Option(
        [], "--record", metavar="NAME", help="Only this recording; may be given several times."
    ),
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="The overlay to write. Default: NAME.overlay.json here."
    ),
    rate_hz: float | None = typer.Option(
        None,
        "--rate-hz",
        metavar="X",
        help="Sampling rate of files that do not say it. Default: the bundle's.",
    ),
    json_out: bool = typer.Option(False, "--json", help="The outcome as JSON."),
) -> None:
    """Set the thresholds of `suspect` for one sensor; writes an overlay and leaves the bundle untouched.

    The recordings must be untampered, and as the sensor will be used: with its noise and its loose electrodes.
    """
    from edge.build import load_bundle
    from edge.overlay import overlay_json, write_overlay
    from edge.pipeline.calibrate import calibrate as fit_thresholds

    settings = settings_defaults().bundle
    change = {"overlay": None, **({"name": bundle, "path": None} if bundle else {})}
    loaded, classifier = load_bundle(settings.model_copy(update=change))
    decision = loaded.manifest.decision
    measures, numbers, unjudged = measure(loaded, classifier, recordings, record, rate_hz)
    before = {"residual": decision.suspect_residual, "disagreement": decision.suspect_disagreement}
    found = fit_thresholds(measures, numbers, false_alarms, before)
    thresholds = {f"suspect_{name}": value for name, value in found.after.items()}
    path = out or Path(f"{loaded.manifest.name}.overlay.json")
    facts = {"false_alarms": false_alarms, "not_judged": unjudged, **asdict(found)}
    write_overlay(path, overlay_json(loaded, replace(decision, **thresholds), facts))
    if json_out:
        typer.echo(json.dumps({"bundle": loaded.manifest.ref, "overlay": str(path), **facts}, indent=2))
    else:
        _print(loaded, found, false_alarms, unjudged, path)


def measure(
    bundle: Bundle, classifier: Classifier, path: Path, names: list[str], rate_hz: float | None
) -> tuple[dict[str, Values], np.ndarray, int]:
    """The bundle's measures of every window of the recordings, the number of its recording, and how many windows
    could not be judged. Raises EdgeError.
    """
    import numpy as np

    from edge.cli.progress import steps
    from edge.engine import Engine
    from edge.errors import CalibrationError
    from edge.metrics import Metrics
    from edge.names import to_name
    from edge.sources import replay

    has = [
        name
        for name, output in (("residual", "reconstruction"), ("disagreement", "probabilities_raw"))
        if output in bundle.manifest.outputs
    ]
    if not has:
        raise CalibrationError(
            f"{bundle.manifest.ref} has neither a reconstruction nor a raw path, so no window is ever suspect; "
            "use a bundle with encode-decode"
        )
    engine = Engine(
        bundle, classifier, node="calibrate", boot_id="calibrate", metrics=Metrics(), max_streams=1
    )
    records = replay.open_set(path, bundle.manifest.input, rate_hz)
    rows: list[list[float]] = []
    numbers: list[int] = []
    unjudged = 0
    for number, name in enumerate(steps(names or records.names, "recordings")):
        recording = replay.read(records, name)
        for block in replay.blocks(recording, to_name(recording.name), 0.0):
            for result in engine.push(block):
                values = [getattr(result, measure) for measure in has]
                if (result.status == "abstain" and result.reason != "low_score") or None in values:
                    unjudged += 1
                    continue
                rows.append(values)
                numbers.append(number)
    table = np.asarray(rows, np.float64).reshape(len(rows), len(has))
    return {name: table[:, at] for at, name in enumerate(has)}, np.asarray(numbers, np.int64), unjudged


def _print(bundle: Bundle, found: Calibration, share: float, unjudged: int, path: Path) -> None:
    units = {"residual": f" {bundle.manifest.input.units}"}
    typer.echo(
        f"{bundle.manifest.ref}: {found.windows} windows of {found.recordings} recordings"
        + (f", {unjudged} more could not be judged" if unjudged else "")
    )
    typer.echo(f"{'':<22}{'before':>14}{'after':>14}")
    for name, after in found.after.items():
        old = found.before[name]
        was = "off" if old is None else f"{old:.4g}{units.get(name, '')}"
        typer.echo(f"{name + ' above':<22}{was:>14}{f'{after:.4g}' + units.get(name, ''):>14}")
    typer.echo(
        f"{'suspect':<22}{found.share_before:>14.2%}{found.share_after:>14.2%}   (asked for {share:.2%})"
    )
    if found.share_held_out is None:
        typer.echo("on recordings left out: too few of them to tell; give more recordings")
    else:
        typer.echo(f"{'on recordings left out':<22}{'':>14}{found.share_held_out:>14.2%}")
    typer.echo(f"wrote {path}; use it with bundle.overlay, or --bundle-overlay {path}")


def register(app: typer.Typer) -> None:
    app.command("calibrate")(calibrate)
