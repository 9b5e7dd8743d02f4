"""One suite for every attack: a new one is a line in the registry and is tested here without a new line."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.attacks import bpda, registry
from trainer.attacks.noise import Noise
from trainer.data.base import DataSpec
from trainer.errors import AttackError, ZeroGradientError
from trainer.models import encode_decode
from trainer.models.wrap import AttackModel

SPEC = DataSpec("toy", ("a", "b", "c"), "uV", 100.0, 60)
NAMES = sorted(registry.ATTACKS)


def linear() -> keras.Model:
    """A classifier whose worst direction is known: logits are fixed projections."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((SPEC.window_samples, 1))
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.fixture(scope="module")
def exact() -> AttackModel:
    return AttackModel(linear(), [{"op": "remove_dc"}], name="linear")


@pytest.fixture(scope="module")
def defended() -> AttackModel:
    front = encode_decode.build(SPEC, levels=8, scale=50.0, reach=2.0, width=4, stride=2, kernel=5)
    return AttackModel(encode_decode.join(front, linear()), name="defended")


def windows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 60, (n, SPEC.window_samples, 1)).astype(np.float32)
    valid = np.ones((n, SPEC.window_samples), bool)
    valid[:, :7] = False
    x[~valid] = 0
    return x, rng.integers(0, 3, n), valid


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["exact", "defended"])
@settings(max_examples=5, deadline=None)
@given(epsilon=st.floats(0, 200), seed=st.integers(0, 99))
def test_stays_in_ball_and_mask(
    name: str, kind: str, exact: AttackModel, defended: AttackModel, epsilon: float, seed: int
) -> None:
    model = {"exact": exact, "defended": defended}[kind]
    x, y, valid = windows(6, seed)
    for _, adversarial in bpda.candidates(registry.make(name, epsilon=epsilon), model, x, y, valid):
        assert adversarial.dtype == np.float32
        assert np.abs(adversarial - x).max() <= epsilon * (1 + 1e-6) + 1e-4
        assert np.array_equal(adversarial[~valid], x[~valid])


