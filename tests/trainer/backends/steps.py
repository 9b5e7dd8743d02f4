"""One training step of each recipe's classifier from the same weights, on whatever backend KERAS_BACKEND names.

``python -m tests.trainer.backends.steps RECIPE...`` prints for each {"backend", "loss", "weights": sum of the trained
weights' sizes after the step, "moved_uv": how far PGD moved two windows}.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from trainer.attacks.pgd import PGD
from trainer.data.base import Dataset
from trainer.data.cinc2017 import SPEC
from trainer.defenses import registry as defenses
from trainer.models import encode_decode
from trainer.models import registry as models
from trainer.models.wrap import AttackModel
from trainer.recipe import read_recipe
from trainer.training import Trainer


def records(n: int) -> Dataset:
    """Noise with a pulse train whose rate is the class: enough to give gradients."""
    rng = np.random.default_rng(0)
    signals = []
    for k in range(n):
        length = 9000 - 400 * k
        wave = 40.0 * rng.standard_normal(length)
        wave[:: 150 + 60 * (k % 4)] += 900.0
        signals.append(wave.astype(np.float32)[:, None])
    return Dataset(signals, np.arange(n) % 4, tuple(f"r{k}" for k in range(n)), SPEC)


def weights(model: keras.Model) -> list[np.ndarray]:
    """Glorot's, from numpy, as the backends draw other random numbers; vectors (biases, norms) as they are made."""
    rng = np.random.default_rng(1)

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        taps, (inward, outward) = np.prod(shape[:-2]), shape[-2:]
        return rng.standard_normal(shape) * (2.0 / (taps * (inward + outward))) ** 0.5

    return [w if w.ndim < 2 else drawn(w.shape) for w in model.get_weights()]


def main(recipe_path: str) -> None:
    recipe = read_recipe(recipe_path)
    data = records(recipe.training.batch)
    model = models.build(recipe.model.name, data.spec, **recipe.model.arguments)
    if recipe.model.encode_decode is not None:
        model = encode_decode.join(encode_decode.build(data.spec, **recipe.model.encode_decode), model)
    model.set_weights(weights(model))
    defense = defenses.make(recipe.defense.name, **recipe.defense.arguments)
    told: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        stage = Trainer(recipe, model, defense, data, Path(out), "classifier")
        stage.run(None, lambda row: told.append(row["loss"]) if "loss" in row else None, resume=False)
    windows = data.take(range(2)).windows()
    attack = PGD(epsilon=10.0, steps=2)
    wrapped = AttackModel(model, [{"op": "remove_dc"}])
    with wrapped.surrogate(wrapped.surrogates[0]):
        attacked = attack.run(wrapped, windows.x, windows.y, windows.valid)
    total = float(sum(np.abs(np.asarray(w)).sum() for w in model.trainable_variables))
    moved = float(np.abs(np.asarray(attacked) - windows.x).max())
    facts = {"backend": keras.backend.backend(), "loss": told[0], "weights": total, "moved_uv": moved}
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        main(path)
