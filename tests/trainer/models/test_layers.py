"""The thermometer layer: bit-identical to the device's, honest about its gradient, saved without Lambda."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edge.bundle import preprocess as device
from edge.bundle import thermometer as device_thermometer
from trainer import gradients
from trainer.data.base import DataSpec
from trainer.defenses.base import cross_entropy, logits_of
from trainer.models import compact, encode_decode
from trainer.models.layers import (
    SURROGATES,
    BatchNormalization,
    Thermometer,
    even_thresholds,
    sinh_thresholds,
)
from trainer.models.wrap import AttackModel, preprocess


def test_bit_identical_to_the_device() -> None:
    thresholds = sinh_thresholds(32, 150.0, 3.2)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 400, (2, 500, 1)).astype(np.float32)
    x[0, :32, 0] = thresholds  # on the threshold itself
    x[0, 32:64, 0] = np.nextafter(thresholds, np.float32(-np.inf))
    codes = np.asarray(Thermometer(thresholds)(x))
    assert np.array_equal(codes, device_thermometer.encode(x[..., 0], thresholds))
    assert np.array_equal(codes[0, :32].sum(-1), np.arange(1, 33))
    assert np.array_equal(codes[0, 32:64].sum(-1), np.arange(32))


def test_codes_rise_with_the_value_and_count_levels() -> None:
    """Paper 1, Table 2, the rows that can hold: ten even levels of [0, 1] put 0.13 below 0.54 below 0.96."""
    layer = Thermometer(even_thresholds(10, 0.0, 1.0))
    lit = np.asarray(layer(np.array([[[0.13], [0.54], [0.96]]], np.float32))).sum(-1)[0]
    assert list(lit) == [1, 5, 10]


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("asinh_scale", [None, 100.0])
def test_every_surrogate_gives_a_gradient_that_rises(surrogate: str, asinh_scale: float | None) -> None:
    thresholds = sinh_thresholds(16, 100.0, 2.0) if asinh_scale else even_thresholds(16, -2, 2)
    layer = Thermometer(thresholds, asinh_scale=asinh_scale, surrogate=surrogate)
    x = np.linspace(-1.5, 1.5, 40, dtype=np.float32).reshape(1, 40, 1) * (asinh_scale or 1.0)
    _, gradient = gradients.input_gradient(layer, gradients.tensor(x))
    assert np.all(np.asarray(gradient) > 0)


def test_the_tent_is_the_slope_of_interpolation() -> None:
    layer = Thermometer(even_thresholds(9, -1.0, 1.0))  # spacing 0.2
    _, gradient = gradients.input_gradient(layer, gradients.tensor(np.zeros((1, 5, 1), np.float32) + 0.03))
    assert np.allclose(np.asarray(gradient), 1 / 0.2, rtol=1e-5)  # one level every 0.2


@pytest.mark.parametrize("bad", [[1.0], [1.0, 1.0], [2.0, 1.0], [[1.0, 2.0]]])
def test_thresholds_that_are_none(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="increasing"):
        Thermometer(bad)


def test_a_defended_model_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    spec = DataSpec("toy", ("a", "b"), "uV", 100.0, 63)  # no multiple of the stride
    model = encode_decode.join(
        encode_decode.build(spec, levels=6, width=4, kernel=5), compact.build(spec, stem=4, widths=(4, 4))
    )
    x = np.random.default_rng(0).normal(0, 100, (2, 63, 1)).astype(np.float32)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", compile=False)
    for a, b in zip(model(x), again(x), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))
    assert model.output_shape == [(None, 2), (None, 63, 1)]


@pytest.mark.parametrize(
    "steps",
    [
        [{"op": "remove_dc"}],
        [{"op": "znorm"}],
        [{"op": "znorm"}, {"op": "asinh", "scale": 0.3}],
        [{"op": "remove_dc"}, {"op": "scale", "factor": 0.5}, {"op": "clip", "low": -20.0, "high": 30.0}],
    ],
)
def test_the_differentiable_twin_of_preprocessing(steps: list[dict[str, float | str]]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(40, 100, (5, 200, 2)).astype(np.float32)
    valid = rng.random((5, 200)) > 0.2
    x[1] = 7.0  # constant
    twin = np.asarray(preprocess(gradients.tensor(x), gradients.tensor(valid[..., None]), steps))
    parsed = device.parse_steps(steps)
    for i in range(5):
        assert np.allclose(twin[i], device.apply(parsed, x[i], valid[i]), atol=2e-4)


def test_surrogates_are_fixed_when_traced_and_restored_after() -> None:
    spec = DataSpec("toy", ("a", "b"), "uV", 100.0, 60)
    classifier = compact.build(spec, stem=4, widths=(4,))
    model = AttackModel(
        encode_decode.join(encode_decode.build(spec, levels=6, width=4, kernel=5), classifier)
    )
    assert len(model.surrogates) >= 2
    assert AttackModel(classifier).surrogates == (None,)
    x = gradients.tensor(np.random.default_rng(0).normal(0, 100, (1, 60, 1)).astype(np.float32))
    valid = gradients.tensor(np.ones((1, 60, 1), np.float32))

    def slope() -> np.ndarray:
        step = model.compiled(
            "test", lambda x: gradients.input_gradient(lambda w: model.logits(w, valid)[:, 0], x)[1]
        )
        return np.asarray(step(x))

    seen = {}
    for name in model.surrogates:
        with model.surrogate(name):
            seen[name] = slope()
    first, second, *_ = seen.values()
    assert not np.allclose(first, second)
    assert np.array_equal(slope(), seen["tent"])


def test_fused_normalisation_is_keras_s_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (8, 50, 6)).astype(np.float32)
    seen = []
    for kind in (keras.layers.BatchNormalization, BatchNormalization):
        layer = kind(momentum=0.9)
        layer.build(x.shape)
        layer.gamma.assign(rng.uniform(0.5, 2.0, 6) if not seen else seen[0][0])

        def out(a: Any, layer: Any = layer) -> Any:
            return keras.ops.sum(keras.ops.sin(layer(a, training=True)), axis=(1, 2))

        with gradients.bfloat16():
            value, slope = gradients.input_gradient(out, gradients.tensor(x))
        calm = layer(x[:2], training=False)
        arrays = (layer.gamma, value, slope, layer.moving_mean, layer.moving_variance, calm)
        seen.append([np.asarray(a) for a in arrays])
    for theirs, ours in zip(*seen, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_products_in_bfloat16_are_near_and_end_with_the_block() -> None:
    rng = np.random.default_rng(0)
    layer = keras.layers.Conv1D(16, 5, padding="same")
    x = gradients.tensor(rng.normal(size=(4, 64, 8)))
    step = gradients.compiled(layer)
    exact = np.asarray(step(x))
    half = np.asarray(gradients.in_bfloat16(step)(x))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - exact).max() < 0.05 * np.abs(exact).max() or not gradients.has_bfloat16()
    assert np.array_equal(np.asarray(step(x)), exact)


def test_a_loss_behind_products_in_bfloat16_is_not_rounded_to_zero() -> None:
    layer = keras.layers.Dense(2, kernel_initializer="ones")
    target = gradients.tensor(np.array([[1.0, 0.0]]))
    layer.build((1, 2))
    layer.kernel.assign([[8.0, 0.0], [0.0, 0.0]])  # a probability of .9997

    def loss(x: Any) -> Any:
        return cross_entropy(target, logits_of(layer(x)))

    step = gradients.compiled(lambda x: gradients.input_gradient(loss, x))
    value, slope = gradients.in_bfloat16(step)(gradients.tensor(np.array([[1.0, 0.0]])))
    assert float(value[0]) == pytest.approx(np.log1p(np.exp(-8.0)), rel=1e-2)
    assert float(slope[0, 0]) == pytest.approx(-8 / (1 + np.exp(8.0)), rel=2e-2)
