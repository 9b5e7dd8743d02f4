"""Heart beats found by rule, what is counted of them, and the forest that reads it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from trainer import gradients
from trainer.data.base import DataSpec
from trainer.errors import RecipeError
from trainer.models import beats, registry
from trainer.models.forest import LEAVES, NODES, Forest, descend
from trainer.models.rhythm import NAMES, Rhythm
from trainer.models.wrap import AttackModel

RATE_HZ = 300.0
SPEC = DataSpec("toy", ("a", "b", "c"), "uV", RATE_HZ, 3000)


def heart(times_s: np.ndarray, height_uv: float = 800.0, seconds: float = 10.0) -> np.ndarray:
    """(1, time, 1) uV: a narrow R peak at each of ``times_s``, a P wave before and a T wave after it."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    x = np.zeros_like(t)
    for at in times_s:
        for shift, size, width in ((-0.16, 0.12, 0.02), (0.0, 1.0, 0.012), (0.25, 0.25, 0.04)):
            x += height_uv * size * np.exp(-0.5 * ((t - at - shift) / width) ** 2)
    return x[None, :, None].astype(np.float32)


EVEN = np.arange(0.6, 9.6, 0.8)
UNEVEN = np.cumsum([0.7, 0.8, 0.55, 1.1, 0.6, 0.95, 0.7, 1.2, 0.65, 0.9])


@pytest.mark.parametrize("times_s", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("height_uv", [80.0, 800.0, 3000.0])
def test_every_beat_is_found_where_it_is(times_s: np.ndarray, sign: float, height_uv: float) -> None:
    found = beats.find(ops.convert_to_tensor(sign * heart(times_s, height_uv)), 24, RATE_HZ)
    there = np.asarray(found.there)[0]
    assert int(there.sum()) == len(times_s)
    np.testing.assert_allclose(np.asarray(found.seconds)[0, : len(times_s)], times_s, atol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_ten_microvolts_move_no_beat(seed: int) -> None:
    """The point of it: the worst signs move a place by 10 ms at most, add none and lose none."""
    x = heart(UNEVEN)
    noise = 10.0 * np.sign(np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)
    before, after = (beats.find(ops.convert_to_tensor(w), 24, RATE_HZ) for w in (x, x + noise))
    np.testing.assert_array_equal(np.asarray(after.there), np.asarray(before.there))
    np.testing.assert_allclose(np.asarray(after.seconds), np.asarray(before.seconds), atol=0.011)


def test_silence_has_no_beats() -> None:
    found = beats.find(ops.zeros((2, 3000, 1)), 24, RATE_HZ)
    assert float(np.asarray(found.there).sum()) == 0.0


def test_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        beats.find(ops.zeros((1, 3000, 1)), 24, 250.0)


def test_what_is_counted_tells_an_even_rhythm_from_an_uneven_one() -> None:
    layer = Rhythm(24, rate_hz=RATE_HZ)
    even, uneven = (dict(zip(NAMES, np.asarray(layer(heart(t)))[0], strict=True)) for t in (EVEN, UNEVEN))
    assert even["interval_mean"] == pytest.approx(0.8, abs=0.01)
    assert even["interval_p50"] == pytest.approx(0.8, abs=0.01)
    assert even["beats"] == len(EVEN)
    assert uneven["beats"] == len(UNEVEN)
    intervals = np.diff(UNEVEN)
    assert uneven["interval_std"] == pytest.approx(intervals.std(), abs=0.01)
    assert uneven["interval_p100"] == pytest.approx(intervals.max(), abs=0.02)
    assert uneven["interval_p0"] == pytest.approx(intervals.min(), abs=0.02)
    assert even["interval_std"] < 0.02
    assert even["alike_mean"] > 0.95  # all beats are of one shape


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 1.0, 30.0, 1e3, 1e5]), st.booleans())
def test_every_number_and_its_gradient_are_finite(seed: int, size: float, drift: bool) -> None:
    x = size * np.random.default_rng(seed).normal(size=(2, 3000, 1))
    x = (np.cumsum(x, 1) if drift else x).astype(np.float32)
    layer = Rhythm(24, rate_hz=RATE_HZ)
    out, gradient = gradients.input_gradient(lambda v: ops.sum(layer(v), -1), ops.convert_to_tensor(x))
    assert np.isfinite(np.asarray(out)).all()
    assert np.isfinite(np.asarray(gradient)).all()


