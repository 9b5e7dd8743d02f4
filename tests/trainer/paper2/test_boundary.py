"""The Hanning filter, the geometry of a proposal, and the walk on nets whose boundary is known."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from trainer.attacks.boundary import (
    Decide,
    Walk,
    boundary,
    decisions,
    hanning_taps,
    low_pass,
    make_set,
    propose,
)
from trainer.data.base import DataSpec, Windows
from trainer.errors import AttackError
from trainer.models.wrap import AttackModel

pytestmark = pytest.mark.paper2
TIME = 120
SPEC = DataSpec("toy", ("a", "b", "c", "d"), "uV", 300.0, TIME)
WEIGHTS = np.sin(2 * np.pi * np.arange(TIME) / 40)


def plane(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Class 1 on one side of a plane through 0, class 0 on the other."""
    return (np.tensordot(x[..., 0] * valid, WEIGHTS, 1) > 0).astype(np.int64)


def pair(n: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Originals of class 0, starts of class 1, the class to reach, and a mask with padding."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 20, (2, n, TIME, 1))
    wave = 50 * WEIGHTS[:, None]
    valid = np.ones((n, TIME), bool)
    valid[:, :15] = False
    x = (noise[0] - wave) * valid[..., None]
    return x.astype(np.float32), (noise[1] + wave).astype(np.float32), np.ones(n, np.int64), valid


def test_hanning_filter() -> None:
    taps = hanning_taps(41)
    by_hand = np.array([0.5 - 0.5 * np.cos(2 * np.pi * k / 40) for k in range(41)])
    np.testing.assert_allclose(taps, by_hand / by_hand.sum(), atol=1e-12)
    np.testing.assert_allclose(taps, taps[::-1])
    noise = np.random.default_rng(0).normal(size=(2, 200, 2))
    filtered = low_pass(noise, taps)
    for i in range(2):
        for channel in range(2):
            slow = [
                sum(taps[k] * noise[i, t + 20 - k, channel] for k in range(41) if 0 <= t + 20 - k < 200)
                for t in range(200)
            ]
            np.testing.assert_allclose(filtered[i, :, channel], slow, atol=1e-12)


def test_the_filter_passes_low_and_stops_high_frequencies() -> None:
    t = np.arange(3000) / 300.0
    for hz, low, high in ((1.0, 0.97, 1.0), (40.0, 0.0, 0.01)):
        tone = np.sin(2 * np.pi * hz * t)[None, :, None]
        gain = np.abs(low_pass(tone, hanning_taps(41))[0, 300:-300]).max()
        assert low <= gain <= high


@pytest.mark.parametrize("length", [0, 3, 40])
def test_filters_that_cannot_be(length: int) -> None:
    with pytest.raises(AttackError, match="odd number of taps"):
        hanning_taps(length)


def test_a_proposal_keeps_its_sphere_and_goes_in_by_the_step() -> None:
    x, at, _, _ = pair()
    noise = np.random.default_rng(1).normal(size=x.shape)
    sphere, further = propose(x, at, noise, np.full(6, 0.05), np.full(6, 0.02))
    distance = np.linalg.norm((at - x)[..., 0], axis=1)
    np.testing.assert_allclose(np.linalg.norm((sphere - x)[..., 0], axis=1), distance, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm((further - x)[..., 0], axis=1), 0.98 * distance, rtol=1e-4)
    assert np.all(np.linalg.norm((sphere - at)[..., 0], axis=1) > 0.04 * distance)


def test_it_comes_near_the_plane_and_keeps_class_padding_and_budget() -> None:
    x, start, target, valid = pair()
    asked = np.zeros(len(x), int)

    def counting(window: np.ndarray, mask: np.ndarray) -> np.ndarray:
        asked[: len(window)] += 1
        return plane(window, mask)

    result = boundary(counting, x, start, target, valid, walk=Walk(queries=900))
    assert result.found.all()
    assert np.array_equal(plane(result.x, valid), target)
    assert np.array_equal(result.x[~valid], x[~valid])
    assert asked.max() == result.queries <= 900
    weights = WEIGHTS * valid[0]
    nearest = -(x[..., 0] @ weights) / np.linalg.norm(weights)
    begun = np.linalg.norm(((start - x) * valid[..., None])[..., 0], axis=1)
    np.testing.assert_allclose(result.distance, np.linalg.norm((result.x - x)[..., 0], axis=1), rtol=1e-4)
    assert np.all(result.distance >= nearest * 0.999)
    assert np.all(result.distance < nearest + 0.25 * (begun - nearest))


def test_more_queries_come_nearer_and_the_filter_makes_it_smoother() -> None:
    x, start, target, valid = pair(seed=3)

    def walked(**settings: int) -> np.ndarray:
        walk = Walk(**settings)
        return boundary(plane, x, start, target, valid, walk=walk, rng=np.random.default_rng(5)).x - x

    few, many, rough = walked(queries=100), walked(queries=600), walked(queries=600, filter_length=1)
    assert np.linalg.norm(many) < np.linalg.norm(few)

    def roughness(noise: np.ndarray) -> float:
        return float(np.std(np.diff(noise[:, 20:, 0], axis=1)) / np.std(noise[:, 20:, 0]))

    assert roughness(many) < roughness(rough)


def test_same_seed_same_windows() -> None:
    x, start, target, valid = pair()
    runs = [boundary(plane, x, start, target, valid, walk=Walk(queries=60)).x for _ in range(2)]
    assert np.array_equal(*runs)


def test_a_start_of_the_wrong_class_is_not_found() -> None:
    x, start, target, valid = pair()
    start[2] = x[2]
    result = boundary(plane, x, start, target, valid, walk=Walk(queries=30))
    assert result.found.tolist() == [True, True, False, True, True, True]
    assert np.array_equal(result.x[2], x[2])
    assert result.distance[2] == 0
    nowhere = boundary(plane, x, x, plane(x, valid), valid, walk=Walk(queries=30))
    assert nowhere.queries == 1


def test_shapes_and_budgets_that_do_not_fit() -> None:
    x, start, target, valid = pair()
    with pytest.raises(AttackError, match="do not fit"):
        boundary(plane, x, start[:2], target, valid)
    with pytest.raises(AttackError, match="at least 1 query"):
        boundary(plane, x, start, target, valid, walk=Walk(queries=0))


def nearest_of_four() -> tuple[Decide, Windows]:
    """A net that tells four frequencies apart, and records of which every fifth has a wrong label."""
    waves = np.stack([np.sin(2 * np.pi * k * np.arange(TIME) / TIME) for k in (1, 2, 3, 4)])
    inputs = keras.Input((TIME, 1))
    outputs = keras.layers.Dense(4, use_bias=False)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.set_weights([waves.T.astype(np.float32)])
    y = np.arange(20) % 4
    x = (30 * waves[y] + np.random.default_rng(0).normal(0, 3, (20, TIME)))[..., None].astype(np.float32)
    y[::5] = (y[::5] + 1) % 4
    names = tuple(f"r{i}" for i in range(20))
    return decisions(AttackModel(model)), Windows(x, np.ones((20, TIME), bool), y, names, SPEC)


def test_a_set_is_made_of_pairs_that_the_network_gets_right() -> None:
    decide, windows = nearest_of_four()
    made = make_set(decide, windows, per_pair=2, walk=Walk(queries=40), seed=1)
    assert 0 < len(made.y) == made.tried < 24
    assert np.array_equal(decide(made.x, made.valid), made.target)
    assert np.all(made.y != made.target)
    assert np.all(made.distance > 0)


def test_a_network_that_gets_nothing_right_gives_an_empty_set() -> None:
    decide, windows = nearest_of_four()
    wrong = (decide(windows.x, windows.valid) + 1) % 4
    made = make_set(decide, replace(windows, y=wrong), per_pair=1, walk=Walk(queries=5))
    assert made.tried == len(made.y) == len(made.x) == 0
