"""Oversampling of the rare classes of CinC 2017 (paper 2, section 3.1): AF twice, noise five times.

The paper's text enlarges the data set first and divides it 90 to 10 after, so that copies of one record lie on
both sides and the test figure is partly a figure of training records. Here the split comes first and only the
training part is enlarged; the text's order is kept as :func:`oversample_before_split`, which warns. (The paper's
own code splits first, as here, and adds five copies of each noise record, six in all.)
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from trainer.data.base import Dataset
from trainer.errors import DataError

PAPER = {"af": 2, "noise": 5}


class LeakageWarning(UserWarning):
    """Copies of one record lie on both sides of a split."""


def oversample(data: Dataset, times: Mapping[str, int]) -> Dataset:
    """Every record of class ``label`` listed ``times[label]`` times (once if not named), copies side by side.

    Raises:
        DataError: a label that ``data`` does not have, or less than once.
    """
    for label, count in times.items():
        if label not in data.spec.labels:
            known = ", ".join(data.spec.labels)
            raise DataError(f"data.oversample.{label}: {data.spec.name} has no such class; it has {known}")
        if count < 1:
            raise DataError(f"data.oversample.{label}: a record is kept at least once, not {count} times")
    per_class = np.array([times.get(label, 1) for label in data.spec.labels])
    return data.take(np.repeat(np.arange(len(data)), per_class[data.y]))


def oversample_before_split(
    data: Dataset, times: Mapping[str, int], *, held: float = 0.1, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """(training, held-out) parts in the order of the paper's text: enlarged, shuffled, divided.

    Warns with :class:`LeakageWarning` how many held-out entries are copies of training records. Never give the
    real test records to this.
    """
    enlarged = oversample(data, times)
    order = np.random.default_rng(seed).permutation(len(enlarged))
    cut = len(order) - max(1, round(held * len(order)))
    training, rest = enlarged.take(order[:cut]), enlarged.take(order[cut:])
    both = shared_records(training, rest)
    copies = sum(name in both for name in rest.names)
    warnings.warn(
        f"oversampled before the split: {copies} of {len(rest)} held-out entries are copies of training "
        "records, and figures on them are too good",
        LeakageWarning,
        stacklevel=2,
    )
    return training, rest


def shared_records(first: Dataset, second: Dataset) -> set[str]:
    """Names of the records that are in both parts; empty for an honest split."""
    return set(first.names) & set(second.names)
