"""Order of bundle versions, as in Semantic Versioning: 1.9 < 1.10-rc.1 < 1.10 = 1.10.0 = 1.10.0+build7."""

from __future__ import annotations

from typing import Any

__all__ = ["is_older"]


def is_older(version: str, than: str) -> bool:
    """Whether `version` comes before `than`."""
    return _key(version) < _key(than)


def _key(version: str) -> tuple[Any, ...]:
    release, _, early = version.partition("+")[0].partition("-")
    numbers = [_part(part) for part in release.split(".")]
    while numbers and numbers[-1] == (1, 0, ""):
        numbers.pop()
    # Early versions come before the release that they lead to.
    return tuple(numbers), not early, tuple(_part(part) for part in early.split("."))


def _part(text: str) -> tuple[int, int, str]:
    """Numbers by value, and after any text."""
    return (1, int(text), "") if text.isdecimal() and text.isascii() else (0, 0, text)
