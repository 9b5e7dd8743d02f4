"""The demo's recording and the waveform that is stored beside it."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import AttackError, DataError
from trainer.zoo import demo_attack, demo_recording

LENGTH = 200


def model(weight: float):
    """Two classes; logit 1 grows with the mean of the last quarter of the window times ``weight``."""
    import keras
    from keras import layers

    from trainer.models.wrap import AttackModel

    window = keras.Input((LENGTH, 1))
    pooled = layers.AveragePooling1D(50)(window)
    logits = layers.Dense(2)(layers.Flatten()(pooled))
    net = keras.Model(window, logits)
    kernel = np.zeros((4, 2), np.float32)
    kernel[3, 1] = weight
    net.layers[-1].set_weights([kernel, np.zeros(2, np.float32)])
    return AttackModel(net, name="toy")


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(0, 5, (1000, 1)) - 3.0).astype(np.float32)


def flipped(net, signal: np.ndarray, delta: np.ndarray) -> float:
    """Share of windows, at every hop with wrap-around, whose answer changes."""
    starts = np.arange(0, len(signal), 50)
    before = net.predict(demo_attack.windows_at(signal, starts, LENGTH)).argmax(1)
    after = net.predict(demo_attack.windows_at(signal + delta, starts, LENGTH)).argmax(1)
    return float((before != after).mean())


def test_one_waveform_moves_all_the_windows_that_share_it(signal: np.ndarray):
    net = model(1.0)
    delta = demo_attack.streaming_attack(net, signal, epsilon_uv=6, length=LENGTH, hop=50, steps=40)
    assert delta.dtype == np.int16
    assert delta.shape == signal.shape
    assert 1 <= np.abs(delta).max() <= 6
    assert flipped(net, signal, delta) > 0.9
    noise = np.random.default_rng(1).choice(np.array([-6, 6], np.int16), signal.shape)
    assert flipped(net, signal, noise) < 0.2
    again = demo_attack.streaming_attack(net, signal, epsilon_uv=6, length=LENGTH, hop=50, steps=40)
    assert np.array_equal(delta, again)


def test_a_hidden_gradient_and_a_budget_of_nothing_are_errors(signal: np.ndarray):
    with pytest.raises(AttackError, match="gradient is zero"):
        demo_attack.streaming_attack(model(0.0), signal, epsilon_uv=6, length=LENGTH, hop=50, steps=2)
    with pytest.raises(AttackError, match="at least 1"):
        demo_attack.streaming_attack(model(1.0), signal, epsilon_uv=0, length=LENGTH, hop=50)


def test_windows_wrap_around_the_end():
    signal = np.arange(10, dtype=np.float32)[:, None]
    windows = demo_attack.windows_at(signal, np.array([0, 8]), 4)
    assert windows[..., 0].tolist() == [[0, 1, 2, 3], [8, 9, 0, 1]]


def test_stored_recording_is_the_one_that_the_command_makes():
    stored, rate_hz = demo_recording.read_recording()
    assert rate_hz == 300.0
    assert np.array_equal(stored, demo_recording.make())
    assert not np.array_equal(stored, demo_recording.make(seed=1))


def test_stored_perturbation_is_for_this_recording_and_a_few_microvolts():
    stored, _ = demo_recording.read_recording()
    with np.load(demo_attack.PERTURBATION) as arrays:
        assert str(arrays["recording"]) == demo_recording.digest(stored)
        assert arrays["delta_uv"].shape == stored.shape
        assert 1 <= np.abs(arrays["delta_uv"]).max() <= 20


def test_no_recording_is_said_with_its_remedy(tmp_path):
    with pytest.raises(DataError, match=r"python -m trainer\.zoo\.demo_recording"):
        demo_recording.read_recording(tmp_path / "none.npz")
