"""How little memory glibc needs: what starting left behind is given back, and threads share one heap."""

from __future__ import annotations

import ctypes
import gc

_M_ARENA_MAX = -8  # malloc.h


def give_back() -> None:
    """Free what starting left behind and keep the collector from looking through the rest again.

    Building the settings' validators and checking a bundle's golden windows free megabytes that glibc keeps.
    Elsewhere (musl) there is nothing to ask.
    """
    gc.collect()
    gc.freeze()
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
