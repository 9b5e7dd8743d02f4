"""The prior that drawing gave a classifier, taken back."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.trainer.training.test_run import RECIPE, parts
from trainer import prior
from trainer.run import train


def test_answers_are_those_of_classes_drawn_as_they_occur() -> None:
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="logits")])
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)

    def answers() -> np.ndarray:
        e = np.exp(np.asarray(net(x)))
        return np.asarray(e / e.sum(-1, keepdims=True))

    drawn = answers()
    prior.correct(net, {1: 4.0, 2: 0.5}, 1.0)
    occur = drawn / np.array([1.0, 4.0, 0.5])
    np.testing.assert_allclose(answers(), occur / occur.sum(-1, keepdims=True), rtol=1e-5)
    prior.correct(net, {1: 4.0, 2: 0.5}, 0.0)
    np.testing.assert_allclose(answers(), occur / occur.sum(-1, keepdims=True), rtol=1e-5)


@pytest.mark.slow
def test_a_recipe_takes_it_back_at_the_end(tmp_path: Path) -> None:
    windows = parts()[1].windows()
    logits = []
    for share in (0.0, 0.5):
        path = tmp_path / f"{share}.toml"
        text = RECIPE.replace("gain = 0.1", "gain = 0.1\nclass_weights = { fast = 3.0 }")
        text = text.replace("pretrain_epochs = 2", f"prior_correction = {share}").replace("epochs = 4", "epochs = 1")
        path.write_text(text.replace("encode_decode = {", "# {"))
        run = train(path, "", tmp_path / f"run{share}", parts=parts())
        logits.append(np.asarray(keras.models.load_model(run / "twin.keras", compile=False)(windows.x)))
    np.testing.assert_allclose(logits[0] - logits[1], [[0.0, 0.5 * np.log(3.0)]] * len(windows), atol=1e-4)
