"""`edge-agent export-recording` and `edge-agent erase`: what the flight recorder holds, taken out or forgotten."""

from __future__ import annotations

from pathlib import Path

import typer

from edge.cli.options import option_time, settings_defaults

FOLDER = typer.Option(
    None, "--folder", metavar="DIR", help="The agent's durability.folder. Default: that of the environment."
)


def export_recording(
    out: Path = typer.Argument(
        ..., metavar="OUT", help="File to write: .hea (WFDB, with a .dat), .csv or .npz.", show_default=False
    ),
    *,
    stream: str = typer.Option(..., "--stream", metavar="ID", help="The stream."),
    folder: Path | None = FOLDER,
    since: str | None = typer.Option(
        None, "--since", metavar="T", help="From this time on, e.g. 2026-01-31T08:00:00Z."
    ),
    before: str | None = typer.Option(None, "--before", metavar="T", help="Up to this time."),
) -> None:
    """Write what the flight recorder holds of a stream, also while the agent runs.

    A gap begins another file: OUT, OUT-2, OUT-3.
    """
    from edge.errors import EdgeError
    from edge.recorder.reading import Choice, runs, streams
    from edge.settings import suggestion
    from edge.types import rfc3339
    from firmware_bridge.messages import Channel
    from firmware_bridge.recordings import Recording, write_recording

    place = _folder(folder)
    choice = Choice(stream, option_time("--since", since), option_time("--before", before))
    count = 0
    for run in runs(place, choice):
        count += 1
        path = out if count == 1 else out.with_name(f"{out.stem}-{count}{out.suffix}")
        channels = tuple(Channel(n, u, 1.0) for n, u in zip(run.block.channels, run.block.units, strict=True))
        recording = Recording(path.stem, run.block.rate_hz, channels, analog=run.values)
        for written in write_recording(recording, path):
            typer.echo(f"{written}: {len(run.values)} samples from {rfc3339(run.block.t0)}")
    if not count:
        known = streams(place)
        hint = suggestion(stream, known) if stream not in known else "; at other times"
        raise EdgeError(f"{place}: nothing recorded of stream {stream!r} then{hint}")


def erase(
    *,
    stream: str = typer.Option(..., "--stream", metavar="ID", help="The stream."),
    folder: Path | None = FOLDER,
    before: str | None = typer.Option(
        None, "--before", metavar="T", help="Only what is older, e.g. 2026-01-31T08:00:00Z. Default: all."
    ),
    results: list[Path] = typer.Option(
        [],
        "--results",
        metavar="FILE",
        help="A results file to erase it from, too; may be given several times.",
    ),
    key: Path | None = typer.Option(
        None, "--key", metavar="FILE", help="Private key that signs the tombstones. Default: chain.key."
    ),
) -> None:
    """Erase a stream's recorded samples and waiting results; the agent must be stopped.

    A tombstone stays: what went and when, signed where there is a key. What subscribers and the broker hold is theirs.
    """
    import os

    from edge.bundle import signing
    from edge.chain import Signer
    from edge.clock import SYSTEM_CLOCK
    from edge.durability import lock_folder
    from edge.recorder.erase import erase as erase_now
    from edge.recorder.reading import Choice, RecorderError

    place = _folder(folder)
    if not place.is_dir():
        raise RecorderError(f"{place}: no such folder; give the agent's durability.folder")
    private = key or settings_defaults().chain.key
    signer = None if private is None else Signer(signing.load_private_key(private))
    lock = lock_folder(place)
    try:
        choice = Choice(stream, None, option_time("--before", before))
        done = erase_now(place, choice, now=SYSTEM_CLOCK.utc(), signer=signer, results=tuple(results))
    finally:
        os.close(lock)
    typer.echo(
        f"stream {stream}: {done.records} records ({done.samples} samples), {done.waiting} waiting results and "
        f"{done.lines} lines erased; tombstone {'signed' if signer else 'not signed (give --key)'}"
    )


def _folder(folder: Path | None) -> Path:
    from edge.settings import ConfigError

    place = folder or settings_defaults().durability.folder
    if place is None:
        raise ConfigError("--folder: give the agent's durability.folder", key="durability.folder")
    return place


def register(app: typer.Typer) -> None:
    app.command("export-recording")(export_recording)
    app.command("erase")(erase)
