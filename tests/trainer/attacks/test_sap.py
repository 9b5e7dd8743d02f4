"""SAP's kernel against the 25 of the paper, and the attack against a slow reference from the equations."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.attacks.sap import SAP, SIGMAS, SIZES, average_kernel, gaussian
from trainer.models.wrap import AttackModel

pytestmark = pytest.mark.paper2


def test_the_25_kernels_average_to_one() -> None:
    signal = np.random.default_rng(0).normal(size=200)
    by_25 = np.mean(
        [np.convolve(signal, gaussian(size, sigma), mode="same") for size in SIZES for sigma in SIGMAS],
        axis=0,
    )
    assert np.allclose(np.convolve(signal, average_kernel(), mode="same"), by_25, atol=1e-12)
    assert average_kernel().shape == (19,)
    assert np.isclose(average_kernel().sum(), 1.0)


def reference(weights: np.ndarray, bias: np.ndarray, x: np.ndarray, y: int, mask: np.ndarray) -> np.ndarray:
    """Eq. 7 to 11 written out for a linear model: 25 convolutions, gradient by hand, cut around the original."""
    epsilon, alpha = 0.1, 0.01
    one_hot = np.eye(weights.shape[1])[y]

    def smooth(delta: np.ndarray) -> np.ndarray:
        kernels = [gaussian(size, sigma) for size in SIZES for sigma in SIGMAS]
        return np.mean([np.convolve(delta, kernel, mode="same") for kernel in kernels], axis=0)

    def gradient_at(window: np.ndarray) -> np.ndarray:
        logits = window @ weights + bias
        p = np.exp(logits - logits.max())
        return weights @ (p / p.sum() - one_hot)

    delta = np.zeros_like(x)
    for _ in range(3):
        delta = np.clip(delta + alpha * np.sign(gradient_at(x + delta)), -epsilon, epsilon) * mask
    for _ in range(4):
        # d loss / d delta through the masked convolution; its kernels are symmetric, so it is its own adjoint
        gradient = smooth(gradient_at(x + smooth(delta) * mask) * mask)
        delta = np.clip(delta + alpha * np.sign(gradient), -epsilon, epsilon) * mask
    return x + smooth(delta) * mask


def test_against_the_reference() -> None:
    rng = np.random.default_rng(1)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((80, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    model = AttackModel(keras.Model(inputs, logits))
    weights, bias = model.model.get_weights()
    x = rng.normal(0, 1, (4, 80, 1)).astype(np.float32)
    y = rng.integers(0, 3, 4)
    valid = np.ones((4, 80), bool)
    valid[:, :9] = False
    x[~valid] = 0  # padding is zero, as the agent makes it
    got = SAP(epsilon=0.1, steps=3, smooth_steps=4, step_share=0.1).run(model, x, y, valid)
    for i in range(4):
        want = reference(weights.astype(float), bias, x[i, :, 0].astype(float), y[i], valid[i].astype(float))
        assert np.allclose(got[i, :, 0], want, atol=1e-5)


def test_no_smooth_steps_is_pgd() -> None:
    from trainer.attacks.pgd import PGD

    keras.utils.set_random_seed(2)
    inputs = keras.Input((40, 1))
    model = AttackModel(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs))))
    x = np.random.default_rng(2).normal(size=(3, 40, 1)).astype(np.float32)
    y = np.array([0, 1, 0])
    sap = SAP(epsilon=0.5, steps=7, smooth_steps=0).run(model, x, y)
    assert np.array_equal(sap, PGD(epsilon=0.5, steps=7).run(model, x, y))
