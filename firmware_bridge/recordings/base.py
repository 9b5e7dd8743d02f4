"""What a recording is, whatever file it came from, and a set of them read by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import Channel, Int16Array
from firmware_bridge.units import Float32Array, to_physical

_INT16 = np.iinfo(np.int16)
# Scales on the wire reach from 1e-30 to 1e39; a value outside is no measurement, in whatever unit.
_SMALLEST, _LARGEST = 1e-20, 1e30


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One record. Either ``digital`` or ``analog`` is set.

    Attributes:
        name: unique within its set.
        rate_hz: samples per second of every channel.
        channels: name, unit, and the scale from ``digital`` to that unit. Voltages are in uV.
        digital: integers as the converter gave them, shape (n, channel), or None where the file has floats.
        analog: float32, shape (n, channel), in channel units, where the file has floats.
        label: what a reference file says about it.
        invalid: the integer that means "no value here" in ``digital``, if the format has one.
    """

    name: str
    rate_hz: float
    channels: tuple[Channel, ...]
    digital: npt.NDArray[Any] | None = None
    analog: Float32Array | None = None
    label: str | None = None
    invalid: int | None = None

    def __len__(self) -> int:
        """Samples per channel."""
        data = self.digital if self.digital is not None else self.analog
        return 0 if data is None else len(data)

    @property
    def physical(self) -> Float32Array:
        """float32, shape (n, channel), in channel units; NaN where there is no value."""
        if self.digital is None:
            assert self.analog is not None  # one of the two is always set
            return self.analog
        values = to_physical(self.digital, self.channels)
        if self.invalid is not None:
            values[self.digital == self.invalid] = np.nan
        return values

    def to_int16(self) -> tuple[Int16Array, tuple[Channel, ...], npt.NDArray[np.bool_]]:
        """As a converter would deliver it.

        Returns:
            int16 of shape (n, channel), channels with the scale that belongs to them, and bool of the same
            shape, False where there is no value (the integer is 0 there).
        """
        if self.digital is not None and (
            not self.digital.size
            or (int(self.digital.min()) >= _INT16.min and int(self.digital.max()) <= _INT16.max)
        ):
            valid = (
                np.ones(self.digital.shape, bool) if self.invalid is None else self.digital != self.invalid
            )
            return np.where(valid, self.digital, 0).astype(np.int16), self.channels, valid
        physical = self.physical
        valid = np.abs(physical) < _LARGEST  # False for NaN, too
        digital = np.zeros(physical.shape, dtype=np.int16)
        channels = []
        for column, channel in enumerate(self.channels):
            values = np.where(valid[:, column], physical[:, column].astype(np.float64), 0.0)
            peak = float(np.abs(values).max(initial=0.0))
            scale = 1.0 if peak <= _INT16.max and bool((values == np.rint(values)).all()) else _step(peak)
            digital[:, column] = np.rint(values / scale)
            channels.append(Channel(channel.name, channel.unit, scale))
        return digital, tuple(channels), valid


def _step(peak: float) -> float:
    """A scale of three digits with which ``peak`` uses most of the int16 range."""
    if peak < _SMALLEST:
        return 1.0
    # Nine digits would need an exponent that HELLO may not carry; three are enough, rounded up.
    digits, exponent = f"{peak / 32_000:.8e}".split("e")
    mantissa = -(-int(digits.replace(".", "")) // 10**6)
    return float(f"{mantissa}e{int(exponent) - 2}")


class Entry:
    """A record that can be read later."""

    __slots__ = ("name", "read")

    def __init__(self, name: str, read: Callable[[], Recording]) -> None:
        self.name = name
        self.read = read


class RecordingSet:
    """Records by name, read when asked for.

    Args:
        source: what to call the set in errors.
        labels: label of each record, as far as known.
    """

    def __init__(
        self, source: str, entries: Sequence[Entry], labels: Mapping[str, str] | None = None
    ) -> None:
        self.source = source
        self._entries = {entry.name: entry for entry in entries}
        given = labels or {}
        self.labels: Mapping[str, str] = {name: given[name] for name in self._entries if name in given}

    @property
    def names(self) -> Sequence[str]:
        """All names, in the order of the files or of RECORDS."""
        return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Recording]:
        for name in self._entries:
            yield self.read(name)

    def read(self, name: str) -> Recording:
        """The record of that name.

        Raises:
            RecordingError: there is none, or its file is damaged.
        """
        entry = self._entries.get(name) or self._entries.get(name.replace(".tsv:", ":"))
        if entry is None:
            near = difflib.get_close_matches(name, list(self._entries), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RecordingError(f"{self.source}: no record {name!r} among {len(self._entries)}{hint}")
        recording = entry.read()
        label = self.labels.get(entry.name)
        if label is None or recording.label is not None:
            return recording
        return Recording(
            recording.name,
            recording.rate_hz,
            recording.channels,
            recording.digital,
            recording.analog,
            label,
            recording.invalid,
        )
