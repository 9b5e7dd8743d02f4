"""Bytes from the wire to messages: sans-IO, bounded, counted. PROTOCOL.md sections 1 and 7.

Feeding a stream byte by byte or whole gives the same messages and the same bad frames (rows of the CSV
dialect are the same, only cut into blocks differently).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from firmware_bridge import bulk, codec
from firmware_bridge.csv_dialect import CsvReader, header, numbers, split_line
from firmware_bridge.errors import CodecError
from firmware_bridge.messages import (
    MAX_CHANNELS,
    MAX_CSV_LINE_BYTES,
    MAX_ENCODED_BYTES,
    BadFrame,
    CsvSamples,
    Decoded,
)

Dialect = Literal["auto", "binary", "csv"]
Guard = Callable[[bytes], None]
"""Given a body without CRC, raises CodecError where its tag or counter is not accepted (``auth.Guard``)."""

_EVENT = re.compile(rb"[\x00\n]")


@dataclass
class Counters:
    """What a decoder has seen so far. ``bad`` counts dropped frames and lines by reason code."""

    bytes: int = 0
    frames: int = 0
    csv_rows: int = 0
    unknown_types: int = 0
    unverified: int = 0
    bad: dict[str, int] = field(default_factory=dict)

    @property
    def bad_total(self) -> int:
        """Everything that was dropped."""
        return sum(self.bad.values())

    @property
    def crc_errors(self) -> int:
        """Frames damaged on the wire: wrong CRC, broken COBS, cut short, or grown together."""
        return sum(self.bad.get(reason, 0) for reason in ("crc", "cobs", "too_short", "too_long"))

    def add_bad(self, reason: str) -> None:
        """Count one dropped frame or line."""
        self.bad[reason] = self.bad.get(reason, 0) + 1


def _too_long() -> BadFrame:
    # Always the same size, whatever the chunks: what comes after the cap is not kept to be measured.
    return BadFrame("too_long", MAX_ENCODED_BYTES + 1, f"no 0x00 within {MAX_ENCODED_BYTES} bytes")


class FrameDecoder:
    """Decodes one stream.

    Args:
        dialect: "binary" frames, "csv" lines, or "auto" to find out (and to find out again when it changes).
        guard: checks tag and counter of each frame before it is parsed.
    """

    def __init__(self, dialect: Dialect = "auto", *, guard: Guard | None = None) -> None:
        self.counters = Counters()
        self._auto = dialect == "auto"
        self._dialect: Dialect = dialect
        self._guard = guard
        self._rest = b""  # the unfinished frame
        self._skipping = False  # inside a frame that was too long
        self._csv = CsvReader()
        self._guess = _Guess()

    @property
    def dialect(self) -> Dialect:
        """The dialect in use; "auto" until it is known."""
        return self._dialect

    def feed(self, data: bytes) -> list[Decoded]:
        """Everything that ``data`` completes, in order. Never raises on any input."""
        self.counters.bytes += len(data)
        out: list[Decoded] = []
        while data:
            if self._dialect == "binary":
                data = self._feed_binary(data, out)
            elif self._dialect == "csv":
                data = self._feed_csv(data, out)
            else:
                data = self._feed_unknown(data, out)
        self._count(out)
        return out

    def _count(self, out: Sequence[Decoded]) -> None:
        counters = self.counters
        for item in out:
            if isinstance(item, BadFrame):
                counters.add_bad(item.reason)
            elif isinstance(item, CsvSamples):
                counters.csv_rows += len(item.values)
            else:
                counters.frames += 1

    def _frame(self, encoded: bytes, out: list[Decoded]) -> bool:
        """Decode one frame into ``out``; whether it was sound (it may be of an unknown type)."""
        try:
            body = codec.unframe(encoded)
            if self._guard is not None:
                self._guard(body)
            elif body[1] & codec.TAGGED:
                self.counters.unverified += 1
            out.append(codec.parse(body))
        except CodecError as error:
            if error.reason == "unknown_type":
                self.counters.unknown_types += 1
                return True
            out.append(BadFrame(error.reason, len(encoded), error.detail))
            return False
        return True

    def _feed_binary(self, data: bytes, out: list[Decoded]) -> bytes:
        joined = self._rest + data if self._rest else data
        if len(data) >= bulk.MIN_BYTES and self._guard is None and not self._skipping:
            joined = self._in_bulk(joined, out)
        frames = joined.split(b"\x00")
        self._rest = frames.pop()
        for number, encoded in enumerate(frames):
            if self._skipping:
                self._skipping = False
            elif len(encoded) > MAX_ENCODED_BYTES:
                out.append(_too_long())
                if self._auto:
                    return self._guess_again(encoded, frames[number + 1 :])
            elif encoded:
                self._frame(encoded, out)
        if len(self._rest) > MAX_ENCODED_BYTES:
            if not self._skipping:
                out.append(_too_long())
                if self._auto:
                    return self._guess_again(self._rest, None)
            self._skipping, self._rest = True, b""
        return b""

    def _in_bulk(self, data: bytes, out: list[Decoded]) -> bytes:
        """Decode all whole frames at once where they are many. Returns what is left."""
        whole = data.rfind(0) + 1
        if data.count(0, 0, whole) < bulk.MIN_FRAMES:
            return data
        decoded = bulk.decode(data[:whole])
        if decoded is None:
            return data
        out += decoded.items
        self.counters.unknown_types += decoded.unknown_types
        self.counters.unverified += decoded.tagged
        return data[whole:]

    def _guess_again(self, encoded: bytes, later: list[bytes] | None) -> bytes:
        """No frame for longer than one can be: perhaps the device now prints lines. Returns what is left."""
        left = encoded[MAX_ENCODED_BYTES + 1 :]
        if later is not None:
            left = b"\x00".join([left, *later, self._rest])
        self._rest, self._dialect = b"", "auto"
        self._guess = _Guess(skip_frame=True)
        return left

    def _feed_csv(self, data: bytes, out: list[Decoded]) -> bytes:
        zero = data.find(0) if self._auto else -1
        if zero < 0:
            out += self._csv.feed(data)
            return b""
        out += self._csv.feed(data[:zero])
        out.append(BadFrame("csv_text", 1, "0x00 among lines"))
        self._dialect, self._guess = "auto", _Guess()
        return data[zero + 1 :]

    def _feed_unknown(self, data: bytes, out: list[Decoded]) -> bytes:
        guess, at = self._guess, 0
        while True:
            event = _EVENT.search(data, at)
            end = event.start() if event else len(data)
            if guess.add(data[at:end]):
                out.append(_too_long())
            if event is None:
                return b""
            at = event.end()
            if data[end] == 0:
                frame = guess.end_frame()
                if frame and self._frame(frame, out):
                    self._dialect = "binary"
                    return data[at:]
            else:
                reader = guess.end_line(out)
                if reader is not None:
                    self._csv, self._dialect = reader, "csv"
                    return data[at:]


class _Guess:
    """Evidence for one dialect or the other, while it is not known."""

    def __init__(self, *, skip_frame: bool = False) -> None:
        self._frame = bytearray()
        self._line = bytearray()
        self._skip_frame = skip_frame
        self._new_lines()

    def _new_lines(self) -> None:
        self._line.clear()
        self._line_is_first = True
        self._header = b""
        self._numeric: tuple[int, bytes, bool] | None = None  # columns, the line, it was the first line

    def add(self, data: bytes) -> bool:
        """Bytes without 0x00 or LF. True once where no frame can be this long."""
        room = MAX_CSV_LINE_BYTES + 1 - len(self._line)
        self._line += data[: max(room, 0)]
        return self._grow(data)

    def _grow(self, data: bytes) -> bool:
        if self._skip_frame:
            return False
        self._frame += data
        if len(self._frame) <= MAX_ENCODED_BYTES:
            return False
        self._skip_frame = True
        self._frame.clear()
        return True

    def end_frame(self) -> bytes:
        """A 0x00 came: the frame before it, or nothing where it was too long or empty."""
        frame = b"" if self._skip_frame else bytes(self._frame)
        self._skip_frame = False
        self._frame.clear()
        self._new_lines()
        return frame

    def end_line(self, out: list[Decoded]) -> CsvReader | None:
        """A LF came: a reader that has read the lines so far, once two of them agree."""
        if self._grow(b"\n"):
            out.append(_too_long())
        line, first = bytes(self._line), self._line_is_first
        self._line.clear()
        self._line_is_first = False
        tokens = split_line(line) if len(line) <= MAX_CSV_LINE_BYTES else []
        parsed = numbers(tokens)
        if parsed is None or len(tokens) > MAX_CHANNELS:
            self._header = line if header(tokens) else b""
            self._numeric = None
            return None
        before, self._numeric = self._numeric, (len(tokens), line, first)
        if before is None or before[0] != len(tokens):
            return None
        reader = CsvReader(whole=not before[2])
        lines = [self._header] if self._header else []
        for each in (*lines, before[1], line):
            out += reader.feed(each + b"\n")
        return reader
