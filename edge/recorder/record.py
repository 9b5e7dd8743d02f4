"""Records of the flight recorder: one sample block, or one mark, to bytes and back. Pure, no IO.

A record is a 21-byte head, then its payload. The head: magic "WWR" and version 1, payload length (u32), CRC-32 of
all that follows it (u32), kind (u8), number (u64, rising by one in each record of a folder); little-endian. Each record
stands alone: what is damaged around it does not matter.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np

from edge.errors import EdgeError
from edge.types import SampleBlock

MAGIC: Final = b"WWR\x01"
HEAD: Final = struct.Struct("<4sIIBQ")
_CHECKED: Final = struct.Struct("<BQ")  # the part of the head that the CRC covers
# description length, flags, CRC errors, first index, origin, t0, arrival (UTC seconds)
_BLOCK: Final = struct.Struct("<HBIqqdd")
_MARK: Final = struct.Struct("<QQ")

BLOCK, MARK, ERASED = 1, 2, 3
_END, _LEAD_OFF, _ALIGNED, _INT16 = 1, 2, 4, 8
# 2^18 samples of 64 channels in float32 would be 64 MiB, the largest block that a source makes.
MAX_PAYLOAD: Final = (1 << 26) + 4096
_MAX_TOGETHER = 1 << 18  # samples looked at in one go: a megabyte
_MAX_KNOWN = 4096  # descriptions kept by their bytes: ids come from outside


class RecordError(EdgeError):
    """A record that is not one: cut off, altered, or of another version."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A block as it was recorded. `origin`: first index of the unbroken run that it belongs to (see tracks.py);
    `arrival`: UTC seconds by the gateway's clock then; `aligned` as in Windower.
    """

    number: int
    block: SampleBlock
    aligned: bool
    origin: int
    arrival: float


@dataclass(frozen=True, slots=True)
class Mark:
    """All results up to record `answered` have left; whoever starts from there reads from record `needed` on."""

    answered: int
    needed: int


Description = tuple[str, str, float, tuple[str, ...], tuple[str, ...]]


class Encoder:
    """Blocks to records; remembers the descriptions of the streams it sees."""

    def __init__(self) -> None:
        self._known: dict[Description, bytes] = {}

    def block(
        self,
        number: int,
        block: SampleBlock,
        *,
        aligned: bool,
        origin: int,
        arrival: float,
        whole: bytes | None = None,
    ) -> bytes:
        """`whole`: its samples as int16, where `whole_units` has found that they are."""
        key = (block.stream, block.epoch, block.rate_hz, block.channels, block.units)
        text = self._known.get(key)
        if text is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            text = self._known[key] = json.dumps(key, separators=(",", ":")).encode()
        flags = _END * block.end | _LEAD_OFF * block.lead_off | _ALIGNED * aligned
        data = _int16(block.values) if whole is None else whole
        if data is None:
            data = block.values.astype("<f4", copy=False).tobytes()
        else:
            flags |= _INT16
        fixed = _BLOCK.pack(
            len(text), flags, min(block.crc_errors, 0xFFFFFFFF), block.first_index, origin, block.t0, arrival
        )
        return _sealed(BLOCK, number, fixed + text + data)

    def mark(self, number: int, mark: Mark) -> bytes:
        return _sealed(MARK, number, _MARK.pack(mark.answered, mark.needed))

    def erased(self, number: int, tombstone: bytes) -> bytes:
        """`tombstone`: JSON, see erase.py."""
        return _sealed(ERASED, number, tombstone)


def whole_units(blocks: Sequence[SampleBlock]) -> list[bytes | None]:
    """Of each block its samples as int16 if all blocks hold whole units, else nothing of any: for `Encoder.block`.

    Together, as numpy takes for three hundred samples hardly longer than for one. As there, numpy may warn of NaN.
    """
    counts = [block.values.size for block in blocks]
    if sum(counts) <= _MAX_TOGETHER:
        data = _int16(np.concatenate([block.values.ravel() for block in blocks]))
        if data is not None:
            ends = [2 * end for end in accumulate(counts)]
            return [data[end - 2 * count : end] for end, count in zip(ends, counts, strict=True)]
    return [None] * len(counts)


def _int16(values: np.ndarray) -> bytes | None:
    """What an ADC gave in whole units takes half the room; NaN and what does not fit comes back as other bytes. (The
    caller keeps numpy from warning of it: that costs more than the rest, and is done once for many blocks.)
    """
    small = values.astype("<i2")
    if small.astype("<f4").tobytes() == values.astype("<f4", copy=False).tobytes():
        return small.tobytes()
    return None


def _sealed(kind: int, number: int, payload: bytes) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, number)))
    return HEAD.pack(MAGIC, len(payload), crc, kind, number) + payload


def open_record(data: memoryview, at: int) -> tuple[int, int, memoryview]:
    """(kind, number, payload) of the record at `at`. Raises RecordError."""
    if len(data) - at < HEAD.size:
        raise RecordError("cut off in its head")
    magic, length, crc, kind, number = HEAD.unpack_from(data, at)
    if magic != MAGIC:
        raise RecordError("no record begins here")
    if length > MAX_PAYLOAD or at + HEAD.size + length > len(data):
        raise RecordError("cut off in its payload")
    payload = data[at + HEAD.size : at + HEAD.size + length]
    if zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, number))) != crc:
        raise RecordError("its checksum is wrong")
    return kind, number, payload


class Decoder:
    """Payloads back to blocks."""

    def __init__(self) -> None:
        self._known: dict[bytes, Description] = {}

    def block(self, number: int, payload: memoryview) -> Recorded:
        """Raises RecordError: the checksum fits and yet it is not a block."""
        try:
            size, flags, crc_errors, first, origin, t0, arrival = _BLOCK.unpack_from(payload)
            text = bytes(payload[_BLOCK.size : _BLOCK.size + size])
            stream, epoch, rate_hz, channels, units = self._describe(text)
            kind = "<i2" if flags & _INT16 else "<f4"
            flat = np.frombuffer(payload, kind, offset=_BLOCK.size + size).astype(np.float32)
            values = flat.reshape(-1, len(channels))
        except (struct.error, ValueError, TypeError, RecursionError, ZeroDivisionError) as error:
            raise RecordError(f"record {number}: not a block ({error})") from error
        block = SampleBlock(
            stream=stream,
            epoch=epoch,
            first_index=first,
            t0=t0,
            rate_hz=rate_hz,
            channels=channels,
            units=units,
            values=values,
            end=bool(flags & _END),
            crc_errors=crc_errors,
            lead_off=bool(flags & _LEAD_OFF),
        )
        return Recorded(number, block, bool(flags & _ALIGNED), origin, arrival)

    def _describe(self, text: bytes) -> Description:
        known = self._known.get(text)
        if known is None:
            stream, epoch, rate_hz, channels, units = json.loads(text)
            known = (
                str(stream),
                str(epoch),
                float(rate_hz),
                tuple(map(str, channels)),
                tuple(map(str, units)),
            )
            if not known[2] > 0 or not known[3] or len(known[3]) != len(known[4]):
                raise ValueError("its description makes no sense")
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[text] = known
        return known


def read_mark(payload: memoryview) -> Mark:
    """Raises RecordError."""
    try:
        return Mark(*_MARK.unpack(payload))
    except struct.error as error:
        raise RecordError(f"not a mark ({error})") from error
