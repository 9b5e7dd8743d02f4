"""`edge-agent replay`: recorded signals through the very code that runs live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli.options import bundle_names, option_time, settings_defaults

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.pipeline.classify import Classifier
    from edge.types import Result


def replay(
    recording: Path | None = typer.Argument(
        None,
        metavar="RECORDING",
        help="WFDB, EDF, CSV, npz or UCR .tsv file, or a zip or folder of them. With --from-recorder: the agent's "
        "durability.folder; default: that of the environment.",
        show_default=False,
    ),
    *,
    from_recorder: bool = typer.Option(
        False, "--from-recorder", help="Answer again what an agent's flight recorder holds."
    ),
    since: str | None = typer.Option(
        None, "--since", metavar="T", help="With --from-recorder: from this time on, e.g. 2026-01-31T08:00:00Z."
    ),
    record: list[str] = typer.Option(
        [], "--record", metavar="NAME", help="Only this record; may be given several times."
    ),
    bundle: str | None = typer.Option(
        None, "--bundle", autocompletion=bundle_names, metavar="NAME|FILE",
        help="Shipped bundle or bundle file. Default: as configured.",
    ),
    json_lines: bool = typer.Option(False, "--json", help="One JSON result a line."),
    stream: str | None = typer.Option(
        None, "--stream", metavar="ID", help="Stream id. Default: the record's name."
    ),
    rate_hz: float | None = typer.Option(
        None,
        "--rate-hz",
        metavar="X",
        help="Sampling rate of files that do not say it. Default: the bundle's.",
    ),
    node: str | None = typer.Option(
        None, "--node", metavar="ID", help="Node id; it enters the results' ids."
    ),
    key: Path | None = typer.Option(
        None, "--key", metavar="FILE", help="Public key that the bundle must be signed by."
    ),
    threads: int = typer.Option(1, "--threads", metavar="N", min=1, max=64, help="Interpreter threads."),
) -> None:
    """Classify every window of recorded signals and print the results."""
    import sys
    import uuid

    from edge.build import load_bundle
    from edge.cli.progress import steps
    from edge.clock import SYSTEM_CLOCK
    from edge.engine import Engine
    from edge.metrics import Metrics
    from edge.names import is_name, to_name
    from edge.settings import ConfigError
    from edge.sources import replay as source

    settings = settings_defaults()
    change = {
        "threads": threads,
        **({"name": bundle, "path": None} if bundle else {}),
        **({"key": key} if key else {}),
    }
    if stream is not None and not is_name(stream):
        raise ConfigError(f"--stream {stream!r}: use 1 to 64 of A-Z a-z 0-9 _ -", key="stream")
    loaded, classifier = load_bundle(settings.bundle.model_copy(update=change))
    if from_recorder:
        folder = recording or settings.durability.folder
        if folder is None:
            raise ConfigError("--from-recorder: give the agent's durability.folder", key="durability.folder")
        _again(folder, since, stream, node or settings.node.id, loaded, classifier, json_lines)
        return
    if recording is None or since is not None:
        raise ConfigError("give a RECORDING, or --from-recorder with the agent's folder", key="RECORDING")
    records = source.open_set(recording, loaded.manifest.input, rate_hz)
    metrics = Metrics()
    engine = Engine(
        loaded,
        classifier,
        node=node or settings.node.id,
        boot_id=uuid.uuid4().hex,
        metrics=metrics,
        max_streams=1,
    )
    shown = 0
    for name in steps(record or records.names, "records", quiet=sys.stdout.isatty()):
        item = source.read(records, name)
        stream_id = stream or to_name(item.name)
        for block in source.blocks(item, stream_id, SYSTEM_CLOCK.utc()):
            for result in engine.push(block):
                shown += 1
                _print(result, item.label, json_lines)
    for reason, count in metrics.by("dropped").items():
        typer.echo(f"dropped: {count} blocks ({reason})", err=True)
    if not shown:
        typer.echo("error: no window came out; see the messages above", err=True)
        raise typer.Exit(1)


def _again(
    folder: Path,
    since: str | None,
    stream: str | None,
    node: str,
    bundle: Bundle,
    classifier: Classifier,
    json_lines: bool,
) -> None:
    """The recorder's samples through the pipeline: with the same bundle and node, the same ids and answers."""
    import uuid

    from edge.engine import Engine
    from edge.metrics import Metrics
    from edge.recorder.reading import Choice, recorded

    engine = Engine(
        bundle, classifier, node=node, boot_id=uuid.uuid4().hex, metrics=Metrics(), max_streams=100_000
    )
    shown = 0
    for each in recorded(folder, Choice(stream, option_time("--since", since))):
        for result in engine.push(each.block, aligned=each.aligned, origin=each.origin):
            shown += 1
            _print(result, None, json_lines)
    if not shown:
        typer.echo("error: no window came out; nothing that is recorded fills one", err=True)
        raise typer.Exit(1)


def _print(result: Result, truth: str | None, json_lines: bool) -> None:
    from edge.cli.show import line

    typer.echo(result.to_json() if json_lines else line(result, truth))


def register(app: typer.Typer) -> None:
    app.command("replay")(replay)
