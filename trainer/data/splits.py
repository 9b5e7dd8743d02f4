"""One split rule everywhere: by the record's name, so that every tool and every run agrees.

sha256 of the name, as a number, modulo 10: 0 is test, 1 is validation, the rest is training. The split comes
before any oversampling; all windows of a record stay on one side. UCR keeps its own TRAIN and TEST.
"""

from __future__ import annotations

import hashlib

import numpy as np

from trainer.data.base import Dataset
from trainer.errors import DataError

SPLITS = ("train", "val", "test", "all")


def part_of(name: str) -> str:
    """``"test"``, ``"val"`` or ``"train"`` for a record's name."""
    remainder = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") % 10
    return {0: "test", 1: "val"}.get(remainder, "train")


def fold_of(name: str, folds: int) -> int:
    """Which of ``folds`` parts a record's name falls in: the digits of the same number above the split's own."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") // 10 % folds


def without_fold(data: Dataset, folds: int, fold: int) -> Dataset:
    """The records of ``data`` outside of one fold: what a cross-fitted teacher learns from."""
    return data.take(np.flatnonzero([fold_of(name, folds) != fold for name in data.names]))


def split(data: Dataset, which: str) -> Dataset:
    """The records of one split, in the order of ``data``; ``"all"`` gives every record."""
    if which not in SPLITS:
        raise DataError(f"unknown split {which!r}; choose one of {', '.join(SPLITS)}")
    if which == "all":
        return data
    return data.take(np.flatnonzero([part_of(name) == which for name in data.names]))
