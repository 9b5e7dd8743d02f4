"""MIN 2.0's frame format in our own words, as a peer that every run can measure.

From MIN's specification: three bytes 0xAA, an identifier, a length, the payload, CRC-32 (big-endian, over identifier,
length and payload), 0x55; after any two 0xAA in a row inside the frame a 0x55 is stuffed. The receiver goes byte by
byte, as MIN's does, with zlib's CRC, which is faster than MIN's own: so it flatters the peer. MIN's own file, where it
is at hand, is measured by ``wire_min``.
"""

from __future__ import annotations

import zlib

HEADER, STUFF, END = 0xAA, 0x55, 0x55


def encode(identifier: int, payload: bytes) -> bytes:
    """One frame; ``payload`` of at most 255 bytes."""
    body = bytes((identifier, len(payload))) + payload
    body += zlib.crc32(body).to_bytes(4, "big")
    out, run = bytearray((HEADER,) * 3), 0
    for byte in body:
        out.append(byte)
        run = run + 1 if byte == HEADER else 0
        if run == 2:
            out.append(STUFF)
            run = 0
    out.append(END)
    return bytes(out)


class Receiver:
    """Bytes in, payloads out; what fails its CRC or its end byte is dropped."""

    def __init__(self) -> None:
        self._headers = 0
        self._body: bytearray | None = None

    def feed(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        for byte in data:
            if self._headers == 2:
                self._headers = 0
                if byte == HEADER:
                    self._body = bytearray()
                    continue
                if byte == STUFF:
                    continue
                self._body = None  # two header bytes and neither of the two that may follow
                continue
            self._headers = self._headers + 1 if byte == HEADER else 0
            if self._body is None:
                continue
            if len(self._body) >= 2 and len(self._body) == self._body[1] + 6:
                payload, self._body = self._take(self._body, byte), None
                if payload is not None:
                    out.append(payload)
                continue
            self._body.append(byte)
        return out

    @staticmethod
    def _take(body: bytearray, end: int) -> bytes | None:
        good = end == END and zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "big")
        return bytes(body[2:-4]) if good else None
