"""SipHash-2-4 with a 64-bit tag (Aumasson and Bernstein 2012): in plain integers, and many messages at once.

The test vectors are those of the reference implementation (github.com/veorq/SipHash, vectors.h).
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

_MASK = 0xFFFFFFFFFFFFFFFF
_INIT = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_KEY = struct.Struct("<QQ")
KEY_BYTES = 16

UInt64Array = npt.NDArray[np.uint64]


def _key_words(key: bytes) -> tuple[int, int]:
    k0, k1 = _KEY.unpack(key)
    return int(k0), int(k1)


def siphash24(key: bytes, data: bytes) -> int:
    """64-bit tag of ``data`` under a key of 16 bytes."""
    k0, k1 = _key_words(key)
    v0, v1, v2, v3 = _INIT[0] ^ k0, _INIT[1] ^ k1, _INIT[2] ^ k0, _INIT[3] ^ k1
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    words: tuple[int, ...] = struct.unpack(f"<{len(padded) // 8}Q", padded)
    # Two rounds for each word, then four more; unrolled calls would cost more than the loop.
    for word, rounds in (*((word, 2) for word in words), (None, 4)):
        if word is None:
            v2 ^= 0xFF
        else:
            v3 ^= word
        for _ in range(rounds):
            v0 = (v0 + v1) & _MASK
            v1 = ((v1 << 13) | (v1 >> 51)) & _MASK ^ v0
            v0 = ((v0 << 32) | (v0 >> 32)) & _MASK
            v2 = (v2 + v3) & _MASK
            v3 = ((v3 << 16) | (v3 >> 48)) & _MASK ^ v2
            v0 = (v0 + v3) & _MASK
            v3 = ((v3 << 21) | (v3 >> 43)) & _MASK ^ v0
            v2 = (v2 + v1) & _MASK
            v1 = ((v1 << 17) | (v1 >> 47)) & _MASK ^ v2
            v2 = ((v2 << 32) | (v2 >> 32)) & _MASK
        if word is not None:
            v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3


def _rotate(v: UInt64Array, bits: int) -> UInt64Array:
    turned: UInt64Array = (v << np.uint64(bits)) | (v >> np.uint64(64 - bits))
    return turned


def siphash24_many(key: bytes, rows: npt.NDArray[np.uint8]) -> UInt64Array:
    """Tags of many messages of one length.

    Args:
        rows: uint8, shape (message, byte).

    Returns:
        uint64, shape (message,).
    """
    count, length = rows.shape
    padded = np.zeros((count, (length // 8 + 1) * 8), dtype=np.uint8)
    padded[:, :length] = rows
    padded[:, -1] = length & 0xFF
    words = np.ascontiguousarray(padded.view("<u8").T).astype(np.uint64, copy=False)
    k0, k1 = _key_words(key)
    v0, v1, v2, v3 = (
        np.full(count, start ^ part, dtype=np.uint64)
        for start, part in zip(_INIT, (k0, k1, k0, k1), strict=True)
    )
    for step in range(len(words) + 1):
        last = step == len(words)
        if last:
            v2 = v2 ^ np.uint64(0xFF)
        else:
            v3 = v3 ^ words[step]
        for _ in range(4 if last else 2):
            v0 = v0 + v1
            v1 = _rotate(v1, 13) ^ v0
            v0 = _rotate(v0, 32)
            v2 = v2 + v3
            v3 = _rotate(v3, 16) ^ v2
            v0 = v0 + v3
            v3 = _rotate(v3, 21) ^ v0
            v2 = v2 + v1
            v1 = _rotate(v1, 17) ^ v2
            v2 = _rotate(v2, 32)
        if not last:
            v0 = v0 ^ words[step]
    return v0 ^ v1 ^ v2 ^ v3
