"""Names that travel in topics: node ids, base, stream ids.

A name is one topic level, so it may hold `A-Z a-z 0-9 _ -` only: no slash (it would split the level), no `+`
or `#` (MQTT wildcards), nothing outside ASCII (brokers' ACL files and shells disagree about it).
"""

from __future__ import annotations

import re
import zlib

MAX_NAME = 64  # keeps every topic far below the 65,535 bytes of MQTT and readable in a terminal
NAME_PATTERN = rf"^[A-Za-z0-9_-]{{1,{MAX_NAME}}}$"

_NAME = re.compile(NAME_PATTERN)
_BAD = re.compile(r"[^A-Za-z0-9_-]+")


def is_name(text: str) -> bool:
    """Whether `text` may stand as one level of a topic."""
    # The pattern's `$` alone would let a trailing newline pass.
    return _NAME.fullmatch(text) is not None


def to_name(text: str, fallback: str = "unnamed") -> str:
    """The nearest allowed name for `text`, itself when it is one already.

    Where something had to be left out, a checksum of the original is appended: two different device ids
    must never become the same stream.
    """
    if is_name(text):
        return text
    kept = _BAD.sub("-", text).strip("-")[: MAX_NAME - 9] or fallback
    return f"{kept}-{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"
