"""What several commands share: ending on a signal, and the options of a port."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from firmware_bridge.decoder import Dialect
    from firmware_bridge.serial_stream import SerialStream

PortArgument = Annotated[str, typer.Argument(help="Path, URL, serial:NUMBER of a USB device, or auto.")]
BaudOption = Annotated[int, typer.Option(help="Ignored by USB devices and pseudo-terminals.")]
DialectOption = Annotated[str, typer.Option(help="binary frames, csv lines, or auto to find out.")]
SecondsOption = Annotated[float | None, typer.Option(help="End after this long; else on Ctrl-C.")]
RateOption = Annotated[
    float | None, typer.Option("--rate", help="Samples a second, where lines of numbers do not say.")
]


def stop_on_signal() -> threading.Event:
    """Set on Ctrl-C or SIGTERM: commands end cleanly with exit code 0."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def check_dialect(text: str) -> Dialect:
    """The dialect, or a usage error."""
    known: dict[str, Dialect] = {"auto": "auto", "binary": "binary", "csv": "csv"}
    if text in known:
        return known[text]
    raise typer.BadParameter(f"{text!r} is none of auto, binary, csv", param_hint="--dialect")


def open_stream(port: str, baud: int) -> SerialStream:
    """The port, open: a command that is typed should say at once why it cannot be."""
    from firmware_bridge.serial_stream import SerialStream

    stream = SerialStream(port, baud)
    stream.open()
    return stream


def chunks(
    stream: SerialStream, stop: threading.Event, seconds: float | None, *, idle_s: float = 0.1
) -> Iterator[tuple[float, bytes]]:
    """(seconds since the start, bytes) until stopped or the time is over; empty bytes while nothing comes."""
    began = time.monotonic()
    while not stop.is_set():
        data = stream.read(idle_s)
        since = time.monotonic() - began
        yield since, data
        if seconds is not None and since >= seconds:
            return
