"""`edge-agent demo`."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer


def demo(
    seconds: float = typer.Option(
        60.0,
        "--seconds",
        metavar="N",
        min=1.0,
        max=3600.0,
        help="How long to play; the second half is attacked.",
    ),
) -> None:
    """Watch an attack on the wire: a device, a defended and an undefended agent, side by side.

    Needs no hardware: the device is simulated on a pseudo-terminal and plays a synthetic ECG at ten times real
    time. The broker is mosquitto where it is installed, else amqtt. Exit code 1 where too little was seen to
    tell anything.
    """
    from edge.demo.session import run_demo

    def say(line: str) -> None:
        typer.echo(line)
        sys.stdout.flush()  # a pipe shows rows as they come, too

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # the way on which broker and agents are stopped, too

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    if not run_demo(seconds, say, colour=sys.stdout.isatty()):
        raise typer.Exit(1)