# A waveform of unknown phase cannot beat noise on a net that knows positions; see test_streaming for one that it can.
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("noise", "universal")])
def test_beats_noise_of_the_same_budget(name: str, exact: AttackModel) -> None:
    x, _, valid = windows(80)
    y = exact.predict(x, valid).argmax(-1)
    attacked = registry.make(name, epsilon=20.0).run(exact, x, y, valid)
    noisy = Noise(epsilon=20.0).run(exact, x, y, valid)
    kept = (exact.predict(attacked, valid).argmax(-1) == y).mean()
    kept_by_noise = (exact.predict(noisy, valid).argmax(-1) == y).mean()
    assert kept < kept_by_noise - 0.1


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_windows(name: str, exact: AttackModel) -> None:
    x, y, valid = windows(5)
    attack = registry.make(name, epsilon=10.0)
    first, second = (attack.run(exact, x, y, valid, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_budget_per_record(name: str, exact: AttackModel) -> None:
    x, y, valid = windows(4)
    epsilon = np.array([0.0, 1.0, 5.0, 50.0], np.float32)
    moved = np.abs(registry.make(name, epsilon=epsilon).run(exact, x, y, valid) - x).max((1, 2))
    assert moved[0] == 0
    assert np.all(moved <= epsilon + 1e-4)
    assert np.all(moved[1:] > 0)


def test_batches_do_not_change_the_result(exact: AttackModel) -> None:
    x, y, valid = windows(70)  # one whole batch and a rest
    attack = registry.make("pgd", epsilon=10.0, steps=3)
    whole = attack.run(exact, x, y, valid)
    assert np.allclose(whole[66:68], attack.run(exact, x[66:68], y[66:68], valid[66:68]), atol=1e-4)


def test_fgsm_is_the_sign_of_the_gradient_on_a_linear_model() -> None:
    model = AttackModel(linear())
    x, _, _ = windows(3)
    x /= 100  # far from a saturated softmax
    logits = model.predict(x)
    y = logits.argmax(-1)
    weights = model.model.get_layer("logits").get_weights()[0]
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    gradient = (p - np.eye(3)[y]) @ weights.T  # d cross-entropy / dx by hand
    adversarial = registry.make("fgsm", epsilon=0.02).run(model, x, y)
    assert np.array_equal(np.sign(np.round(adversarial - x, 5))[..., 0], np.sign(gradient))


def test_fgsm_with_the_predicted_label_differs_where_the_model_is_wrong(exact: AttackModel) -> None:
    x, _, valid = windows(40)
    predicted = exact.predict(x, valid).argmax(-1)
    y = (predicted + 1) % 3
    true = registry.make("fgsm", epsilon=3.0).run(exact, x, y, valid)
    by_prediction = registry.make("fgsm", epsilon=3.0, label="predicted").run(exact, x, y, valid)
    assert not np.array_equal(true, by_prediction)
    assert np.array_equal(by_prediction, registry.make("fgsm", epsilon=3.0).run(exact, x, predicted, valid))


def test_restarts_and_worst_iterate_only_make_it_stronger(defended: AttackModel) -> None:
    x, _, valid = windows(60)
    y = defended.predict(x, valid).argmax(-1)
    last = registry.make("pgd", epsilon=30.0, steps=6).run(defended, x, y, valid)
    worst = registry.make("pgd", epsilon=30.0, steps=6, restarts=3, keep="worst").run(defended, x, y, valid)
    kept = [(defended.predict(a, valid).argmax(-1) == y).mean() for a in (last, worst)]
    assert kept[1] <= kept[0]
    assert kept[1] < 1.0


def test_a_hidden_gradient_is_an_error_not_an_accuracy() -> None:
    inputs = keras.Input((SPEC.window_samples, 1))
    rounded = keras.layers.Activation(keras.ops.round)(inputs)  # a planted defence: gradient zero everywhere
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(rounded))
    model = AttackModel(keras.Model(inputs, logits), name="masked")
    x, _, valid = windows(5)
    y = model.predict(x).argmax(-1)
    with pytest.raises(ZeroGradientError, match="masked: the gradient of 5 of 5"):
        registry.make("pgd", epsilon=5.0).run(model, x, y, valid)


def test_a_saturated_softmax_is_attacked_by_its_margin() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SPEC.window_samples, 1))
    logits = keras.layers.Dense(
        3, name="logits", kernel_initializer=keras.initializers.RandomNormal(stddev=20.0)
    )(keras.layers.Flatten()(inputs))
    model = AttackModel(keras.Model(inputs, logits), name="saturated")
    x, _, _ = windows(20)
    y = model.predict(x).argmax(-1)
    attacked = registry.make("pgd", epsilon=80.0).run(model, x, y)
    assert (model.predict(attacked).argmax(-1) == y).mean() < 0.2


@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), float("inf"), np.ones(3)])
def test_a_budget_that_is_none(exact: AttackModel, epsilon: float) -> None:
    x, y, valid = windows(4)
    with pytest.raises(AttackError, match="epsilon"):
        registry.make("pgd", epsilon=epsilon).run(exact, x, y, valid)


def test_a_mask_of_wrong_shape(exact: AttackModel) -> None:
    x, y, valid = windows(4)
    with pytest.raises(AttackError, match="mask of shape"):
        registry.make("pgd", epsilon=1.0).run(exact, x, y, valid[:, :5])


def test_unknown_names_and_settings() -> None:
    with pytest.raises(AttackError, match="unknown attack 'pdg'"):
        registry.make("pdg", epsilon=1.0)
    with pytest.raises(AttackError, match="pgd: "):
        registry.make("pgd", epsilon=1.0, stride=3)
    with pytest.raises(AttackError, match="pgd: steps"):
        registry.make("pgd", epsilon=1.0, steps=0)
