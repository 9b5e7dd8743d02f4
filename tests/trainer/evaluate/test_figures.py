"""Metrics against scikit-learn, intervals against known values, and each masking check by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from trainer.evaluate import checks
from trainer.evaluate.checks import Outcome, warnings_of
from trainer.evaluate.intervals import mean_interval, wilson
from trainer.evaluate.metrics import confusion, measure

ANSWERS = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60)
    )
)


@given(ANSWERS)
@settings(max_examples=150, deadline=None)
def test_figures_equal_scikit_learn_with_classes_absent(case: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = case
    y, prediction = (np.array(column) for column in zip(*pairs, strict=True))
    found = measure(y, prediction, classes)
    assert found.accuracy == pytest.approx(oracle.accuracy_score(y, prediction))
    assert found.macro_f1 == pytest.approx(oracle.f1_score(y, prediction, average="macro"))
    recalls = oracle.recall_score(y, prediction, labels=np.unique(y), average="macro")
    assert found.balanced_accuracy == pytest.approx(recalls)
    np.testing.assert_array_equal(
        found.confusion, oracle.confusion_matrix(y, prediction, labels=np.arange(classes))
    )
    assert found.correct == int((y == prediction).sum())


def test_confusion_rows_are_the_truth() -> None:
    assert confusion(np.array([0, 0, 1]), np.array([1, 1, 1]), 3).tolist() == [
        [0, 2, 0],
        [0, 1, 0],
        [0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # the first two from R's prop.test(correct = FALSE), the ends by the formula's limits
        (15, 20, 0.5313, 0.8881),
        (81, 263, 0.2553, 0.3662),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_known_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_between_0_and_1(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson(successes, n)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    mirrored = wilson(n - successes, n)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_share(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson(successes, n)


def test_wilson_covers_about_95_percent() -> None:
    n, share = 120, 0.83
    covered = sum(
        math.comb(n, k) * share**k * (1 - share) ** (n - k)
        for k in range(n + 1)
        if wilson(k, n)[0] <= share <= wilson(k, n)[1]
    )
    assert 0.93 < covered < 0.97


def row(
    attack: str,
    correct: int,
    *,
    epsilon: float = 10.0,
    steps: int = 0,
    target: str = "float",
    zero: float = 0,
) -> Outcome:
    return Outcome(target, attack, epsilon, steps, 100, correct, zero)


CLEAN = row("clean", 90, epsilon=0.0)


def test_sound_rows_have_no_warnings() -> None:
    rows = [CLEAN, row("noise", 88), row("fgsm", 60, steps=1), row("pgd", 50, steps=20)]
    rows.append(row("pgd", 10, steps=20, epsilon=50.0))
    assert [warnings_of(r, rows) for r in rows] == [[]] * 5


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([CLEAN, row("pgd", 50, steps=20, zero=0.001)], "zero_gradient"),
        ([CLEAN, row("noise", 70), row("pgd", 80, steps=20)], "black_box_beats_white_box"),
        ([CLEAN, row("fgsm", 50, steps=1), row("pgd", 51, steps=20)], "more_steps_do_not_help"),
        (
            [CLEAN, row("pgd", 40, steps=20), row("pgd", 41, steps=20, epsilon=20.0)],
            "larger_epsilon_does_not_help",
        ),
        ([CLEAN, row("pgd", 91, steps=20)], "attack_helps"),
    ],
)
def test_each_sign_of_masking_is_told(rows: list[Outcome], code: str) -> None:
    assert warnings_of(rows[-1], rows) == [code]
    assert code in checks.WARNINGS


def test_rows_of_another_target_or_size_are_not_compared() -> None:
    other = [row("fgsm", 10, steps=1, target="int8"), Outcome("float", "fgsm", 10.0, 1, 50, 10)]
    last = row("pgd", 50, steps=20)
    assert warnings_of(last, [CLEAN, *other, last]) == []


def test_a_confined_attack_may_be_beaten_by_a_rough_step() -> None:
    rows = [CLEAN, row("fgsm", 50, steps=1), row("sap", 60, steps=60)]
    assert warnings_of(rows[-1], rows) == []


def test_the_interval_of_a_mean_is_narrower_than_its_parts_and_covers_what_was_drawn() -> None:
    assert mean_interval([0.4], [wilson(8, 20)]) == pytest.approx(wilson(8, 20))
    rng = np.random.default_rng(0)
    truth, sizes = rng.uniform(0.1, 0.95, 10), rng.integers(20, 400, 10)
    held = 0
    for _ in range(400):
        counts = rng.binomial(sizes, truth)
        shares = [float(c / n) for c, n in zip(counts, sizes, strict=True)]
        intervals = [wilson(int(c), int(n)) for c, n in zip(counts, sizes, strict=True)]
        low, high = mean_interval(shares, intervals)
        assert high - low < max(b - a for a, b in intervals)
        held += low <= truth.mean() <= high
    assert 0.92 < held / 400 < 0.98
