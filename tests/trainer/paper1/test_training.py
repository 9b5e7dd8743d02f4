"""What paper 1 adds to training: the plateau, the lowest loss, a fixed front, TRADES."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.trainer.training.test_run import parts
from trainer import gradients
from trainer.defenses.adversarial_training import AdversarialTraining
from trainer.defenses.base import Batch
from trainer.defenses.trades import Trades
from trainer.errors import RecipeError
from trainer.models import resnet
from trainer.models.layers import BatchNormalization
from trainer.recipe import read_recipe
from trainer.run import train
from trainer.training import Trainer

RECIPE = """
[data]
kind = "own"
[model]
name = "compact"
arguments = {{ stem = 4, widths = [4], input_scale = 1.0 }}
{front}
[defense]
name = "none"
arguments = {{ noise = 0.1, reconstruction_unit = 1.0, reconstruction_power = 2 }}
[training]
epochs = {epochs}
batch = 8
learning_rate = 0.01
schedule = "plateau"
patience = 2
rate_floor = 0.002
keep = "lowest_loss"
stop_after = {stop}
{more}
checkpoint_every_s = 0
validate_every = 100000
[export]
name = "toy"
"""
FRONT = "encode_decode = { levels = 8, low = -2.0, high = 2.0, width = 4, kernel = 5, stride = 2 }"


def write(folder: Path, *, epochs: int = 4, stop: int = 0, front: str = "", more: str = "") -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(epochs=epochs, stop=stop, front=front, more=more))
    return path


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    recipe = read_recipe(write(tmp_path, stop=5))
    inputs = keras.Input((100, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    return Trainer(recipe, model, None, parts()[0], tmp_path, "classifier")


def test_the_rate_halves_on_a_plateau_down_to_its_floor(trainer: Trainer) -> None:
    rates = []
    for loss in (1.0, 0.9, 0.9, 0.89995, 0.9, 0.9, 0.9, 0.9, 0.5):
        trainer._follow(loss)
        rates.append(trainer._rate(100, 1))
    assert rates == [0.01, 0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025, 0.002, 0.002]


def test_the_weights_of_the_lowest_loss_are_kept_and_a_plateau_ends_it(trainer: Trainer) -> None:
    for k, loss in enumerate((1.0, 0.3, 0.4, 0.5, 0.29999, 0.6)):
        trainer.model.set_weights([np.full(w.shape, float(k), np.float32) for w in trainer.model.get_weights()])
        trainer._follow(loss)
    assert not trainer._stopped()
    with trainer.averaged_weights():
        assert float(trainer.model.get_weights()[0][0, 0]) == 4.0  # epoch 4 had the lowest loss
    assert float(trainer.model.get_weights()[0][0, 0]) == 5.0
    trainer._follow(0.29998)  # creeping is no progress
    assert trainer._stopped()


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    recipe = write(tmp_path, epochs=4)
    whole = train(recipe, "", tmp_path / "whole", parts=parts())

    class StopError(Exception):
        pass

    def report(event: dict[str, Any]) -> None:
        if event["epoch"] == 3:
            raise StopError

    with pytest.raises(StopError):
        train(recipe, "", tmp_path / "halves", parts=parts(), report=report)
    halves = train(recipe, "", tmp_path / "halves", parts=parts(), resume=True)
    assert history(whole) == history(halves)
    first, second = (keras.models.load_model(run / "twin.keras") for run in (whole, halves))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.slow
def test_two_stages_leave_the_front_as_it_had_learnt(tmp_path: Path) -> None:
    more = "pretrain_epochs = 2\nfreeze_encode_decode = true"
    learnt: list[np.ndarray] = []

    def report(event: dict[str, Any]) -> None:
        if event["phase"] == "joint" and not learnt:
            front = keras.models.load_model(tmp_path / "run" / "encode_decode.keras", compile=False)
            learnt.extend(front.get_weights())

    run = train(write(tmp_path, epochs=2, front=FRONT, more=more), "", tmp_path / "run", parts=parts(), report=report)
    after = keras.models.load_model(run / "encode_decode.keras", compile=False).get_weights()
    assert learnt
    for a, b in zip(learnt, after, strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(RecipeError, match="pretrain_epochs: a front"):
        read_recipe(write(tmp_path, front=FRONT, more="freeze_encode_decode = true"))


def test_trades_is_cross_entropy_plus_beta_times_the_divergence() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 1))
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(inputs)))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 6, 1)).astype(np.float32)
    target = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 5)]
    start = rng.uniform(-1, 1, x.shape).astype(np.float32)
    batch = Batch(*(gradients.tensor(a) for a in (x, np.ones((5, 6, 1)), target, start, np.full((5, 1, 1), 0.2), x)))
    trades = Trades(beta=3.0, steps=3)
    attacked = np.asarray(trades.attack(model, batch, batch.x))
    assert np.abs(attacked - x).max() <= 0.2 + 1e-6
    w, b = model.get_weights()

    def log_p(a: np.ndarray) -> np.ndarray:
        z = a.reshape(5, -1) @ w + b
        return z - np.log(np.exp(z).sum(1, keepdims=True))

    clean, moved = log_p(x), log_p(attacked)
    divergence = (np.exp(clean) * (clean - moved)).sum(1)
    assert divergence.min() > 0
    by_hand = -(target * clean).sum(1).mean() + 3.0 * divergence.mean()
    assert math.isclose(float(trades.loss(model, batch)[0]), by_hand, rel_tol=1e-4)
    noise = (np.exp(clean) * (clean - log_p(x + 0.2 * np.sign(start)))).sum(1).mean()
    assert divergence.mean() > noise


def test_a_strided_resnet_is_the_paper_s_but_shorter() -> None:
    from trainer.data.base import DataSpec

    spec = DataSpec("toy", ("a", "b"), "1", 1.0, 50)
    plain, strided = resnet.build(spec, width=4), resnet.build(spec, width=4, stride=2, dropout=0.1)
    assert plain.get_layer("features").output.shape[1:] == (50, 8)
    assert strided.get_layer("features").output.shape[1:] == (25, 8)
    assert plain.count_params() == strided.count_params()


def test_statistics_settle_on_the_weights_that_are_kept(tmp_path: Path) -> None:
    """Weights stay as they are; the running mean ends at that of what the layer sees."""
    recipe = read_recipe(write(tmp_path, epochs=1, more="settle_steps = 2"))
    model = keras.Sequential([keras.Input((100, 1)), BatchNormalization(name="norm"), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    data = parts()[0]
    trainer = Trainer(recipe, model, AdversarialTraining(steps=0), data, tmp_path, "classifier")
    trainer.run(None, lambda event: None, resume=False)
    kept = [w + 9.0 if "moving" in v.path else w for v, w in zip(model.weights, trainer.state.kept or [], strict=True)]
    trainer.state.kept = kept
    trainer._settle(700)
    for before, after, weight in zip(kept, trainer.state.kept or [], model.weights, strict=True):
        if "moving" not in weight.path:
            assert np.array_equal(before, after)
    with trainer.averaged_weights():
        mean = np.asarray(model.get_layer("norm").moving_mean)
    assert mean == pytest.approx(np.mean([s.mean() for s in data.signals]), abs=0.05)
