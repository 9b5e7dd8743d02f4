"""Lines of numbers, as sketches print them for the Arduino serial plotter. PROTOCOL.md section 7.

Sans-IO: bytes in, :class:`CsvSamples` and :class:`BadFrame` out. At most one unfinished line is held.
"""

from __future__ import annotations

import math
import re

import numpy as np

from firmware_bridge.messages import MAX_CHANNEL_NAME, MAX_CHANNELS, MAX_CSV_LINE_BYTES, BadFrame, CsvSamples

_SEPARATOR = re.compile(rb"[,;\t ]+")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|ovf)", re.IGNORECASE)
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_()/%.-]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_LEAD_OFF = b"!"


def _value(token: bytes) -> float:
    try:
        value = float(token)
    except ValueError:  # "ovf"
        return math.nan
    return value if math.isfinite(value) else math.nan


def split_line(line: bytes) -> list[bytes]:
    """The columns of a line; separators at its ends count for nothing."""
    return [token for token in _SEPARATOR.split(line.strip()) if token]


def numbers(tokens: list[bytes]) -> tuple[list[float], tuple[str, ...] | None] | None:
    """Values, and names where columns are ``name:value``; ``None`` where the line is not numeric."""
    if not tokens:
        return None
    names: list[str] | None = None
    if all(b":" in token for token in tokens):
        pairs = [token.split(b":", 1) for token in tokens]
        if not all(_NAME.fullmatch(name) for name, _ in pairs):
            return None
        names, tokens = [_clean(name) for name, _ in pairs], [value for _, value in pairs]
    if not all(_NUMBER.fullmatch(token) for token in tokens):
        return None
    return [_value(token) for token in tokens], None if names is None else tuple(names)


def header(tokens: list[bytes]) -> tuple[str, ...] | None:
    """Names of the columns if each is a name and no two are the same."""
    if not tokens or not all(_NAME.fullmatch(token) for token in tokens) or numbers(tokens) is not None:
        return None
    names = tuple(_clean(token) for token in tokens)
    return names if len(set(names)) == len(names) else None


def _clean(name: bytes) -> str:
    return _UNSAFE.sub("_", name.decode("ascii"))[:MAX_CHANNEL_NAME]


class CsvReader:
    """Reads the CSV dialect from chunks of any size.

    Args:
        whole: the stream is known to begin at the start of a line, so the first line can be trusted.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._rest = b""
        self._skipping = False  # inside a line that was too long
        self._trusted = whole
        self._columns: tuple[str, ...] | None = None
        self._seen_numbers = False
        self._other: tuple[int, tuple[str, ...] | None] | None = None  # a layout seen once
        self._last_header: tuple[str, ...] | None = None

    def feed(self, data: bytes) -> list[CsvSamples | BadFrame]:
        """Rows of ``data``'s complete lines, joined into as few blocks as order allows."""
        out: list[CsvSamples | BadFrame] = []
        rows: list[list[float]] = []
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if self._skipping:
                self._skipping, self._trusted = False, True
                continue
            before = self._columns
            result = self._line(line)
            if rows and (isinstance(result, BadFrame) or self._columns != before):
                out.append(CsvSamples(np.array(rows), before or ()))
                rows = []
            if isinstance(result, BadFrame):
                out.append(result)
            elif result is not None:
                rows.append(result)
        if rows:
            out.append(CsvSamples(np.array(rows), self._columns or ()))
        if len(self._rest) > MAX_CSV_LINE_BYTES:
            if not self._skipping:
                out.append(_too_long())
            self._skipping, self._rest = True, b""
        return out

    def _line(self, line: bytes) -> list[float] | BadFrame | None:
        trusted, self._trusted = self._trusted, True
        if len(line) > MAX_CSV_LINE_BYTES:
            return _too_long()
        if not line.strip():
            return None
        if line.strip() == _LEAD_OFF and self._columns is not None:
            return [math.nan] * len(self._columns)
        tokens = split_line(line)
        parsed = numbers(tokens)
        if parsed is None:
            return self._text(line, tokens)
        if not trusted:
            return None  # the first line may have lost its beginning
        values, names = parsed
        if len(values) > MAX_CHANNELS:
            return BadFrame("csv_columns", len(line), f"{len(values)} columns, at most {MAX_CHANNELS}")
        return self._numeric(values, names, len(line))

    def _numeric(
        self, values: list[float], names: tuple[str, ...] | None, size: int
    ) -> list[float] | BadFrame:
        width = len(values)
        known = self._columns
        if known is not None and len(known) != width and self._seen_numbers and self._other != (width, names):
            self._other = (width, names)
            return BadFrame("csv_columns", size, f"{width} columns, {len(known)} before")
        if names is not None:
            self._columns = names
        elif known is None or len(known) != width:
            fitting = self._last_header
            usable = fitting is not None and len(fitting) == width
            self._columns = fitting if usable else tuple(f"ch{i}" for i in range(width))
        self._seen_numbers, self._other = True, None
        return values

    def _text(self, line: bytes, tokens: list[bytes]) -> BadFrame | None:
        names = header(tokens)
        if names is not None and len(names) <= MAX_CHANNELS:
            self._last_header = names
            if not self._seen_numbers:
                self._columns = names
                return None
            if names == self._columns:
                return None
        return BadFrame("csv_text", len(line), line[:40].decode("ascii", "replace").strip())


def _too_long() -> BadFrame:
    return BadFrame("too_long", MAX_CSV_LINE_BYTES + 1, f"line of more than {MAX_CSV_LINE_BYTES} bytes")
