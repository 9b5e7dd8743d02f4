"""One suite for every attack: a new one is a line in the registry and is tested here without a new line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.attacks import bpda, registry
from trainer.attacks.base import Attack
from trainer.attacks.noise import Noise
from trainer.attacks.norms import ball, budget
from trainer.data.base import DataSpec
from trainer.errors import AttackError, ZeroGradientError
from trainer.models import encode_decode
from trainer.models.wrap import AttackModel

pytestmark = pytest.mark.attacks
SPEC = DataSpec("toy", ("a", "b", "c"), "uV", 100.0, 60)
NAMES = sorted(registry.ATTACKS)
# Less work where it decides nothing: what a budget holds, it holds after few steps, too.
FEW = {
    "apgd": {"steps": 6},
    "band": {"steps": 5},
    "boundary": {"queries": 60},
    "cw": {"steps": 4},
    "eot": {"steps": 2, "draws": 2},
    "hopskipjump": {"queries": 150},
    "joint": {"steps": 4, "residual": 1.0, "disagreement": 0.1, "score": 0.5},
    "nes": {"queries": 60},
    "sap": {"steps": 3, "smooth_steps": 3},
    "smooth": {"steps": 4},
    "square": {"queries": 60},
    "universal": {"steps": 5},
}


def few(name: str, **settings: object) -> Attack:
    return registry.make(name, **{**FEW.get(name, {}), **settings})


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
@pytest.mark.parametrize(("kind", "norm"), [("exact", "linf"), ("defended", "linf"), ("exact", "l2")])
@settings(max_examples=4, deadline=None)
@given(epsilon=st.floats(0, 200), seed=st.integers(0, 99), bound=st.floats(1, 400), quantum=st.sampled_from([0.0, 2.5]))
def test_stays_in_ball_mask_bounds_and_quantum(
    name: str, kind: str, norm: str, exact: AttackModel, defended: AttackModel, epsilon: float, seed: int,
    bound: float, quantum: float,
) -> None:  # fmt: skip
    model = {"exact": exact, "defended": defended}[kind]
    x, y, valid = windows(6, seed)
    attack = few(name, epsilon=epsilon, norm=norm, bounds=(-bound, 2 * bound), quantum=quantum)
    for _, adversarial in bpda.candidates(attack, model, x, y, valid):
        change = adversarial.astype(np.float64) - x
        size = np.abs(change).max() if norm == "linf" else np.sqrt(np.square(change).sum((1, 2))).max()
        assert adversarial.dtype == np.float32
        assert size <= epsilon * (1 + 1e-6) + 1e-4
        assert np.array_equal(adversarial[~valid], x[~valid])
        assert np.all(adversarial <= np.maximum(x, 2 * bound) + 1e-4)
        assert np.all(adversarial >= np.minimum(x, -bound) - 1e-4)
        if quantum:
            assert np.abs(change / quantum - np.rint(change / quantum)).max() < 1e-3


# A waveform of unknown phase cannot beat noise on a net that knows positions; see test_streaming for one that it can.
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("noise", "universal")])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 20.0), ("l2", 100.0)])
def test_beats_noise_of_the_same_budget(name: str, norm: str, epsilon: float, exact: AttackModel) -> None:
    x, _, valid = windows(80)
    y = exact.predict(x, valid).argmax(-1)
    quick = {"queries": 400} if name == "hopskipjump" else {}
    attacked = registry.make(name, epsilon=epsilon, norm=norm, **quick).run(exact, x, y, valid)
    noisy = Noise(epsilon=epsilon, norm=norm).run(exact, x, y, valid)
    kept = (exact.predict(attacked, valid).argmax(-1) == y).mean()
    kept_by_noise = (exact.predict(noisy, valid).argmax(-1) == y).mean()
    assert kept < kept_by_noise - 0.1


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_windows(name: str, exact: AttackModel) -> None:
    x, y, valid = windows(5)
    attack = few(name, epsilon=10.0)
    first, second = (attack.run(exact, x, y, valid, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_budget_per_record(name: str, exact: AttackModel) -> None:
    x, _, valid = windows(4)
    y = exact.predict(x, valid).argmax(-1)  # an attack that asks leaves alone what is wrong already
    epsilon = np.array([0.0, 1.0, 5.0, 50.0], np.float32)
    moved = np.abs(few(name, epsilon=epsilon).run(exact, x, y, valid) - x).max((1, 2))
    assert moved[0] == 0
    assert np.all(moved <= epsilon + 1e-4)
    assert np.all(moved[1:] > 0)


@pytest.mark.parametrize("name", NAMES)
def test_budget_by_sample_and_channel(name: str) -> None:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((SPEC.window_samples, 2))
    model = AttackModel(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs))), name="two")
    x = np.random.default_rng(1).normal(0, 60, (8, SPEC.window_samples, 2)).astype(np.float32)
    epsilon = np.full((SPEC.window_samples, 2), 30.0, np.float32)
    epsilon[:20] = 5.0
    epsilon[:, 1] = 0.0
    y = model.predict(x).argmax(-1)
    change = np.abs(few(name, epsilon=epsilon).run(model, x, y) - x)
    assert np.all(change <= epsilon + 1e-4)
    assert change[..., 0].max() > 5.0


@pytest.mark.parametrize("name", [n for n in NAMES if registry.ATTACKS[n].queries_model])
def test_no_more_is_asked_than_stated(name: str, exact: AttackModel, monkeypatch: pytest.MonkeyPatch) -> None:
    x, _, valid = windows(6)
    y = exact.predict(x, valid).argmax(-1)
    asked, answer = 0, exact.predict

    def counted(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += 1  # a call asks about each record once at most
        return answer(x, valid)

    monkeypatch.setattr(exact, "predict", counted)
    few(name, epsilon=0.01, queries=150).run(exact, x, y, valid)
    assert 120 < asked <= 150


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


def test_every_attack_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "attacks.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []


def test_a_window_without_a_sample_to_attack_stays(exact: AttackModel) -> None:
    x, y, valid = windows(4)
    valid[1] = False
    for name in ("pgd", "square", "universal", "hopskipjump"):
        attacked = few(name, epsilon=20.0).run(exact, x, y, valid)
        assert np.array_equal(attacked[1], x[1])


def test_l2_of_epsilon_by_channel_is_that_of_the_ratio() -> None:
    x = np.zeros((1, 10, 2), np.float32)
    around = ball(x, budget(np.array([3.0, 0.0], np.float32), x.shape), np.ones((1, 10, 1), np.float32), "l2")
    inside = around.project(np.full_like(x, 2.0))
    assert np.array_equal(inside[..., 1], x[..., 1])
    assert np.sqrt(np.square(inside[..., 0] / 3.0).sum()) == pytest.approx(1.0, abs=1e-5)


def test_eot_holds_where_the_network_draws() -> None:
    """A network that shifts its window at random: one draw's gradient is one draw's."""
    keras.utils.set_random_seed(5)
    seeds = keras.random.SeedGenerator(7)

    class Jitter(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            places = keras.random.randint((), -6, 7, seed=seeds)
            return keras.ops.roll(x, places, axis=1)

    inputs = keras.Input((SPEC.window_samples, 1))
    drawn = Jitter()(inputs)
    model = AttackModel(keras.Model(inputs, linear()(drawn)), name="jitter")
    x, _, valid = windows(64)
    y = np.array([model.predict(x, valid) for _ in range(20)]).mean(0).argmax(-1)
    kept = []
    for attack in (
        registry.make("eot", epsilon=15.0, steps=10, draws=8, shift=0, gain=0, noise=0),
        registry.make("pgd", epsilon=15.0, steps=10),
    ):
        attacked = attack.run(model, x, y, valid)
        kept.append(np.mean([(model.predict(attacked, valid).argmax(-1) == y).mean() for _ in range(10)]))
    assert kept[0] < kept[1]


def test_smooth_is_smoother_than_cw(exact: AttackModel) -> None:
    x, _, valid = windows(40)
    y = exact.predict(x, valid).argmax(-1)
    rough = {
        name: np.diff((registry.make(name, epsilon=20.0).run(exact, x, y, valid) - x)[:, 7:], axis=1).var()
        for name in ("cw", "smooth")
    }
    assert rough["smooth"] < 0.8 * rough["cw"]


def test_the_joint_attack_stays_below_the_detector(defended: AttackModel) -> None:
    x, _, valid = windows(40)
    y = defended.predict(x, valid).argmax(-1)

    def residual(windows: np.ndarray) -> np.ndarray:
        decoded = np.asarray(defended.model(keras.ops.convert_to_tensor(windows * valid[..., None]))[1])
        return np.sqrt((np.square(decoded - windows) * valid[..., None]).sum((1, 2)) / valid.sum(1))

    limit = float(np.quantile(residual(x), 0.9))
    plain = registry.make("cw", epsilon=40.0, confidence=1.0).run(defended, x, y, valid)
    quiet = registry.make("joint", epsilon=40.0, residual=limit, steps=50).run(defended, x, y, valid)
    turned = [defended.predict(a, valid).argmax(-1) != y for a in (plain, quiet)]
    unnoticed = [(t & (residual(a) <= limit)).sum() for t, a in zip(turned, (plain, quiet), strict=True)]
    assert unnoticed[1] > unnoticed[0]


def test_the_rounded_twin_answers_as_its_float_twin_does(defended: AttackModel) -> None:
    from trainer.models.fake_quant import quantized

    x, _, valid = windows(40)
    twin = quantized(defended, x, valid)
    plain, rounded = defended.predict(x, valid), twin.predict(x, valid)
    assert not np.array_equal(plain, rounded)
    assert np.abs(plain - rounded).mean() < 0.1 * plain.std()
    assert (plain.argmax(-1) == rounded.argmax(-1)).mean() > 0.85


def test_schedules_and_momentum_change_the_way_not_the_ball(exact: AttackModel) -> None:
    x, _, valid = windows(30)
    y = exact.predict(x, valid).argmax(-1)
    made = [
        registry.make("pgd", epsilon=5.0, steps=8, step_share=0.3, **more).run(exact, x, y, valid)
        for more in ({}, {"schedule": "cosine"}, {"schedule": "linear"}, {"momentum": 0.9})
    ]
    assert all(np.abs(a - x).max() <= 5.0 + 1e-4 for a in made)
    with pytest.raises(AttackError, match="schedule is one of"):
        registry.make("pgd", epsilon=1.0, schedule="sine")


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"norm": "l1"}, "norm is one of"), ({"bounds": (3, 1)}, "low below high"), ({"quantum": -1.0}, "quantum")],
)
def test_balls_that_are_none(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(AttackError, match=told):
        registry.make("pgd", epsilon=1.0, **settings)
