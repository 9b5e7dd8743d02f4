"""How little memory glibc needs: what starting and backlogs left behind is given back, and threads share one heap."""

from __future__ import annotations

import ctypes
import gc
import os

_M_ARENA_MAX = -8  # malloc.h


def give_back() -> None:
    """Free what starting left behind and keep the collector from looking through the rest again.

    Building the settings' validators and checking a bundle's golden windows free megabytes that glibc keeps.
    Elsewhere (musl) there is nothing to ask.
    """
    gc.collect()
    gc.freeze()
    _trim()


def resident_bytes() -> int:
    """What the kernel counts of this process, 0 where it does not say (not Linux)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


class HighWater:
    """Gives back what a backlog left behind: after an outage thousands of messages come at once, and glibc keeps
    the pages that held them, a little more in other places each time.
    """

    def __init__(self, slack_bytes: int = 1 << 20) -> None:
        self._slack, self._low = slack_bytes, resident_bytes()

    def look(self) -> None:
        """To be called in a quiet moment: while there is work the pages are needed."""
        if resident_bytes() > self._low + self._slack:
            _trim()
            self._low = resident_bytes()


def _trim() -> None:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def one_arena() -> None:
    """Let all threads share glibc's first arena: each further one is a heap of its own, and Python threads hardly
    ever allocate at the same moment. To be called before threads start.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError):
        return
