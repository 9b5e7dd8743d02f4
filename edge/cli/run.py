"""`edge-agent run`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

import typer

from edge.cli.options import with_settings
from edge.config import Settings


def run(settings: Settings, *, loader: Callable[[], Settings]) -> None:
    """Run the agent until Ctrl-C or SIGTERM, or until a replay has been played to its end.

    Without a configuration: samples from and results to the broker on localhost, with the bundle ecg-rhythm.
    SIGHUP reads the configuration anew; a bad one is refused and the old one kept.
    """
    from edge.cli import logs

    logs.set_up(settings.log.level, settings.log.format)
    stop, hup = Stop(), Hup()
    stop.install()
    hup.install()
    if settings.node.role != "agent":
        _run_role(settings, lambda: stop.asked)
        return
    from edge.agent import Agent

    agent = Agent(settings)

    def tick() -> None:
        if hup.take():
            from edge.reload import reload

            reload(agent, loader)

    agent.run(lambda: stop.asked, tick)


def _run_role(settings: Settings, should_stop: Callable[[], bool]) -> None:
    if settings.node.role == "cutter":
        from edge.cluster.cutter import run_cutter

        run_cutter(settings, should_stop)
    else:
        from edge.cluster.worker import run_worker

        run_worker(settings, should_stop)


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


class Hup:
    """SIGHUP asks for the configuration to be read anew."""

    def __init__(self) -> None:
        self._asked = False

    def install(self) -> None:
        signal.signal(signal.SIGHUP, self._on_signal)

    def take(self) -> bool:
        """Whether it was asked for since the last call."""
        asked, self._asked = self._asked, False
        return asked

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True


def register(app: typer.Typer) -> None:
    app.command("run")(with_settings(run))
