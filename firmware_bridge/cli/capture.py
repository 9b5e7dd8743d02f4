"""``firmware-bridge record``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.cli.common import (
    BaudOption,
    DialectOption,
    PortArgument,
    RateOption,
    SecondsOption,
    check_dialect,
    chunks,
    open_stream,
    stop_on_signal,
)


def record(
    port: PortArgument,
    out: Annotated[
        Path, typer.Argument(help=".hea (WFDB), .npz, .csv, or .raw for the bytes with their times.")
    ],
    *,
    baud: BaudOption = 115_200,
    dialect: DialectOption = "auto",
    seconds: SecondsOption = None,
    rate: RateOption = None,
) -> None:
    """Keep what a device sends. Each epoch (restart, END) becomes a recording; missing samples stay missing."""
    from firmware_bridge import codec
    from firmware_bridge.capture import RawWriter, Recorder
    from firmware_bridge.decoder import FrameDecoder
    from firmware_bridge.errors import RecordingError
    from firmware_bridge.receiver import Receiver
    from firmware_bridge.recordings import write_recording

    checked = check_dialect(dialect)
    kind = out.suffix.lower()
    if kind not in (".hea", ".npz", ".csv", ".raw"):
        raise RecordingError(f"{out}: recordings are written as .hea, .npz, .csv or .raw")
    if not out.parent.is_dir():
        raise RecordingError(f"{out.parent}: no such folder")
    stop = stop_on_signal()
    raw = RawWriter(out) if kind == ".raw" else None
    decoder, recorder, asker = FrameDecoder(checked), Recorder(out.stem, rate), Receiver(resend=False)
    written: list[Path] = []
    stream = open_stream(port, baud)
    try:
        for now_s, data in chunks(stream, stop, seconds):
            if raw is not None and data:
                raw.write(now_s, data)
            for item in decoder.feed(data) if data else []:
                asker.push(item, now_s)
                for done in recorder.push(item, now_s) if raw is None else []:
                    written += write_recording(done, out.with_name(done.name + kind))
            if decoder.dialect != "csv":
                for command in asker.commands(now_s):
                    stream.write(codec.encode(command))
            if recorder.full:
                typer.echo("this is as much as one recording takes; use .raw for more", err=True)
                break
    finally:
        stream.close()
        if raw is not None:
            raw.close()
    for done in recorder.finish():
        written += write_recording(done, out.with_name(done.name + kind))
    counters = decoder.counters
    if raw is not None:
        written.append(out)
    typer.echo(
        f"{counters.bytes} bytes, {counters.frames} frames, {counters.csv_rows} rows, {counters.bad_total} bad; "
        + ("wrote " + ", ".join(str(path) for path in written) if written else "nothing to write")
    )
    if not written:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(record)
