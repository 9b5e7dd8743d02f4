"""The data set that every loader returns and every later stage takes.

A data set is a set of *records* of any length with one label each, in raw units. Fixed windows are made from
it by :meth:`Dataset.windows`, with the padding rule of the agent (``edge.pipeline.windows``): zeros on both
sides when a record is shorter than the window, the first samples when it is longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.errors import DataError


@dataclass(frozen=True)
class DataSpec:
    """What the numbers mean: ``window_samples`` at ``rate_hz``, values in ``units``."""

    name: str
    labels: tuple[str, ...]
    units: str
    rate_hz: float
    window_samples: int
    channels: tuple[str, ...] = ("value",)


@dataclass(frozen=True)
class Windows:
    """Fixed windows: ``x`` (n, time, channel) float32, ``valid`` (n, time) bool, ``y`` (n,) int64."""

    x: np.ndarray
    valid: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    spec: DataSpec

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """Records ``signals[i]`` of shape (time_i, channel), labels ``y`` (n,) as indices into ``spec.labels``."""

    signals: Sequence[np.ndarray]
    y: np.ndarray
    names: tuple[str, ...]
    spec: DataSpec

    def __post_init__(self) -> None:
        if not (len(self.signals) == len(self.y) == len(self.names)):
            raise DataError(
                f"{self.spec.name}: {len(self.signals)} signals, {len(self.y)} labels and {len(self.names)} "
                "names; there must be as many of each"
            )

    def __len__(self) -> int:
        return len(self.y)

    def joined(self, other: Dataset) -> Dataset:
        """These records and then those of ``other``, of the same ``spec``."""
        names = self.names + other.names
        return Dataset([*self.signals, *other.signals], np.concatenate([self.y, other.y]), names, self.spec)

    def take(self, indices: np.ndarray | Sequence[int]) -> Dataset:
        """The records at ``indices``, in that order (repeats allowed: that is how oversampling is done)."""
        index = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            signals=[self.signals[i] for i in index],
            y=self.y[index],
            names=tuple(self.names[i] for i in index),
        )

    def windows(self) -> Windows:
        """One window per record, placed as the agent places a record that ends."""
        length, channels = self.spec.window_samples, len(self.spec.channels)
        x = np.zeros((len(self), length, channels), np.float32)
        valid = np.zeros((len(self), length), bool)
        for i, signal in enumerate(self.signals):
            n = min(len(signal), length)
            left = (length - n) // 2
            x[i, left : left + n] = signal[:n]
            valid[i, left : left + n] = True
        return Windows(x, valid, self.y, self.names, self.spec)
