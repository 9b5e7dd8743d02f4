"""Preprocessing as data: the steps that turn a window in raw units into the model's input.

Training and the device run this one function. The trainer's differentiable twin is tested against it.
A sample that is not valid (missing or padding) is 0 on the way in and 0 on the way out, whatever the steps.
Means and deviations are taken in float64 over the valid samples of each channel, then applied in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from edge.errors import ManifestError
from edge.types import BoolArray, FloatArray

from .fields import Fields

__all__ = ["Asinh", "Clip", "RemoveDc", "Scale", "Step", "Znorm", "apply", "parse_steps"]

# A chain longer than this is a mistake: there are five kinds of step.
MAX_STEPS = 16


class Step(Protocol):
    """One step: pure, shape-keeping, defined by the numbers in its manifest entry."""

    op: ClassVar[str]

    def run(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """float32 (n, channel) to the same; what it leaves at invalid samples does not matter."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The manifest entry."""
        ...


@dataclass(frozen=True, slots=True)
class RemoveDc:
    """Subtract each channel's mean."""

    op: ClassVar[str] = "remove_dc"

    def run(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        mean, _ = _moments(values, valid)
        return values - mean

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op}


@dataclass(frozen=True, slots=True)
class Scale:
    """Multiply by a constant."""

    factor: float
    op: ClassVar[str] = "scale"

    def run(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        scaled: FloatArray = values * np.float32(self.factor)
        return scaled

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "factor": self.factor}


@dataclass(frozen=True, slots=True)
class Znorm:
    """Zero mean and unit standard deviation (population) per channel; a constant channel becomes 0."""

    op: ClassVar[str] = "znorm"

    def run(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        mean, deviation = _moments(values, valid, deviation=True)
        safe: FloatArray = np.where(deviation > 0, deviation, 1.0).astype(np.float32)
        normal: FloatArray = (values - mean) / safe
        return normal

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op}


@dataclass(frozen=True, slots=True)
class Clip:
    """Limit to a range."""

    low: float
    high: float
    op: ClassVar[str] = "clip"

    def run(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        return np.clip(values, np.float32(self.low), np.float32(self.high))

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Asinh:
    """asinh(x / scale): linear near zero, logarithmic far out.

    For signals whose rare peaks are a hundred times what tells the classes apart: an int8 tensor of the plain
    values would spend its steps on the peaks.
    """

    scale: float
    op: ClassVar[str] = "asinh"

    def run(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        compressed: FloatArray = np.arcsinh(values / np.float32(self.scale))
        return compressed

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "scale": self.scale}


def _moments(
    values: FloatArray, valid: BoolArray, *, deviation: bool = False
) -> tuple[FloatArray, FloatArray]:
    used = values if bool(valid.all()) else values[valid]
    if used.shape[0] == 0:
        zero = np.zeros(values.shape[1], np.float32)
        return zero, zero
    mean = used.mean(axis=0, dtype=np.float64)
    spread = used.std(axis=0, dtype=np.float64) if deviation else mean
    return mean.astype(np.float32), spread.astype(np.float32)


def apply(steps: Sequence[Step], values: FloatArray, valid: BoolArray) -> FloatArray:
    """The model's input for one window: float32 (n, channel) in raw units, bool (n,) -> float32 (n, channel).

    The result is a new array; the arguments stay as they are.
    """
    masked = not bool(valid.all())
    out: FloatArray = np.where(valid[:, None], values, np.float32(0.0)) if masked else values
    for step in steps:
        out = step.run(out, valid)
    if masked and steps:
        out[~valid] = 0.0
    if out is values:
        out = values.copy()
    return out


def parse_steps(entries: Sequence[Any]) -> tuple[Step, ...]:
    """The manifest's list of steps. Raises ManifestError that names the entry."""
    if len(entries) > MAX_STEPS:
        message = f"manifest.json: preprocess has {len(entries)} steps; use at most {MAX_STEPS}"
        raise ManifestError(message, field="preprocess")
    return tuple(_parse_step(Fields(entry, f"preprocess[{at}]")) for at, entry in enumerate(entries))


def _parse_step(fields: Fields) -> Step:
    op = fields.choice("op", ("remove_dc", "scale", "znorm", "clip", "asinh"))
    step: Step
    if op == "remove_dc":
        step = RemoveDc()
    elif op == "znorm":
        step = Znorm()
    elif op == "scale":
        step = Scale(fields.number("factor"))
    elif op == "asinh":
        step = Asinh(fields.number("scale", above=0.0))
    else:
        step = Clip(fields.number("low"), fields.number("high"))
        if step.low > step.high:
            raise fields.wrong("low", "is above high; swap them")
    fields.close()
    return step
