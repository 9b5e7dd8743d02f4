"""systemd's notify protocol and its watchdog, without a dependency; nothing happens where systemd did not ask.

The watchdog is fed only while windows move or nothing is due: a process that is alive and does nothing is what
it is there for.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger("edge.watchdog")


class Notifier:
    """sd_notify(3) over the socket that systemd named."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        place = env.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL of an abstract socket; anything else but a path is a form of newer systemds.
        self._address = "\0" + place[1:] if place[:1] == "@" else place if place[:1] == "/" else ""
        # Containers have no such socket: there a file is touched instead, whose age a health check looks at.
        self._alive = env.get("WAVEWALL_ALIVE_FILE", "")
        own = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        micros = env.get("WATCHDOG_USEC", "0")
        self.period_s = int(micros) / 1e6 if own and micros.isdecimal() else 0.0

    def tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd not told: %s", error)

    def alive(self) -> None:
        """What is due gets done: feed systemd's watchdog, where there is one, and touch the container's file."""
        if self.period_s:
            self.tell("WATCHDOG=1")
        if self._alive:
            try:
                with open(self._alive, "w"):
                    pass
            except OSError as error:
                log.debug("%s not touched: %s", self._alive, error)


class Progress:
    """Whether what is due gets done: `due` things wait, `done` counts those worked off. Sampled, so that it is free."""

    def __init__(
        self, due: Callable[[], int], done: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._due, self._done, self._clock = due, done, clock
        self._seen, self._moved_s = done(), clock()

    def still_s(self) -> float:
        """How long something has been due without anything being done. Ask every second or oftener."""
        now, done = self._clock(), self._done()
        if not self._due() or done != self._seen:
            self._seen, self._moved_s = done, now
        return now - self._moved_s


class Watchdog:
    """Feeds systemd's watchdog while `stuck()` names nothing; says so once when it stops."""

    def __init__(
        self,
        notifier: Notifier,
        stuck: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier, self._stuck, self._clock = notifier, stuck, clock
        self._next_s = clock()
        self._told = ""

    def tick(self) -> None:
        """Call it several times in a watchdog's period."""
        now = self._clock()
        if now < self._next_s:
            return
        period_s = self._notifier.period_s
        self._next_s = now + (period_s / 4 if period_s else 1.0)
        why = "; ".join(f"{name} {says}" for name, says in self._stuck().items())
        if why != self._told:
            self._told = why
            if why:
                log.error("%s", why)
            self._notifier.tell(f"STATUS={why or 'working'}")
        if not why:
            self._notifier.alive()
