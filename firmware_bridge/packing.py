"""Lossless packing of one block of int16 samples: differences, zigzag, groups of eight of one width.

PROTOCOL.md section 2, PACKED. Each block stands alone, so that a lost frame costs nothing but itself. Blocks
are short, so plain integers are faster here than arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np

from firmware_bridge.errors import CodecError
from firmware_bridge.messages import Int16Array

_GROUP = 8
_MAX_ORDER = 2
# Nibble 15 stands for a width of 16; nothing is sent 15 wide.
_WIDEST = 16
_SHIFTS = [tuple(range(0, _GROUP * width, width)) if width else (0,) * _GROUP for width in range(_WIDEST + 1)]


def _zigzag(residual: int) -> int:
    """A small unsigned number for a small difference; differences wrap at 16 bits."""
    wrapped = ((residual + 0x8000) & 0xFFFF) - 0x8000
    return (wrapped << 1) ^ (wrapped >> 15)


def _pack_channel(column: Sequence[int], order: int) -> bytes:
    residuals: Sequence[int] = column
    for _ in range(order):
        residuals = [after - before for before, after in pairwise(residuals)]
    zigzag = [_zigzag(residual) for residual in residuals]
    nibbles, packed = [], bytearray()
    for at in range(0, len(zigzag), _GROUP):
        group = zigzag[at : at + _GROUP]
        width = max(group).bit_length()
        width = _WIDEST if width == 15 else width
        nibbles.append(min(width, 15))
        number = sum(value << shift for value, shift in zip(group, _SHIFTS[width], strict=False))
        packed += number.to_bytes(width, "little")
    nibbles += [0] * (len(nibbles) % 2)
    head = column[:order]
    return (
        struct.pack(f"<{len(head)}h", *head)
        + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
        + bytes(packed)
    )


def pack(values: Int16Array, order: int | None = None) -> bytes:
    """The ``data`` field of a PACKED block.

    Args:
        values: int16, shape (n, channel).
        order: 0, 1 or 2; ``None`` takes the shortest.
    """
    columns = values.T.tolist()
    orders = range(_MAX_ORDER + 1) if order is None else [order]
    candidates = [bytes([k]) + b"".join(_pack_channel(column, k) for column in columns) for k in orders]
    return min(candidates, key=len)


def _unpack_channel(data: bytes, at: int, count: int, order: int) -> tuple[list[int], int]:
    """Samples of one channel (to be taken modulo 2**16), and where the next channel begins."""
    head = min(order, count)
    groups = (count - head + _GROUP - 1) // _GROUP
    nibbles_at = at + 2 * head
    end = nibbles_at + (groups + 1) // 2
    if end > len(data):
        raise CodecError("malformed", "packed block ends inside its widths")
    zigzag: list[int] = []
    for group in range(groups):
        nibble = (data[nibbles_at + group // 2] >> (4 * (group % 2))) & 15
        width = _WIDEST if nibble == 15 else nibble
        number = int.from_bytes(data[end : end + width], "little")
        end += width
        mask = (1 << width) - 1
        zigzag += [(number >> shift) & mask for shift in _SHIFTS[width]]
    if end > len(data):
        raise CodecError("malformed", "packed block ends inside a group")
    residuals = [(value >> 1) ^ -(value & 1) for value in zigzag[: count - head]]
    first = struct.unpack_from(f"<{head}h", data, at)
    column: Iterable[int] = residuals
    if head == 2:
        column = accumulate(residuals, initial=first[1] - first[0])
    if head:
        column = accumulate(column, initial=first[0])
    return list(column), end


def unpack(data: bytes, count: int, channels: int) -> Int16Array:
    """Undo :func:`pack`; bytes past the block are ignored.

    Returns:
        int16, shape (count, channels).

    Raises:
        CodecError: reason "malformed" where the order is unknown or the data ends early.
    """
    if not data:
        raise CodecError("malformed", "packed block is empty")
    order = data[0]
    if order > _MAX_ORDER:
        raise CodecError("malformed", f"packed block of unknown order {order}")
    columns, at = [], 1
    for _ in range(channels):
        column, at = _unpack_channel(data, at, count, order)
        columns.append(column)
    # Residuals that wrapped at 16 bits add up to the right sample modulo 2**16.
    values: Int16Array = np.array(columns, dtype=np.int64).astype(np.int16).T
    return values
