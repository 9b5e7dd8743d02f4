"""What travels on the wire, as frozen values; PROTOCOL.md gives the bytes of each.

Numbers that another version may extend (verbs, results, levels) are plain ``int`` fields; the IntEnums
below name the known ones and compare equal to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Int16Array = npt.NDArray[np.int16]
Float64Array = npt.NDArray[np.float64]

VERSION = 0x10

# Caps; PROTOCOL.md section 1 gives the reason of each.
MAX_BODY_BYTES = 1024
MAX_ENCODED_BYTES = MAX_BODY_BYTES + (MAX_BODY_BYTES + 253) // 254
MAX_CHANNELS = 16
MAX_SAMPLES = 255
MAX_RATE_HZ = 100_000.0
MAX_DEVICE_ID = 32
MAX_FIRMWARE = 32
MAX_CHANNEL_NAME = 16
MAX_UNIT = 8
MAX_LOG_BYTES = 200
MAX_LABEL_BYTES = 32
MAX_RESEND_SAMPLES = 65_535
MAX_CSV_LINE_BYTES = 1024


class MessageType(IntEnum):
    """Bits 0 to 6 of a frame's type byte; 0x40 marks gateway to device."""

    HELLO = 0x01
    SAMPLES = 0x02
    STATUS = 0x03
    LOG = 0x04
    ACK = 0x05
    COMMAND = 0x41
    VERDICT = 0x42


class Verb(IntEnum):
    """What a COMMAND asks for."""

    HELLO = 1
    RESEND = 2
    START = 3
    STOP = 4


class AckResult(IntEnum):
    """How a device answers a COMMAND."""

    DONE = 0
    UNKNOWN_VERB = 1
    BAD_ARGUMENT = 2
    GONE = 3
    BUSY = 4
    PARTIAL = 5


class LogLevel(IntEnum):
    """Severity of a LOG."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


class VerdictStatus(IntEnum):
    """Whether a VERDICT can be trusted."""

    OK = 0
    SUSPECT = 1
    ABSTAIN = 2


@dataclass(frozen=True, slots=True)
class Channel:
    """One column of samples: physical value = integer * scale + offset, in ``unit``."""

    name: str
    unit: str
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Hello:
    """Who is speaking and what its samples mean. ``boot`` differs at each start of the sample count."""

    device_id: str
    firmware: str
    rate_hz: float
    channels: tuple[Channel, ...]
    boot: int = 0
    obeys_commands: bool = False
    resend_samples: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A block of samples.

    Attributes:
        seq: index of the first sample since the epoch began, modulo 2**32.
        device_time_us: device time of the first sample, modulo 2**32.
        values: int16, shape (n, channel).
        end: the record ends with this block.
        lead_off: bit i is set where channel i had its sensor off.
    """

    seq: int
    device_time_us: int
    values: Int16Array
    end: bool = False
    lead_off: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return NotImplemented
        return (
            (self.seq, self.device_time_us, self.end, self.lead_off)
            == (other.seq, other.device_time_us, other.end, other.lead_off)
            and self.values.shape == other.values.shape
            and bool(np.array_equal(self.values, other.values))
        )

    __hash__ = None  # type: ignore[assignment]  # holds an array


@dataclass(frozen=True, slots=True)
class Status:
    """How the device is. ``None`` means that it does not know."""

    device_time_us: int
    boot: int = 0
    dropped_samples: int = 0
    lead_off: int = 0
    battery_mv: int | None = None
    battery_percent: int | None = None
    charging: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """A line of text from the device; ``level`` is a LogLevel."""

    device_time_us: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A request to the device; ``verb`` is a Verb. RESEND uses samples ``first_seq`` to ``end_seq`` - 1."""

    id: int
    verb: int
    first_seq: int = 0
    end_seq: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """The device's answer to a Command; ``result`` is an AckResult."""

    id: int
    verb: int
    result: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gateway thinks of the window of ``count`` samples that starts at ``seq``."""

    seq: int
    count: int
    status: int
    label: str
    score: float
    label_index: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CsvSamples:
    """Rows of the CSV dialect: float64 of shape (n, channel); NaN where a value is missing."""

    values: Float64Array
    columns: tuple[str, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CsvSamples):
            return NotImplemented
        return self.columns == other.columns and bool(
            np.array_equal(self.values, other.values, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]  # holds an array


@dataclass(frozen=True, slots=True)
class BadFrame:
    """Something that was dropped: a reason code of PROTOCOL.md, its size in bytes, and what was wrong."""

    reason: str
    size: int
    detail: str = ""


Message = Hello | Samples | Status | Log | Command | Ack | Verdict | CsvSamples
Decoded = Message | BadFrame


def known(enum: type[IntEnum], value: int) -> str:
    """Lower-case name of ``value`` in an IntEnum, or its number as text where a newer peer sent it."""
    try:
        return enum(value).name.lower()
    except ValueError:
        return str(value)
