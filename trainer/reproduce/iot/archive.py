"""A dataset of the archive, ready for training and attack: normalised, digested, TRAIN and TEST as they are.

The archive's authors z-normalised most sets, series by series; where a set is not, it is done here in the same way,
over each series' own samples, so that epsilon is in standard deviations everywhere. The ten sets of the paper come
through unchanged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from trainer.data import ucr
from trainer.data.base import Dataset, Windows

NORMAL_WITHIN = 0.05  # mean 0 and deviation 1 within this: normalised already, by either divisor


@dataclass(frozen=True)
class Prepared:
    """TRAIN and TEST of one dataset; ``notes`` say what was done to it."""

    name: str
    train: Dataset
    test: Dataset
    notes: tuple[str, ...]

    @cached_property
    def windows(self) -> Windows:
        return self.test.windows()

    @cached_property
    def digest(self) -> str:
        """What tells this data from other data of the same name."""
        sha = hashlib.sha256()
        for part in (self.train, self.test):
            sha.update(np.ascontiguousarray(part.y).tobytes())
            for signal in part.signals:
                sha.update(np.ascontiguousarray(signal, np.float32).tobytes())
        return sha.hexdigest()[:16]

    @cached_property
    def reach(self) -> tuple[float, float]:
        """The range of TRAIN's values (paper 1's Fig. 11: the data's own)."""
        values = np.concatenate([signal.ravel() for signal in self.train.signals])
        return float(values.min()), float(values.max())

    @property
    def classes(self) -> int:
        return len(self.train.spec.labels)


def datasets(data: Path) -> list[str]:
    """Names of the datasets at ``data``: an archive of folders, or one dataset's own folder."""
    if data.is_dir() and ucr.is_dataset(data):
        return [data.name]
    return ucr.datasets_in(data) if data.is_dir() else []


def prepare(data: Path, name: str) -> Prepared:
    """Load dataset ``name`` below ``data`` (or ``data`` itself).

    Raises:
        DataError: what ``trainer.data.ucr`` refuses; names file and row.
    """
    folder = data if data.name == name and ucr.is_dataset(data) else data / name
    train, test, notes = ucr.load_with_notes(folder)
    if not all(_is_normal(signal) for signal in train.signals):
        train, test = (replace(p, signals=[_normal(s) for s in p.signals]) for p in (train, test))
        notes = (*notes, f"{name}: every series was z-normalised")
    return Prepared(name, train, test, notes)


def _is_normal(signal: np.ndarray) -> bool:
    return abs(float(signal.mean())) < NORMAL_WITHIN and abs(float(signal.std()) - 1) < NORMAL_WITHIN


def _normal(signal: np.ndarray) -> np.ndarray:
    spread = signal.std(0)
    return np.asarray((signal - signal.mean(0)) / np.where(spread > 0, spread, 1.0), np.float32)
