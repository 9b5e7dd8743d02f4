"""Whole frames: message <-> bytes with version, type, CRC-32 and COBS. Pure; no state, no IO."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from firmware_bridge import cobs, payloads
from firmware_bridge import messages as m
from firmware_bridge.errors import CodecError

DELIMITER = b"\x00"
TAGGED = 0x80
TRAILER_BYTES = 16  # counter u64 and tag u64
_MIN_BODY = 6
_CRC = struct.Struct("<I")
_RESIDUE = 0x2144DF1C  # the CRC-32 of any bytes with their own CRC-32 behind them

Tagger = Callable[[bytes], bytes]
"""Given version, type and payload, returns the 16 bytes of counter and tag."""


def frame(body: bytes) -> bytes:
    """``body`` (without CRC) as a frame on the wire, delimiter included."""
    whole = body + _CRC.pack(zlib.crc32(body))
    if len(whole) > m.MAX_BODY_BYTES:
        raise CodecError("too_long", f"body of {len(whole)} bytes, at most {m.MAX_BODY_BYTES}")
    return cobs.encode(whole) + DELIMITER


def encode(message: m.Message, *, pack: bool = False, tagger: Tagger | None = None) -> bytes:
    """``message`` as a frame on the wire, delimiter included.

    Args:
        pack: delta-pack SAMPLES where that is shorter.
        tagger: adds counter and tag (``auth.Signer``).

    Raises:
        CodecError: a field is outside its cap, or the body is longer than a frame may be.
    """
    if isinstance(message, m.Hello):
        type_, payload = m.MessageType.HELLO, payloads.put_hello(message)
    elif isinstance(message, m.Samples):
        type_, payload = m.MessageType.SAMPLES, payloads.put_samples(message, pack=pack)
    elif isinstance(message, m.Status):
        type_, payload = m.MessageType.STATUS, payloads.put_status(message)
    elif isinstance(message, m.Log):
        type_, payload = m.MessageType.LOG, payloads.put_log(message)
    elif isinstance(message, m.Ack):
        type_, payload = m.MessageType.ACK, payloads.put_ack(message)
    elif isinstance(message, m.Command):
        type_, payload = m.MessageType.COMMAND, payloads.put_command(message)
    elif isinstance(message, m.Verdict):
        type_, payload = m.MessageType.VERDICT, payloads.put_verdict(message)
    else:
        raise CodecError("malformed", f"{type(message).__name__} has no frame")
    if tagger is None:
        return frame(bytes([m.VERSION, type_]) + payload)
    body = bytes([m.VERSION, type_ | TAGGED]) + payload
    return frame(body + tagger(body))


def unframe(encoded: bytes) -> bytes:
    """The body without CRC of one frame (no delimiter): version, type, payload and, if tagged, the trailer.

    Raises:
        CodecError: reason "too_long", "cobs", "too_short", "crc" or "version".
    """
    if len(encoded) > m.MAX_ENCODED_BYTES:
        raise CodecError("too_long", f"frame of {len(encoded)} bytes, at most {m.MAX_ENCODED_BYTES}")
    body = cobs.decode(encoded)
    if len(body) < _MIN_BODY:
        raise CodecError("too_short", f"body of {len(body)} bytes, at least {_MIN_BODY}")
    if len(body) > m.MAX_BODY_BYTES:
        raise CodecError("too_long", f"body of {len(body)} bytes, at most {m.MAX_BODY_BYTES}")
    if zlib.crc32(body) != _RESIDUE:
        said, found = _CRC.unpack_from(body, len(body) - 4)[0], zlib.crc32(body[:-4])
        raise CodecError("crc", f"frame says {said:08x}, bytes give {found:08x}")
    if body[0] >> 4 != m.VERSION >> 4:
        raise CodecError(
            "version", f"frame of major version {body[0] >> 4}, this reader speaks {m.VERSION >> 4}"
        )
    return body[:-4]


def parse(body: bytes) -> m.Message:
    """The message in what :func:`unframe` returned. A tag is cut off, not checked (``auth`` does that).

    Raises:
        CodecError: reason "unknown_type" (to be skipped) or "malformed".
    """
    reader = payloads.READERS.get(body[1] & ~TAGGED)
    if reader is None:
        raise CodecError("unknown_type", f"0x{body[1] & ~TAGGED:02x}")
    if not body[1] & TAGGED:
        return reader(body[2:])
    if len(body) < 2 + TRAILER_BYTES:
        raise CodecError("malformed", "tagged frame without room for counter and tag")
    return reader(body[2:-TRAILER_BYTES])


def decode(encoded: bytes) -> m.Message:
    """The message of one frame, with or without its delimiter.

    Raises:
        CodecError: anything wrong, ``reason`` as in PROTOCOL.md section 1.
    """
    return parse(unframe(encoded[:-1] if encoded.endswith(DELIMITER) else encoded))
