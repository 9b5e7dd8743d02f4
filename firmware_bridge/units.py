"""Integers to physical values, in one place: wire and file give the same float32 to the bit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_bridge.fields import decimal
from firmware_bridge.messages import MAX_CHANNEL_NAME, MAX_UNIT, Channel

Float32Array = npt.NDArray[np.float32]

# Factor to microvolts: voltages of files all end up in one unit.
_TO_MICROVOLT = {"v": 1e6, "mv": 1e3, "uv": 1.0, "µv": 1.0, "μv": 1.0, "nv": 1e-3}


class ToPhysical:
    """``values * scale + offset`` for each of ``channels``, whose numbers are looked up once."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._scale = np.array([channel.scale for channel in channels], np.float64)
        self._offset = np.array([channel.offset for channel in channels], np.float64)
        self._shifts = bool(self._offset.any())

    def __call__(self, values: npt.NDArray[Any]) -> Float32Array:
        """Integers (n, channel) to float32 (n, channel) in the channels' units; computed in float64."""
        scaled = np.multiply(values, self._scale)
        if self._shifts:
            scaled += self._offset
        physical: Float32Array = scaled.astype(np.float32)
        return physical


def to_physical(values: npt.NDArray[Any], channels: Sequence[Channel]) -> Float32Array:
    """:class:`ToPhysical` for one call: integers (n, channel) to float32 (n, channel)."""
    return ToPhysical(channels)(values)


def wire_exact(value: float) -> float:
    """``value`` as HELLO carries it, with nine significant digits, so that a file and its replay agree."""
    mantissa, exponent = decimal(value)
    return float(f"{mantissa}e{exponent}")


def microvolts(unit: str) -> tuple[str, float]:
    """Unit to use for ``unit`` and the factor into it: volts of any size become uV, others stay."""
    factor = _TO_MICROVOLT.get(unit.strip().lower())
    return (unit.strip(), 1.0) if factor is None else ("uV", factor)


def clean_name(name: str, index: int) -> str:
    """A channel name as the wire and JSON keys take it: "ECG II" -> "ECG_II"; "ch<index>" where none is left."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name.strip())[:MAX_CHANNEL_NAME].strip("_") or f"ch{index}"


def clean_unit(unit: str) -> str:
    """A unit as HELLO takes it: at most 8 printable ASCII characters, "1" where none is left."""
    ascii_only = unit.strip().replace("°", "deg").replace("µ", "u").replace("μ", "u")
    return re.sub(r"[^ -~]", "", ascii_only)[:MAX_UNIT].strip() or "1"
