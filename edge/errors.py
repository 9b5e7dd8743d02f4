"""The errors of the edge package: one root, so that a caller can catch everything that is not a bug.

Every message says which file, member, field or stream is wrong and what to do about it; the same facts are
attributes, so that programs need not parse the sentence.
"""

from __future__ import annotations

__all__ = [
    "BlockError",
    "BundleError",
    "CalibrationError",
    "DecisionError",
    "EdgeError",
    "EventError",
    "KeyFileError",
    "ManifestError",
    "ResultError",
    "RuntimeMissingError",
]


class EdgeError(Exception):
    """Root of every error that the edge package raises on purpose."""


class BundleError(EdgeError):
    """A bundle that is refused. `member` names the part at fault ("" for the file as a whole)."""

    def __init__(self, message: str, *, member: str = "") -> None:
        super().__init__(message)
        self.member = member


class ManifestError(BundleError):
    """A manifest that is refused. `field` is the dotted path of the value at fault."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message, member="manifest.json")
        self.field = field


class KeyFileError(EdgeError):
    """A signing or trusted key that cannot be used: absent, of another kind, or readable by others."""


class RuntimeMissingError(EdgeError):
    """Neither ai-edge-litert nor tflite-runtime can be used here."""


class BlockError(EdgeError):
    """A sample block that cannot be used: wrong channel, unit, shape, rate or size. The stream goes on."""

    def __init__(self, message: str, *, stream: str = "") -> None:
        super().__init__(message)
        self.stream = stream


class ResultError(EdgeError):
    """A result message that is not one: `field` is the key at fault."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class CalibrationError(EdgeError):
    """Recordings from which no threshold can be had: too few windows, or nothing to measure."""


class DecisionError(EdgeError):
    """Rules of an event that contradict each other."""


class EventError(EdgeError):
    """An event message that is not one: `field` is the key at fault."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field
