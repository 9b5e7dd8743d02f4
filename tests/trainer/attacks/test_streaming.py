"""Attacks on streams: budget, phase, blocks that are not the device's windows, and events scored."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edge.bundle import Decision
from edge.pipeline.decide import Rule
from edge.pipeline.golden import load_verified
from tests.edge.tiny import RATE_HZ, WINDOW, tiny_bundle
from trainer.attacks import registry
from trainer.attacks.pgd import wrong_margin
from trainer.attacks.streaming import blockwise, play
from trainer.attacks.universal import learn
from trainer.data.base import Dataset, DataSpec
from trainer.errors import AttackError, EvaluationError
from trainer.evaluate.streams import Rules, judge, make_streams, score
from trainer.models.wrap import AttackModel

LENGTH = 60


@pytest.fixture(scope="module")
def anywhere() -> AttackModel:
    """A net that answers the same wherever in the window a pattern lies."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((LENGTH, 1))
    x = keras.layers.Conv1D(8, 9, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return AttackModel(keras.Model(inputs, keras.layers.Dense(3, name="logits")(x)), name="anywhere")


def signals(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 10, (n, LENGTH, 1)).astype(np.float32)


def test_one_waveform_serves_every_window_at_any_phase(anywhere: AttackModel):
    x, fresh = signals(64), signals(64, seed=1)
    y = anywhere.predict(x).argmax(-1)
    mask, epsilon = np.ones((64, LENGTH, 1), np.float32), np.full((64, 1, 1), 10.0, np.float32)
    wave = learn(anywhere, x, y, mask, epsilon, np.random.default_rng(0), period=20, steps=25)
    assert wave.shape == (20, 1)
    assert np.abs(wave).max() <= 1.0
    truth = anywhere.predict(fresh).argmax(-1)
    turned = []
    for made in (
        registry.make("universal", epsilon=10.0, waveform=wave).run(anywhere, fresh, truth),
        registry.make("noise", epsilon=10.0).run(anywhere, fresh, truth),
    ):
        margin = wrong_margin(anywhere.predict(made), truth)
        turned.append(float(margin.mean()))
    assert turned[0] > turned[1], "a learned waveform pushes further than noise of the same budget"


def test_a_waveform_begins_anywhere_and_keeps_its_budget():
    wave = np.linspace(-1, 1, 30, dtype=np.float32)[:, None]
    signal = np.zeros((100, 1), np.float32)
    first, second = (play(wave, 7.0, signal, np.random.default_rng(seed)) for seed in (0, 5))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.unique(first), np.unique(second))
    assert np.abs(first).max() == 7.0
    assert np.array_equal(first[:70], first[30:])


@pytest.mark.parametrize("samples", [10, 61, 250])
def test_blocks_cover_the_stream_within_the_budget(anywhere: AttackModel, samples: int):
    signal = np.random.default_rng(2).normal(0, 10, (samples, 1)).astype(np.float32)
    attack = registry.make("pgd", epsilon=3.0, steps=4)
    made = blockwise(attack, anywhere, signal, LENGTH, np.random.default_rng(3))
    assert made.shape == signal.shape
    moved = np.abs(made - signal)
    assert moved.max() <= 3.0 + 1e-4
    assert (moved > 0).mean() > 0.5
    again = blockwise(attack, anywhere, signal, LENGTH, np.random.default_rng(3))
    assert np.array_equal(made, again)
    assert not np.array_equal(made, blockwise(attack, anywhere, signal, LENGTH, np.random.default_rng(9)))


def test_a_model_that_hides_its_gradient_is_no_robust_one():
    inputs = keras.Input((LENGTH, 1))
    x = keras.layers.Flatten()(keras.layers.Activation(keras.ops.round)(inputs))
    masked = AttackModel(keras.Model(inputs, keras.layers.Dense(3)(x)))
    x = signals(4)
    with pytest.raises(AttackError, match="zero"):
        learn(
            masked, x, np.zeros(4, np.int64), np.ones_like(x), np.ones((4, 1, 1), np.float32),
            np.random.default_rng(0), 20, 2,
        )  # fmt: skip


def records(n: int = 24, seconds: float = 3.0) -> Dataset:
    rng = np.random.default_rng(4)
    spec = DataSpec("toy", ("normal", "other", "noise"), "uV", RATE_HZ, WINDOW, ("ecg",))
    kinds = np.arange(n) % 3
    values = [
        rng.normal(50, 40 + 60 * kind, (int(seconds * RATE_HZ), 1)).astype(np.float32) for kind in kinds
    ]
    return Dataset(values, kinds, tuple(f"r{i}" for i in range(n)), spec)


def test_streams_are_runs_of_records_of_one_label():
    data = records()
    streams = make_streams(data, 30 / 3600, np.random.default_rng(0), stream_s=12.0)
    assert sum(map(len, streams)) == 30 * RATE_HZ
    assert max(map(len, streams)) == 12 * RATE_HZ
    assert all(abs(float(stream[:300].mean())) < 1e-2 for stream in streams), "each record without its mean"
    with pytest.raises(EvaluationError, match="no records"):
        make_streams(data.take(np.array([], np.int64)), 1.0, np.random.default_rng(0))


def test_events_are_scored_by_the_devices_own_code(tmp_path):
    bundle, classifier = load_verified(
        tiny_bundle(tmp_path / "tiny.bundle", decision=Decision(suspect_residual=1e9))
    )
    data = records()
    clean = make_streams(data, 60 / 3600, np.random.default_rng(0))
    rules = Rules(data.spec.labels, Rule(on=0.3, off=0.3))
    same = score(bundle, classifier, [(s, s) for s in clean], rules, RATE_HZ)
    assert (same.turned, same.events_turned) == (0, 0)
    assert same.windows > 300
    assert same.clean_events > 0
    assert same.hours == pytest.approx(60 / 3600)
    rng = np.random.default_rng(1)
    loud = [(s, s + rng.normal(0, 300, s.shape).astype(np.float32)) for s in clean]
    hit = score(bundle, classifier, loud, rules, RATE_HZ)
    assert hit.turned > 0
    assert hit.events_turned > 0
    assert hit.events_noticed == 0, "its thresholds notice nothing"
    results, events = judge(bundle, classifier, clean[0], rules, RATE_HZ)
    assert {e.stream for e in events} == {"stream"}
    assert [r.seq for r in results] == list(range(len(results)))
