"""JR and NSR on a net of two neurons, every number worked out by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tests.trainer.paper2.conftest import BIAS, WEIGHTS
from trainer import gradients
from trainer.data.base import DataSpec
from trainer.defenses import registry
from trainer.defenses.base import Batch, Defense
from trainer.defenses.jacobian import jacobian_penalty
from trainer.defenses.nsr import margin_loss, noise_to_signal, squared_error
from trainer.errors import RecipeError
from trainer.models import registry as models

pytestmark = pytest.mark.paper2

# z = x W + b: (.6, -1.2), (0, .85) and, wrongly classified, (-1.2, .7) for class 0
X = np.array([[[1.0], [0.0]], [[-1.0], [0.2]], [[-1.0], [-0.4]]], np.float32)
Y = np.array([0, 1, 0])


def logits() -> np.ndarray:
    return X[..., 0] @ WEIGHTS + BIAS


def batch(epoch: int, x: np.ndarray = X, valid: np.ndarray | None = None) -> Batch:
    valid = np.ones_like(x) if valid is None else valid
    return Batch(
        gradients.tensor(x),
        gradients.tensor(valid),
        gradients.tensor(np.eye(2)[Y[: len(x)]]),
        gradients.tensor(np.zeros_like(x)),
        gradients.tensor(np.zeros((len(x), 1, 1))),
        gradients.tensor(np.zeros_like(x)),
        gradients.tensor(float(epoch)),
    )


def value(defense: Defense, model: keras.Model, batch: Batch) -> float:
    return float(gradients.compiled(lambda: defense.loss(model, batch)[0])())


def test_jacobian_penalty_is_the_sum_of_squared_weights(two_neurons: keras.Model) -> None:
    # dz_k/dx_t is W itself: .25 + 1 + 4 + .0625
    got = jacobian_penalty(two_neurons, *(gradients.tensor(a) for a in (X, np.ones_like(X))), 2, 1.0)
    assert float(got) == pytest.approx(5.3125)
    valid = np.ones_like(X)
    valid[:, 1] = 0  # padding: only the first row of W counts
    got = jacobian_penalty(two_neurons, *(gradients.tensor(a) for a in (X, valid)), 2, 1.0)
    assert float(got) == pytest.approx(1.25)


def test_jr_before_and_from_the_11th_epoch(two_neurons: keras.Model) -> None:
    z = logits()
    entropy = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(3), Y])
    defense = registry.make("jacobian")
    assert value(defense, two_neurons, batch(10)) == pytest.approx(entropy, rel=1e-5)
    assert value(defense, two_neurons, batch(11)) == pytest.approx(entropy + 44 * 5.3125, rel=1e-5)


@pytest.mark.parametrize("name", ["jacobian", "nsr"])
def test_the_reading_in_units_is_the_unscaled_one_on_scaled_windows(name: str) -> None:
    """A net on x = 1000 u with unit 1000 has the loss of the net on u with unit 1."""
    spec = DataSpec("toy", ("a", "b"), "uV", 300.0, 40)
    rng = np.random.default_rng(0)
    u = rng.normal(size=(3, 40, 1)).astype(np.float32)
    by_unit = models.build("compact", spec, stem=3, widths=[4], input_scale=1.0, dropout=0.0, seed=5)
    by_uv = models.build("compact", spec, stem=3, widths=[4], input_scale=1000.0, dropout=0.0, seed=5)
    first = value(registry.make(name), by_unit, batch(11, u))
    second = value(registry.make(name, unit=1000.0), by_uv, batch(11, 1000 * u))
    raw = value(registry.make(name), by_uv, batch(11, 1000 * u))
    assert second == pytest.approx(first, rel=1e-3)
    assert raw < first


def sgd_step(model: keras.Model, defense: Defense, batch: Batch, rate: float) -> float:
    """One compiled training step; gives the loss."""
    optimizer = keras.optimizers.SGD(rate)
    optimizer.build(model.trainable_variables)

    def step() -> Any:
        def loss() -> tuple[Any, Any]:
            total, _ = defense.loss(model, batch)
            return total, total

        return gradients.train_step(model, optimizer, loss)

    return float(gradients.compiled(step)())


def test_jr_moves_weights_by_its_own_gradient(two_neurons: keras.Model) -> None:
    """d/dW lambda sum W^2 = 2 lambda W: the difference of an SGD step at epoch 11 and one at epoch 10."""
    moved = []
    for epoch in (10, 11):
        two_neurons.set_weights([WEIGHTS, BIAS])
        sgd_step(two_neurons, registry.make("jacobian", weight=0.5), batch(epoch), 1.0)
        moved.append(two_neurons.get_weights()[0])
    np.testing.assert_allclose(moved[1] - moved[0], -2 * 0.5 * WEIGHTS, atol=1e-5)


def test_noise_to_signal_by_hand(two_neurons: keras.Model) -> None:
    one_hot = gradients.tensor(np.eye(2)[Y])
    x, valid = gradients.tensor(X), gradients.tensor(np.ones_like(X))
    ratio = np.asarray(noise_to_signal(two_neurons, x, valid, one_hot, 1.0, 1.0))
    # ||w_0||_1 = 2.5, ||w_1||_1 = 1.25; the third record's true logit is negative
    np.testing.assert_allclose(ratio, [2.5 / 0.61, 1.25 / 0.86, 0.0], rtol=1e-5)
    tenfold = np.asarray(noise_to_signal(two_neurons, x, valid, one_hot, 2.0, 5.0))
    np.testing.assert_allclose(tenfold, 10 * ratio, rtol=1e-5)


def test_squared_error_and_margin_by_hand() -> None:
    one_hot, z = gradients.tensor(np.eye(2)[Y]), gradients.tensor(logits())
    np.testing.assert_allclose(logits(), [[0.6, -1.2], [0.0, 0.85], [-1.2, 0.7]], atol=1e-6)
    expected = [0.4**2 + 1.2**2, 0.15**2, 2.2**2 + 0.7**2]
    np.testing.assert_allclose(np.asarray(squared_error(one_hot, z)), expected, rtol=1e-5)
    # 1 - .6 - 1.2 is below 0; 1 - .85 + 0; 1 + 1.2 + .7
    np.testing.assert_allclose(np.asarray(margin_loss(one_hot, z)), [0.0, 0.15, 2.9], atol=1e-6)


def test_nsr_before_and_from_the_11th_epoch(two_neurons: keras.Model) -> None:
    defense = registry.make("nsr")
    squares = (1.60 + 0.0225 + 5.33) / 3
    assert value(defense, two_neurons, batch(10)) == pytest.approx(squares, rel=1e-5)
    # two of three are right: margins 0 and .15, ratios 2.5 / .61 and 1.25 / .86
    added = (0.0 + np.log1p(2.5 / 0.61) + 0.15 + np.log1p(1.25 / 0.86)) / 2
    assert value(defense, two_neurons, batch(11)) == pytest.approx(squares + added, rel=1e-5)


def test_nsr_with_every_record_wrong_is_the_squared_error(two_neurons: keras.Model) -> None:
    data = batch(11, X[2:])
    wrong = Batch(data.x, data.valid, gradients.tensor([[1.0, 0.0]]), *[data.noise] * 3, data.epoch)
    assert value(registry.make("nsr"), two_neurons, wrong) == pytest.approx(5.33, rel=1e-5)


@pytest.mark.parametrize("name", ["jacobian", "nsr"])
def test_second_gradients_pass_the_13_layer_network(name: str) -> None:
    spec = DataSpec("toy", ("a", "b"), "uV", 300.0, 64)
    model = models.build("ecg13", spec, width=0.02)
    x = np.random.default_rng(1).normal(size=(2, 64, 1)).astype(np.float32)
    assert np.isfinite(sgd_step(model, registry.make(name), batch(11, x), 0.0))


@pytest.mark.parametrize(("name", "arguments"), [("jacobian", {"unit": 0.0}), ("nsr", {"beta": -1.0})])
def test_values_that_cannot_be(name: str, arguments: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=r"defense\.arguments"):
        registry.make(name, **arguments)
