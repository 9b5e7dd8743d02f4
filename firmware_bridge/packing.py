"""Lossless packing of one block of int16 samples: differences, zigzag, groups of eight of one width.

PROTOCOL.md section 2, PACKED. Each block stands alone, so that a lost frame costs nothing but itself.
All arithmetic is modulo 2**16.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from firmware_bridge.errors import CodecError
from firmware_bridge.messages import Int16Array

_GROUP = 8
_MAX_ORDER = 2
# Nibble 15 stands for a width of 16; nothing is sent 15 wide.
_WIDEST = 16


def _zigzag(residual: Int16Array) -> npt.NDArray[np.uint16]:
    doubled = residual.view(np.uint16) << np.uint16(1)
    folded: npt.NDArray[np.uint16] = doubled ^ (residual >> np.int16(15)).view(np.uint16)
    return folded


def _pack_channel(column: Int16Array, order: int) -> bytes:
    head = min(order, len(column))
    wrapped = column.astype(np.int16, copy=True)
    for _ in range(order):
        # int16 differences wrap, which is what the format says.
        wrapped = np.diff(wrapped) if len(wrapped) else wrapped
    residual = np.ascontiguousarray(wrapped, dtype=np.int16)
    groups = (len(residual) + _GROUP - 1) // _GROUP
    padded = np.zeros(groups * _GROUP, dtype=np.uint16)
    padded[: len(residual)] = _zigzag(residual)
    rows = padded.reshape(groups, _GROUP)
    widths = [int(top).bit_length() for top in rows.max(axis=1)] if groups else []
    widths = [_WIDEST if width == 15 else width for width in widths]
    nibbles = [min(width, 15) for width in widths] + [0] * (groups % 2)
    out = bytearray(column[:head].astype("<i2").tobytes())
    out += bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    bits = ((rows[:, :, None] >> np.arange(16, dtype=np.uint16)) & 1).astype(np.uint8)
    for group, width in enumerate(widths):
        out += np.packbits(bits[group, :, :width].ravel(), bitorder="little").tobytes()
    return bytes(out)


def pack(values: Int16Array, order: int | None = None) -> bytes:
    """The ``data`` field of a PACKED block.

    Args:
        values: int16, shape (n, channel).
        order: 0, 1 or 2; ``None`` takes the shortest.
    """
    orders = range(_MAX_ORDER + 1) if order is None else [order]
    candidates = [
        bytes([k]) + b"".join(_pack_channel(values[:, channel], k) for channel in range(values.shape[1]))
        for k in orders
    ]
    return min(candidates, key=len)


def _unpack_channel(data: bytes, at: int, count: int, order: int) -> tuple[Int16Array, int]:
    head = min(order, count)
    groups = (count - head + _GROUP - 1) // _GROUP
    nibbles_at = at + 2 * head
    groups_at = nibbles_at + (groups + 1) // 2
    if groups_at > len(data):
        raise CodecError("malformed", "packed block ends inside its widths")
    column = np.empty(count, dtype=np.int16)
    column[:head] = np.frombuffer(data, dtype="<i2", count=head, offset=at)
    zigzag = np.zeros(groups * _GROUP, dtype=np.uint16)
    end = groups_at
    for group in range(groups):
        nibble = (data[nibbles_at + group // 2] >> (4 * (group % 2))) & 15
        width = _WIDEST if nibble == 15 else nibble
        if end + width > len(data):
            raise CodecError("malformed", "packed block ends inside a group")
        if width:
            bits = np.unpackbits(
                np.frombuffer(data, dtype=np.uint8, count=width, offset=end), bitorder="little"
            ).reshape(_GROUP, width)
            weights = np.left_shift(np.uint16(1), np.arange(width, dtype=np.uint16))
            zigzag[group * _GROUP : (group + 1) * _GROUP] = bits @ weights
        end += width
    residual = (zigzag >> np.uint16(1)) ^ (np.uint16(0) - (zigzag & np.uint16(1)))
    column[head:] = residual[: count - head].view(np.int16)
    if order == 1:
        column = np.cumsum(column, dtype=np.int16)
    elif order == 2 and count > 1:
        steps = np.empty(count, dtype=np.int16)
        steps[0] = column[0]
        with np.errstate(over="ignore"):
            steps[1] = column[1] - column[0]
        steps[2:] = column[2:]
        steps[1:] = np.cumsum(steps[1:], dtype=np.int16)
        column = np.cumsum(steps, dtype=np.int16)
    return column, end


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
    values = np.empty((count, channels), dtype=np.int16)
    at = 1
    for channel in range(channels):
        values[:, channel], at = _unpack_channel(data, at, count, order)
    return values
