"""Keeps the agent's parts running and knows which of them no longer move.

A part is a thread's body. One that raises is started again after a pause that doubles; the others go on. One that hangs
cannot be helped from inside: it is named in `health`, and the watchdog is no longer fed (edge/watchdog.py), so that
systemd starts the process anew. What a part owes as a sign of life is that it looks at its stop event: every
part does several times a minute, so a `Pulse` in its place notes the time and costs nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from edge.backoff import Backoff
from edge.metrics import Metrics
from edge.sources.base import Closed

log = logging.getLogger("edge.supervise")

RESTART_MIN_S, RESTART_MAX_S = 1.0, 30.0
# A part that ran for so long was well: its next failure is a new one.
WELL_S = 60.0


class Pulse(threading.Event):
    """A stop event that notes when it was looked at. Waiting on it is a sign of life until the wait is over."""

    def __init__(self, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._stop, self._clock = stop, clock
        self.alive_s = clock()

    def is_set(self) -> bool:
        self.alive_s = self._clock()
        return self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self.alive_s = self._clock() + (timeout or 0.0)
        done = self._stop.wait(timeout)
        self.alive_s = self._clock()
        return done

    def set(self) -> None:
        self._stop.set()


def spawn(name: str, target: Callable[[], object]) -> threading.Thread:
    """A thread of the agent's; a daemon, so that a hanging driver or name server cannot keep a stopped agent alive."""
    thread = threading.Thread(target=target, name=f"edge-{name}", daemon=True)
    thread.start()
    return thread


class Supervisor:
    """`keep` runs in a part's own thread; `stuck` and `down` may be asked for from any."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._clock = metrics, clock
        self._names: set[str] = set()
        self._down: dict[str, str] = {}
        self._pulses: dict[str, tuple[Pulse, Callable[[], bool]]] = {}

    def start(
        self,
        name: str,
        body: Callable[[threading.Event], object],
        stop: threading.Event,
        *,
        watched: bool = True,
        excused: Callable[[], bool] = lambda: False,
    ) -> threading.Thread:
        """A thread that is kept. `watched`: `body` looks at its stop several times a minute; `excused`: see `pulse`."""
        name = self.name(name)
        seen = self.pulse(name, stop, excused) if watched else stop
        return spawn(name, lambda: self.keep(name, partial(body, seen), stop))

    def name(self, wanted: str) -> str:
        """A name that no part has now: two serial ports are source-serial and source-serial-2."""
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}-{count}"
        self._names.add(name)
        return name

    def pulse(
        self, name: str, stop: threading.Event, excused: Callable[[], bool] = lambda: False
    ) -> threading.Event:
        """`stop` for the part of this name, watched while the part is kept. `excused`: it waits for another part."""
        pulse = Pulse(stop, self._clock)
        self._pulses[name] = pulse, excused
        return pulse

    def keep(self, name: str, body: Callable[[], object], stop: threading.Event) -> None:
        """Run `body` until it returns or raises Closed, or `stop` is set; after any other error, again."""
        pause = Backoff(RESTART_MIN_S, RESTART_MAX_S)
        try:
            while True:
                began = self._clock()
                try:
                    body()
                    return
                except Closed:
                    return
                except Exception as error:
                    self._metrics.add_by("restarts", name)
                    self._down[name] = f"failed ({type(error).__name__}); started again after a pause"
                    log.exception("%s failed; starting it again", name)
                if self._clock() - began > WELL_S:
                    pause.reset()
                if stop.wait(pause.next_s()):
                    return
                self._down.pop(name, None)
        finally:
            self._down.pop(name, None)
            self._pulses.pop(name, None)
            self._names.discard(name)

    @property
    def down(self) -> dict[str, str]:
        """Parts that failed and wait to be started again."""
        return dict(self._down)

    def stuck(self, limit_s: float) -> dict[str, str]:
        """Parts that have not moved for `limit_s`, and how long that is."""
        out, now = {}, self._clock()
        for name, (pulse, excused) in list(self._pulses.items()):
            if excused():
                pulse.alive_s = max(pulse.alive_s, now)
            elif now - pulse.alive_s > limit_s:
                out[name] = f"has not moved for {limit_s:g} s"
        return out
