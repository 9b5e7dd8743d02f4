"""Channels and units of a source against those of a bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.bundle import InputSpec
from edge.errors import BlockError
from edge.types import FloatArray

__all__ = ["ChannelMap", "factor", "match_channels"]

# SI prefixes as powers of ten: quotients of whole powers are exact.
_PREFIXES = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6}
_BASES = ("V", "A", "W", "Wh", "Hz", "g", "Pa", "s")
# Names that say nothing: what CSV readers and plotters call a column without a header.
_NAMELESS = re.compile(r"(ch|channel|col|column|value|v|x|y|signal)?[ _-]?\d*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ChannelMap:
    """How a block's columns become a window's: which, in what order, times what."""

    columns: tuple[int, ...] | None
    factors: FloatArray | None

    def apply(self, values: FloatArray) -> FloatArray:
        """float32 (n, source channel) to float32 (n, bundle channel) in the bundle's unit."""
        picked = values if self.columns is None else values[:, self.columns]
        if self.factors is None:
            return picked
        scaled: FloatArray = picked * self.factors
        return scaled


def factor(unit: str, wanted: str) -> float:
    """What a value in `unit` is multiplied by to be in `wanted`. Raises ValueError when they differ in kind."""
    if unit == wanted:
        return 1.0
    base, exponent = _split(unit)
    wanted_base, wanted_exponent = _split(wanted)
    if base != wanted_base:
        raise ValueError(f"{unit!r} cannot be turned into {wanted!r}")
    power = exponent - wanted_exponent
    return float(10**power) if power >= 0 else 1.0 / 10**-power


def match_channels(
    spec: InputSpec, channels: Sequence[str], units: Sequence[str], stream: str = ""
) -> ChannelMap:
    """Find the bundle's channels among the source's: by name without regard to case, or, where the source's
    names say nothing (ch0, column 2) and their number is right, by position. Raises BlockError.
    """
    if len(units) != len(channels):
        message = (
            f"stream {stream!r}: {len(channels)} channels but {len(units)} units; give one unit for each"
        )
        raise BlockError(message, stream=stream)
    names = [name.strip().lower() for name in channels]
    wanted = [name.strip().lower() for name in spec.channels]
    if all(name in names for name in wanted):
        columns = tuple(names.index(name) for name in wanted)
    elif len(names) == len(wanted) and all(_NAMELESS.fullmatch(name) for name in names):
        columns = tuple(range(len(wanted)))
    else:
        raise BlockError(
            f"stream {stream!r}: has channels {_listed(channels)}, the bundle needs {_listed(spec.channels)}; "
            "name them so in the source's settings",
            stream=stream,
        )
    try:
        factors = [factor(units[column], spec.units) for column in columns]
    except ValueError as error:
        message = (
            f"stream {stream!r}: {error}, the bundle's unit; set the unit and scale in the source's settings"
        )
        raise BlockError(message, stream=stream) from error
    in_place = columns == tuple(range(len(channels)))
    scaled: npt.NDArray[np.float32] | None = np.asarray(factors, np.float32)
    return ChannelMap(None if in_place else columns, None if set(factors) == {1.0} else scaled)


def _split(unit: str) -> tuple[str, int]:
    text = unit.strip().replace("\u00b5", "u").replace("\u03bc", "u")  # micro sign, Greek mu
    for base in _BASES:
        prefix = text[: -len(base)]
        if text.endswith(base) and prefix in _PREFIXES:
            return base, _PREFIXES[prefix]
    return text, 0


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:8])
    return shown + (", ..." if len(names) > 8 else "")
