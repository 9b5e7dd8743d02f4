"""What the tests of the paper share: a tiny data set, a recipe in parts, a net of two neurons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from trainer.data.base import Dataset, DataSpec

TOY = DataSpec("toy", ("slow", "fast"), "uV", 50.0, 100)
BASE = """
[data]
kind = "own"
{data}
[model]
name = "compact"
arguments = {{ stem = 4, widths = [4, 8], input_scale = 100.0 }}
[defense]
{defense}
{sections}
[training]
epochs = {epochs}
batch = 8
checkpoint_every_s = 0
[export]
name = "toy"
"""


def toy_parts(n: int = 32) -> tuple[Dataset, Dataset]:
    """(training, validation): two classes of sine that differ in frequency, 100 uV high."""
    rng = np.random.default_rng(0)
    t = np.arange(100) / 50

    def make(n: int, tag: str) -> Dataset:
        y = np.arange(n) % 2
        x = [100 * np.sin(2 * np.pi * (1 + 3 * k) * t + rng.uniform(0, 6)) for k in y]
        signals = [signal[:, None].astype(np.float32) for signal in x]
        return Dataset(signals, y, tuple(f"{tag}{i}" for i in range(n)), TOY)

    return make(n, "t"), make(12, "v")


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Write a recipe: ``recipe(name, defense=..., data=..., sections=..., epochs=...) -> path``."""

    def write(
        name: str = "recipe", *, defense: str, data: str = "", sections: str = "", epochs: int = 2
    ) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(BASE.format(defense=defense, data=data, sections=sections, epochs=epochs))
        return path

    return write


WEIGHTS = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)  # (time, logit)
BIAS = np.array([0.1, -0.2], np.float32)


@pytest.fixture
def two_neurons() -> keras.Model:
    """Windows of two samples -> two logits, z = x W + b with the W and b above."""
    inputs = keras.Input((2, 1))
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(inputs)))
    model.set_weights([WEIGHTS, BIAS])
    return model
