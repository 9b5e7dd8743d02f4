"""Errors of this package: one root, so that a caller can catch them all and no other."""

from __future__ import annotations


class FirmwareBridgeError(Exception):
    """Root of every error that firmware_bridge raises on purpose."""


class CodecError(FirmwareBridgeError):
    """A frame that cannot be read, or a message that cannot be written.

    Attributes:
        reason: one of the codes of PROTOCOL.md section 1 ("crc", "cobs", "malformed", ...).
        detail: what exactly is wrong, for a person.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class KeyFileError(FirmwareBridgeError):
    """A key file that is missing, readable by others, or does not hold 32 hexadecimal digits."""


class PortError(FirmwareBridgeError):
    """A serial port that is absent, busy, forbidden or ambiguous; the text says what to do."""


class RecordingError(FirmwareBridgeError):
    """A recording that cannot be read or written; the text names file, record and line."""


class BrokerError(FirmwareBridgeError):
    """The MQTT broker refused what was sent."""
