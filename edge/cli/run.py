"""`edge-agent run`."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import typer

from edge.cli.options import with_settings
from edge.config import Settings

if TYPE_CHECKING:
    from edge.types import Result

# Verdicts that wait for a terminal that stands still; then the oldest are not shown.
KEPT_VERDICTS = 10_000


def run(
    settings: Settings,
    *,
    loader: Callable[[], Settings],
    plain: bool = typer.Option(
        False, "--plain", help="On a terminal too: lines, one for each verdict, instead of the live view."
    ),
) -> None:
    """Run the agent until Ctrl-C or SIGTERM, or until a replay has been played to its end.

    Without a configuration: samples from and results to the broker on localhost, with the bundle ecg-rhythm.
    SIGHUP reads the configuration anew; a bad one is refused and the old one kept.

    On a terminal the streams are shown live; elsewhere, and with --plain, messages are lines on standard error.
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
    from edge.memory import one_arena

    uses_stdout = any(sink.kind == "stdout" for sink in settings.sink)
    live_wanted = _can_show(plain=plain, json_logs=settings.log.format == "json", uses_stdout=uses_stdout)
    # The pipeline only puts verdicts here: a terminal that stands still must not hold it up.
    lines: deque[Result] = deque(maxlen=KEPT_VERDICTS)
    on_result = lines.append if plain and not uses_stdout else None
    one_arena()
    agent = Agent(settings, watched=live_wanted, on_result=on_result)

    def tick() -> None:
        if hup.take():
            from edge.reload import reload

            reload(agent, loader)

    def say() -> None:
        tick()
        while lines:
            from edge.cli.show import line

            typer.echo(line(lines.popleft()))

    def is_asked() -> bool:
        return stop.asked

    if live_wanted:
        from edge.cli.live import LiveView

        with LiveView(agent) as picture:

            def draw() -> None:
                tick()
                picture.tick()

            agent.run(is_asked, draw)
    else:
        agent.run(is_asked, say)
        say()


def _can_show(*, plain: bool, json_logs: bool, uses_stdout: bool) -> bool:
    """Whether the live view can be shown: a capable terminal that nothing else writes to, and rich is installed."""
    if plain or json_logs or uses_stdout or not (sys.stdout.isatty() and sys.stderr.isatty()):
        return False
    if os.environ.get("TERM", "dumb") in ("", "dumb"):
        return False
    try:
        import rich.live  # noqa: F401
    except ImportError:
        return False
    return True


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
