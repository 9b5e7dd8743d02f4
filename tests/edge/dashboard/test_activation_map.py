"""The activation map: its parts add up to the logit without its bias, and without votes that have no place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.dashboard.explain import activation_map

LABELS = ("a", "b")
FEATURES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def mapped(rows: int) -> tuple[list[float] | None, np.ndarray]:
    kernel = np.random.default_rng(1).normal(size=(rows, 2)).astype(np.float32)
    bundle: Any = SimpleNamespace(head={"kernel": kernel}, manifest=SimpleNamespace(labels=LABELS))
    scores: Any = SimpleNamespace(features=FEATURES)
    return activation_map(bundle, scores, "b"), kernel[:, 1]


@pytest.mark.parametrize("poolings", [1, 2])
@pytest.mark.parametrize("votes", [0, 2])
def test_its_parts_add_up_to_what_the_pooled_features_say(poolings: int, votes: int) -> None:
    found, column = mapped(3 * poolings + votes)
    pooled = np.concatenate([FEATURES.mean(0), FEATURES.max(0)])[: 3 * poolings]
    assert found is not None
    assert len(found) == len(FEATURES)
    assert sum(found) == pytest.approx(float(pooled @ column[: 3 * poolings]), abs=1e-3)


@pytest.mark.parametrize("rows", [2, 4, 7, 9])
def test_a_head_that_does_not_fit_gives_none(rows: int) -> None:
    assert mapped(rows)[0] is None
