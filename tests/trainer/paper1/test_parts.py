"""The parts of paper 1's method, each against its equation or an independent answer."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.augment import mixed, warped
from trainer.data.base import Dataset, DataSpec
from trainer.defenses.smoothing import moving_average, savitzky_golay, smooth
from trainer.errors import EvaluationError, ExportError
from trainer.evaluate.ceiling import ceiling
from trainer.evaluate.rejection import KINDS, Traits, noise, operating_point, relative_residual, standardised
from trainer.explain import cam, mds
from trainer.recipe import read_recipe
from trainer.reproduce.iot import closeness as closeness_module
from trainer.reproduce.iot import device, plan, recipes, refusal, table2, table4
from trainer.reproduce.iot.archive import Prepared
from trainer.reproduce.iot.closeness import Closeness, closeness
from trainer.reproduce.iot.grid import MissingCellError


def fewest_lost(x: np.ndarray, y: np.ndarray, epsilon: float) -> int:
    """The smallest vertex cover by trying every set."""
    n = len(x)
    edges = [
        (i, j) for i, j in combinations(range(n), 2) if y[i] != y[j] and np.abs(x[i] - x[j]).max() < 2 * epsilon
    ]
    for size in range(n + 1):
        for chosen in combinations(range(n), size):
            if all(i in chosen or j in chosen for i, j in edges):
                return size
    raise AssertionError


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 9), epsilon=st.floats(0.05, 0.6))
def test_the_ceiling_is_the_smallest_cover(seed: int, n: int, epsilon: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 1, (n, 2, 1)), rng.integers(0, 3, n)
    found = ceiling(x, y, epsilon)
    assert found.exact
    assert found.cover == fewest_lost(x, y, epsilon)
    assert found.share == pytest.approx(1 - found.cover / n)


def test_series_exactly_two_epsilon_apart_do_not_conflict() -> None:
    x, y = np.array([[0.0], [0.5]])[..., None], np.array([0, 1])
    assert ceiling(x, y, 0.25).share == 1.0
    assert ceiling(x, y, 0.26).share == 0.5


def test_series_of_other_lengths_do_not_conflict() -> None:
    valid = np.array([[True, True], [True, False]])
    assert ceiling(np.zeros((2, 2, 1)), np.array([0, 1]), 0.1, valid).share == 1.0


def test_the_map_sums_to_the_class_score() -> None:
    rng = np.random.default_rng(0)
    features, weights, label = rng.normal(size=(4, 11, 3)), rng.normal(size=(3, 5)), np.array([0, 4, 2, 2])
    score = (features.sum(1) @ weights)[np.arange(4), label]  # eq. 3
    assert np.allclose(cam.class_activation(features, weights, label).sum(1), score)


def test_overlap_is_one_for_itself_and_chance_for_noise() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((300, 50)), rng.random((300, 50))
    assert cam.overlap(a, a).min() == 1.0
    assert abs(cam.overlap(a, b).mean() - cam.TOP) < 0.02


def test_stress_is_equation_2_and_the_plane_keeps_what_lies_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 2))
    d = mds.distances(points @ rng.normal(size=(2, 2)))
    by_hand = np.sqrt(
        sum((d[i, j] - np.linalg.norm(points[i] - points[j])) ** 2 for i in range(20) for j in range(20))
        / sum(d[i, j] ** 2 for i in range(20) for j in range(20))
    )
    assert mds.stress(d, points) == pytest.approx(by_hand)
    flat = np.pad(points, ((0, 0), (0, 5))) @ np.linalg.qr(rng.normal(size=(7, 7)))[0]
    assert mds.embed(flat)[1] < 1e-6
    deep = rng.normal(size=(30, 8))
    found, stress = mds.embed(deep)
    assert 0.05 < stress < 0.5
    assert stress == pytest.approx(mds.stress(mds.distances(deep), found))


def test_separability_of_clusters_and_of_one_cloud() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    assert mds.separability(rng.normal(size=(60, 2)) + 8 * y[:, None], y) == 1.0
    assert mds.separability(rng.normal(size=(60, 2)), y) < 0.75


def test_smoothers() -> None:
    from scipy import signal

    x = np.random.default_rng(0).normal(size=(3, 40, 1)).astype(np.float32)
    assert np.allclose(savitzky_golay(11, 3), signal.savgol_coeffs(11, 3))
    theirs = signal.savgol_filter(x, 11, 3, axis=1, mode="nearest")
    assert np.allclose(smooth(x, savitzky_golay(11, 3)), theirs, atol=1e-5)
    assert np.allclose(smooth(np.full((1, 9, 1), 2.5), moving_average(5)), 2.5)
    for length, degree in ((4, 2), (3, 3), (0, 0)):
        with pytest.raises(ValueError, match="odd"):
            savitzky_golay(length, degree)
    with pytest.raises(ValueError, match="odd"):
        moving_average(2)


def test_the_printed_codes_that_can_hold() -> None:
    rows = table2.rows()
    assert [row.code_of_quantised for row in rows] == [row.printed for row in rows]
    assert [row.code_of_value == row.printed for row in rows] == [False, True, False]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(2, 80), strength=st.floats(0.01, 0.99))
def test_warping_keeps_length_ends_and_order(seed: int, n: int, strength: float) -> None:
    ramp = np.linspace(-1, 1, n)[:, None].astype(np.float32)
    found = warped(ramp, strength, np.random.default_rng(seed))
    assert found.shape == ramp.shape
    assert np.allclose(found[[0, -1]], ramp[[0, -1]], atol=1e-6)
    assert np.all(np.diff(found[:, 0]) >= -1e-6)


def test_mixing_keeps_labels_whole_and_the_first_series_ahead() -> None:
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(12, 7, 1)).astype(np.float32), np.eye(12, dtype=np.float32)
    m, t = mixed(1.0, rng, x, target)
    assert np.allclose(t.sum(1), 1)
    assert np.all(np.diag(t) >= 0.5)
    assert np.allclose(m, np.einsum("ij,jtc->itc", t, x), atol=1e-6)
    same, _ = mixed(0.0, rng, x, target)
    assert np.array_equal(same, x)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_what_it_says(kind: str) -> None:
    x = noise(kind, 5, 64, np.random.default_rng(0))
    assert x.shape == (5, 64, 1)
    spread = {"zeros": 0.0, "constant": 0.0}.get(kind, 1.0)
    assert np.allclose(x.std(1), spread, atol=1e-5)
    if kind == "coloured":
        white = noise("white", 5, 64, np.random.default_rng(0))
        assert np.abs(np.diff(x, axis=1)).mean() < 0.8 * np.abs(np.diff(white, axis=1)).mean()
    with pytest.raises(ValueError, match="unknown kind"):
        noise("pink", 1, 8, np.random.default_rng(0))


def test_an_operating_point_refuses_no_more_clean_series_than_it_may() -> None:
    rng = np.random.default_rng(0)
    clean = Traits(rng.lognormal(0, 0.2, 500), rng.random(500) * 0.2, 1 - rng.random(500) * 0.3).columns()
    columns = standardised(clean, clean)
    residual, apart, sure = [9.0, 0.01, 1.0, 1.0, 1.0], [0.1, 0.1, 0.9, 0.1, 0.1], [0.9, 0.9, 0.9, 0.1, 0.9]
    odd = Traits(np.array(residual), np.array(apart), np.array(sure))
    noisy = standardised(odd.columns(), clean)
    point = operating_point(columns, 0.02, noisy)
    assert point.refuses(columns).mean() <= 0.02
    assert point.refuses(noisy).tolist() == [True, True, True, True, False]


@pytest.mark.parametrize("side", range(4))
def test_the_share_is_spent_where_noise_is(side: int) -> None:
    columns = np.random.default_rng(0).standard_normal((500, 4))
    noisy = np.full((50, 4), -9.0)
    noisy[:, side] = np.linspace(1.9, 3, 50)
    point = operating_point(columns, 0.02, noisy)
    refused = (columns > point.thresholds).mean(axis=0)
    assert 0.01 <= refused[side] <= 0.02
    assert np.delete(refused, side).max() == 0
    few = operating_point(columns[:20], 0.02, noisy)
    assert not few.refuses(columns[:20]).any()


def test_the_share_is_spent_where_noise_weighs_most() -> None:
    columns = np.random.default_rng(0).standard_normal((500, 4))
    noisy = np.full((50, 4), -9.0)
    noisy[:40, 0] = noisy[40:, 2] = 2.2  # the share suffices for one of the two sides
    for weight, side in ((1, 0), (5, 2)):
        point = operating_point(columns, 0.02, noisy, np.repeat([1, weight], [40, 10]))
        assert (point.refuses(noisy)[[0, -1]] == [side == 0, side == 2]).all()


def test_noise_is_counted_by_thresholds_found_without_the_series_they_judge() -> None:
    rng = np.random.default_rng(0)

    def cell(n: int, residual: float, spread: float = 0.1) -> dict[str, list[float]]:
        return {
            "residual": (residual * rng.lognormal(0, spread, n)).tolist(),
            "disagreement": (0.1 * rng.random(n)).tolist(),
            "confidence": (1 - 0.05 * rng.random(n)).tolist(),
        }

    cells = [
        # coloured: beyond most clean series on one side, refused only where the share is spent on it
        {"clean": cell(n, 0.1 * n), "white": cell(200, 5.0 * n), "coloured": cell(200, 0.128 * n, 0.01),
         "zeros": cell(200, 0.1 * n)}
        for n in (400, 800)
    ]  # fmt: skip
    found = refusal._cross_fitted(cells)
    assert found["clean_series"] == 1200
    assert 0 < found["clean_refused"] < 0.05
    low, high = found["clean_refused_interval"]
    assert low < found["clean_refused"] < high
    assert found["accepted"]["white"] == 0.0
    assert found["accepted"]["coloured"] < 0.2
    assert found["accepted"]["zeros"] > 0.9  # like clean series in everything: cannot be told
    assert found["accepted_confident"]["zeros"] == found["accepted"]["zeros"]


def test_what_does_not_vary_has_an_endless_residual() -> None:
    valid = np.ones((3, 50), bool)
    valid[2, 25:] = False
    x = np.stack([np.sin(np.arange(50)), np.full(50, 2.0), np.sin(np.arange(50))])[..., None]
    found = relative_residual(x, x, x + 0.1, valid)
    assert found[0] == pytest.approx(0.1 / x[0].std())
    assert found[1] == pytest.approx(100.0)
    assert found[2] == pytest.approx(0.1 / x[2, :25].std())
    x[2, 25:], rebuilt = 50.0, x + 0.1
    rebuilt[2, 25:] = -50.0
    assert relative_residual(x, x, rebuilt, valid)[2] == pytest.approx(found[2])  # padding has no say


def test_a_network_that_export_refuses_leaves_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ExportError("kernels disagree")

    monkeypatch.setattr(device, "export_run", refuse)
    train, test = series(*[[0.0, float(i)] for i in range(6)], y=[0, 1] * 3), series([0.0, 1.0], y=[1])
    cell = device.int8_cell(Path("run"), Prepared("toy", train, test, ()), test.windows().x)
    assert cell == {"refused": "kernels disagree"}

    class Refused:
        def __getattr__(self, name: str) -> Any:
            def cell_of(*_: object) -> Any:
                if name != "int8":
                    raise MissingCellError(name)
                return cell

            return cell_of

    assert set(table4.figures(Refused(), "toy", 0).values()) == {None}  # type: ignore[arg-type]
    Refused.facts = lambda *_: {"ceiling_exact": True}  # type: ignore[attr-defined]
    assert table4.warnings(Refused(), "toy", [0]) == ["best: no int8 file, kernels disagree"]  # type: ignore[arg-type]


def test_what_can_be_asked_for() -> None:
    everything = plan.wanted((), (), (), ("Coffee", "Other"), 1)
    assert (everything.tables, everything.figures, everything.datasets) == (plan.TABLES, plan.FIGURES, ("Coffee",))
    assert plan.wanted((4, 4), (), ("Other",), ("Coffee", "Other"), 2).figures == ()
    for asked, match in (
        (((3,), (), (), 1), "unknown table 3; known are 1, 2, 4"),
        (((), (5,), (), 1), "unknown figure 5; known are 4, 6, 7, 8, 10, 11, 12, 14, 15"),
        (((), (), ("Cofee",), 1), "unknown dataset 'Cofee'; known here are Coffee"),
        (((), (), (), 0), "--seeds is 0"),
    ):
        with pytest.raises(EvaluationError, match=match):
            plan.wanted(*asked[:3], ("Coffee",), asked[3])
    with pytest.raises(EvaluationError, match="no dataset"):
        plan.wanted((), (), (), (), 1)


def series(*rows: list[float], y: list[int]) -> Dataset:
    signals = [np.array(row, np.float32)[:, None] for row in rows]
    spec = DataSpec("toy", tuple(map(str, range(max(y) + 1))), "1", 1.0, len(rows[0]))
    return Dataset(signals, np.array(y), tuple(map(str, range(len(rows)))), spec)


def test_closeness_is_that_of_the_nearest_series_of_another_label() -> None:
    data = series([0, 0, 0, 0], [0.1, 0.1, 0.1, 0.1], [0, 0, 0, 1.0], [5, 5, 5, 5], y=[0, 0, 1, 1])
    found = closeness(data, 0.1)
    # to the nearest of the other label, by mean: 1.0 / 4 there and back, (0.3 + 0.9) / 4, 4.9
    assert found.gap == pytest.approx(np.median([0.25, 0.3, 0.25, 4.9]))
    assert found.beyond == pytest.approx(np.median([0.8, 0.7 / 1.2, 0.8, 4.7 / 4.9]))
    assert closeness(data, 10.0).beyond == 0.0


def test_budgets_shrink_where_little_of_the_difference_is_left() -> None:
    ladder = [recipes.budgets(Closeness(0.1, beyond), 0.1) for beyond in (0.0, 0.1, 0.9)]
    assert ladder == [[0.01, 0.03], [0.03, 0.06, 0.1], [0.05, 0.1]]


@pytest.mark.parametrize("net", ["joint", "two_stage"])
def test_the_paper_s_code_has_half_as_many_numbers_as_samples(net: str, tmp_path: Path) -> None:
    data = series(*([float(k % 2), 0.0] * 8 for k in range(16)), y=[0, 1] * 8)
    file = tmp_path / "recipe.toml"
    file.write_text(recipes.text(net, Prepared("Toy", data, data, ()), plan.SCALES["full"], 0))
    front = read_recipe(file).model.encode_decode
    assert front is not None
    assert front["width"] / front["stride"] == 0.5


def test_confident_answers_to_noise_weigh_five_when_thresholds_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []

    def spy(columns: np.ndarray, share: float, noisy: np.ndarray, weights_: np.ndarray) -> Any:
        weights.append(weights_)
        return operating_point(columns, share, noisy, weights_)

    monkeypatch.setattr(refusal, "operating_point", spy)
    own = {"residual": [0.1, 0.2] * 10, "disagreement": [0.0] * 20, "confidence": [0.95, 0.95, 0.5, 0.5] * 5}
    refusal._cross_fitted([{"clean": own, "white": own}])
    assert [w.tolist() for w in weights] == [[5, 1] * 5] * refusal.FOLDS


@pytest.mark.parametrize(("apart", "steps"), [(0.02, 0), (0.08, 4)])
def test_training_attacks_nothing_where_any_budget_swallows_the_classes(
    apart: float, steps: int, tmp_path: Path
) -> None:
    wave = [-1.0, 1.0, 2.0, -2.0] * 4
    data = series(*([v + apart * (k % 2) for v in wave] for k in range(16)), y=[0, 1] * 8)
    file = tmp_path / "recipe.toml"
    file.write_text(recipes.text("best", Prepared("Toy", data, data, ()), plan.SCALES["full"], 0))
    assert read_recipe(file).defense.arguments["steps"] == steps


def test_closeness_of_many_series_takes_some_of_them() -> None:
    y = [k % 2 for k in range(3 * closeness_module.MOST)]
    found = closeness(series(*([float(label), 0.0] for label in y), y=y), 0.1)
    assert found == Closeness(0.5, pytest.approx(0.8))


def test_levels_of_a_heavy_tailed_set_begin_above_its_base_load() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(-0.3, 0.1, 10_000), rng.uniform(5, 25, 200)])
    level = recipes.quiet(values, 0.1)
    assert 0.18 <= level <= 0.25
    assert np.mean(np.abs(values - level) <= 0.1) <= recipes.QUIET
