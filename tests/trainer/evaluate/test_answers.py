"""The worst answer of each record, and batches in which some windows have no gradient. No Keras is loaded."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from trainer.errors import AttackError, ZeroGradientError
from trainer.evaluate.answers import Answers, candidates

Y = np.array([0, 0, 1, 1])


def test_wrong_beats_right_and_less_sure_beats_sure() -> None:
    answers = Answers.none(Y, 2)
    every = np.arange(4)
    answers.merge(every, np.float32([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.6, 0.4]]))
    answers.merge(every, np.float32([[0.6, 0.4], [0.9, 0.1], [0.1, 0.9], [0.8, 0.2]]))
    assert answers.prediction.tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(answers.probabilities[:, 0], [0.6, 0.4, 0.4, 0.8])
    assert answers.correct == 2


def test_the_order_of_merges_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.dirichlet([1, 1], 4).astype(np.float32) for _ in range(4)]
    results = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        answers = Answers.none(Y, 2)
        for i in order:
            answers.merge(np.arange(4), parts[i])
        results.append(answers.probabilities)
    np.testing.assert_array_equal(*results)


def test_given_up_records_count_as_wrong() -> None:
    answers = Answers.none(Y, 2)
    answers.merge(np.arange(4), np.float32([[1, 0], [1, 0], [0, 1], [0, 1]]))
    answers.give_up(np.array([1]))
    assert answers.prediction.tolist() == [0, 1, 1, 1]


class Twin:
    surrogates = ("tent", "sigmoid")

    def __init__(self) -> None:
        self.current = ""

    @contextmanager
    def surrogate(self, name: str) -> Any:
        self.current = name
        yield self


class Fake:
    """Adds 1; refuses a batch that holds a window starting with a forbidden value under the current
    surrogate.
    """

    gradient = "exact"

    def __init__(self, forbidden: dict[str, set[float]]) -> None:
        self.forbidden = forbidden
        self.calls = 0

    def run(
        self, model: Twin, x: np.ndarray, y: np.ndarray, valid: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        self.calls += 1
        stuck = tuple(i for i, window in enumerate(x) if float(window[0, 0]) in self.forbidden[model.current])
        if stuck:
            raise ZeroGradientError("zero", stuck)
        return x + 1


X = np.arange(4, dtype=np.float32).reshape(4, 1, 1) * np.ones((1, 3, 1), np.float32)
VALID = np.ones((4, 3), bool)


def test_windows_without_gradient_stay_and_the_rest_is_attacked() -> None:
    first, second = candidates(Fake({"tent": {1.0}, "sigmoid": set()}), Twin(), X, Y, VALID, seed=0)
    assert (first.gradient, second.gradient) == ("bpda:tent", "bpda:sigmoid")
    assert first.stuck.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(first.x[:, 0, 0], [1, 1, 3, 4])
    assert not second.stuck.any()
    np.testing.assert_array_equal(second.x[:, 0, 0], [1, 2, 3, 4])


def test_a_batch_without_any_gradient_ends() -> None:
    attack = Fake({"tent": {0.0, 1.0, 2.0, 3.0}, "sigmoid": {0.0}})
    first, second = candidates(attack, Twin(), X, Y, VALID, seed=0)
    assert first.stuck.all()
    np.testing.assert_array_equal(first.x, X)
    assert second.stuck.tolist() == [True, False, False, False]
    assert attack.calls == 3


def test_other_attack_errors_pass_through() -> None:
    class Broken(Fake):
        def run(self, *args: Any) -> np.ndarray:
            raise AttackError("mask of another shape")

    with pytest.raises(AttackError, match="mask"):
        candidates(Broken({}), Twin(), X, Y, VALID, seed=0)
