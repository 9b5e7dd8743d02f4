"""Oversampling stays inside the training part; the order of the paper's text leaks and says so."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from trainer.data.base import Dataset
from trainer.data.cinc2017 import SPEC
from trainer.data.oversample import (
    PAPER,
    LeakageWarning,
    oversample,
    oversample_before_split,
    shared_records,
)
from trainer.data.splits import split
from trainer.errors import DataError

pytestmark = pytest.mark.paper2


def records(n: int = 400) -> Dataset:
    y = np.arange(n) % 4
    signals = [np.full((3, 1), i, np.int16) for i in range(n)]
    return Dataset(signals, y, tuple(f"A{i:05d}" for i in range(n)), SPEC)


def test_counts_labels_and_signals_go_together() -> None:
    data = records(8)
    larger = oversample(data, PAPER)
    assert Counter(larger.y.tolist()) == {0: 2, 1: 4, 2: 2, 3: 10}
    assert Counter(larger.names)["A00003"] == 5
    for signal, name, label in zip(larger.signals, larger.names, larger.y, strict=True):
        i = int(name[1:])
        assert signal[0, 0] == i
        assert label == data.y[i]


def test_no_record_in_two_splits() -> None:
    data = records()
    parts = {which: split(data, which) for which in ("train", "val", "test")}
    assert sum(len(part) for part in parts.values()) == len(data)
    parts["train"] = oversample(parts["train"], PAPER)
    assert len(parts["train"]) > 400
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not shared_records(parts[first], parts[second])


def test_the_order_of_the_papers_text_leaks_and_warns() -> None:
    with pytest.warns(LeakageWarning, match="held-out entries are copies of training records"):
        training, held = oversample_before_split(records(), PAPER, seed=1)
    assert len(held) == round(0.1 * (len(training) + len(held)))
    both = shared_records(training, held)
    assert both
    assert {int(name[1:]) % 4 for name in both} == {1, 3}


@pytest.mark.parametrize(("times", "told"), [({"afib": 2}, "no such class"), ({"af": 0}, "at least once")])
def test_mistakes(times: dict[str, int], told: str) -> None:
    with pytest.raises(DataError, match=told):
        oversample(records(8), times)
