"""Consistent overhead byte stuffing (Cheshire and Baker 1999): frames without a 0x00 inside.

One step per block, not per byte; ``bulk`` does many frames at once.
"""

from __future__ import annotations

from firmware_bridge.errors import CodecError


def encode(body: bytes) -> bytes:
    """``body`` without its zeros; at most one byte longer for every 254 begun. No delimiter is added."""
    out = bytearray()
    # split() finds the zeros in C; only runs of 254 and more need cutting.
    for run in body.split(b"\x00"):
        start = 0
        while len(run) - start >= 254:
            out.append(255)
            out += run[start : start + 254]
            start += 254
        out.append(len(run) - start + 1)
        out += run[start:]
    # A last block of exactly 254 bytes implies nothing after it: its empty follow-up is left out.
    if len(body) >= 254 and out[-1] == 1 and out[-256:-255] == b"\xff" and 0 not in body[-254:]:
        out.pop()
    return bytes(out)


def decode(encoded: bytes) -> bytes:
    """Undo :func:`encode`.

    Raises:
        CodecError: reason "cobs" where a 0x00 lies inside, a block runs past the end, or nothing is there.
    """
    size = len(encoded)
    if not size:
        raise CodecError("cobs", "empty frame")
    if 0 in encoded:
        raise CodecError("cobs", "0x00 inside a frame")
    # Each code byte but the first stands where the zero goes, so it is enough to put the zeros there.
    body = bytearray(encoded)
    surplus = []
    at = 0
    while True:
        code = encoded[at]
        body[at] = 0
        at += code
        if at >= size:
            break
        if code == 255:  # a full block stands for no zero
            surplus.append(at)
    if at > size:
        raise CodecError("cobs", f"block of {code} bytes runs {at - size} past the end")
    for each in reversed(surplus):
        del body[each]
    del body[0]
    return bytes(body)
