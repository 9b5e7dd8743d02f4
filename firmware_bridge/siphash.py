"""SipHash-2-4 with a 64-bit tag (Aumasson and Bernstein 2012).

The test vectors are those of the reference implementation (github.com/veorq/SipHash, vectors.h).
"""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFFFFFFFFFF
_INIT = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_KEY = struct.Struct("<QQ")
KEY_BYTES = 16


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
