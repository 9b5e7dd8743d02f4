"""`edge-agent run`."""

from __future__ import annotations

import os
import signal
from types import FrameType

import typer

from edge.cli.options import with_settings
from edge.config import Settings


def run(settings: Settings) -> None:
    """Run the agent until Ctrl-C or SIGTERM, or until a replay has been played to its end.

    Without a configuration: samples from and results to the broker on localhost, with the bundle ecg-rhythm.
    """
    from edge.agent import Agent
    from edge.cli import logs

    logs.set_up(settings.log.level)
    stop = Stop()
    stop.install()
    Agent(settings).run(lambda: stop.asked)


class Stop:
    """SIGTERM or Ctrl-C ask for a proper stop; the second one does not wait for it."""

    def __init__(self) -> None:
        self.asked = False

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Only a flag: a lock taken here could be held by the very code that the signal interrupted.
        if self.asked:
            os._exit(128 + number)
        self.asked = True


def register(app: typer.Typer) -> None:
    app.command("run")(with_settings(run))