def test_one_window_is_counted_like_many() -> None:
    x = np.concatenate([heart(EVEN), heart(UNEVEN), np.zeros((1, 3000, 1), np.float32)])
    layer = Rhythm(24, rate_hz=RATE_HZ)
    single = np.concatenate([np.asarray(layer(w[None])) for w in x])
    np.testing.assert_allclose(np.asarray(layer(x)), single, rtol=1e-4, atol=1e-4)


def forest(surrogate: str = "sigmoid") -> Forest:
    layer = Forest(2, 3, surrogate=surrogate)
    layer.build((None, 4))
    rng = np.random.default_rng(0)
    layer.feature.assign(rng.integers(0, 4, (2, 3, NODES)).astype(np.float32))
    layer.threshold.assign(rng.normal(size=(2, 3, NODES)).astype(np.float32))
    layer.leaf.assign(rng.normal(size=(2, 3, LEAVES)).astype(np.float32))
    layer.bias.assign(np.array([0.1, -0.2, 0.3], np.float32))
    return layer


def walked(layer: Forest, x: np.ndarray) -> np.ndarray:
    """The forest's answer to one row, tree by tree."""
    feature, threshold, leaf = (np.asarray(w) for w in (layer.feature, layer.threshold, layer.leaf))
    total = np.asarray(layer.bias).copy()
    for tree in range(2):
        for label in range(3):
            node = 0
            while node < NODES:
                right = x[int(feature[tree, label, node])] > threshold[tree, label, node]
                node = 2 * node + 1 + int(right)
            total[label] += leaf[tree, label, node - NODES]
    return np.asarray(total)


def test_the_forest_answers_as_a_walk_through_its_trees() -> None:
    layer, x = forest(), np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    expected = np.stack([walked(layer, row) for row in x])
    np.testing.assert_allclose(np.asarray(layer(x)), expected, atol=1e-5)


def test_every_leaf_is_reached_by_its_bits() -> None:
    leaf = np.arange(LEAVES, dtype=np.float32)[None]
    for number in range(LEAVES):
        bits, node = np.zeros((1, 1, NODES), np.float32), 0
        for depth in (2, 1, 0):
            bit = number >> depth & 1
            bits[0, 0, node] = bit
            node = 2 * node + 1 + bit
        assert float(np.asarray(descend(bits, leaf))[0, 0]) == number


@pytest.mark.parametrize("surrogate", ["tent", "sigmoid", "straight_through"])
def test_the_forests_gradient_points_where_its_score_rises(surrogate: str) -> None:
    """One comparison: the surrogate's gradient has the sign of what lies right of it minus what lies left."""
    layer = Forest(1, 1, surrogate=surrogate)
    layer.build((None, 1))
    for sign in (1.0, -1.0):
        layer.leaf.assign(np.array([[[0.0] * 4 + [sign] * 4]], np.float32))
        x = ops.convert_to_tensor(np.array([[-0.2]], np.float32))
        out, gradient = gradients.input_gradient(lambda v: layer(v)[:, 0], x)
        assert float(np.asarray(out)[0]) == 0.0  # left, hard
        assert np.sign(np.asarray(gradient)[0, 0]) == sign


def test_an_unknown_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown surrogate"):
        Forest(1, 1, surrogate="tnet")


def test_a_compact_net_with_trees_is_saved_and_loaded(tmp_path: Any) -> None:
    from trainer.models import registered  # noqa: F401  (before loading)

    model = registry.build("compact", SPEC, stem=4, widths=[4], trees=2, beats=24)
    assert model.get_layer("embedding").output.shape[1] == 2 * 4 + 3
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", compile=False)
    x = heart(UNEVEN)
    np.testing.assert_allclose(np.asarray(again(x)), np.asarray(model(x)), atol=1e-6)


def test_an_attack_tries_every_way_through_the_forest() -> None:
    """Without a thermometer in front, too: its comparisons have no gradient of their own."""
    model = AttackModel(registry.build("compact", SPEC, stem=4, widths=[4], trees=2, beats=24))
    layer = model.model.get_layer("forest")
    assert model.surrogates == ("tent", "sigmoid", "straight_through")
    with model.surrogate("tent"):
        assert layer.surrogate == "tent"
    assert layer.surrogate == model.current_surrogate == "sigmoid"


def test_windows_without_room_for_beats_are_refused() -> None:
    with pytest.raises(RecipeError, match="one channel and 2 s at least"):
        registry.build("compact", DataSpec("toy", ("a", "b"), "uV", RATE_HZ, 300), trees=2, beats=24)
