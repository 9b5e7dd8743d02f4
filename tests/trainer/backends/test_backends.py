"""The same step on TensorFlow and on JAX, in processes of their own: a backend is chosen before Keras is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.reproduce.ecg_nets import SCALES, recipe_text

RECIPE = """
[data]
kind = "cinc2017"
preprocess = [{ op = "remove_dc" }]
[model]
name = "compact"
arguments = { stem = 8, widths = [24, 40], dropout = 0.0 }
FRONT
[defense]
DEFENSE
[training]
epochs = 1
batch = 4
average_decay = 0.9
[export]
name = "x"
"""
FRONT = "encode_decode = { levels = 8, scale = 150.0, reach = 3.2, stride = 5, kernel = 15, width = 8 }"


def one_step(backend: str, recipe: Path, weights: Path, repository: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.trainer.backends.steps", str(recipe), str(weights)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, cwd=repository, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert answer["backend"] == backend
    return answer


def both(text: str, folder: Path, repository: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(text)
    ours, theirs = (one_step(b, recipe, folder / "w.npz", repository) for b in ("tensorflow", "jax"))
    assert theirs["loss"] == pytest.approx(ours["loss"], abs=1e-4)
    assert theirs["weights"] == pytest.approx(ours["weights"], rel=1e-4)
    assert ours["moved_uv"] == pytest.approx(2.0, abs=1e-3)
    assert theirs["moved_uv"] == pytest.approx(2.0, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("defense", "front"),
    [
        ('name = "adt"\nepsilons = [10.0]\narguments = { steps = 2, smooth_steps = 2 }', FRONT),
        ('name = "jacobian"\narguments = { unit = 200.0, from_epoch = 1 }', ""),
        ('name = "nsr"\narguments = { unit = 200.0, from_epoch = 1 }', ""),
    ],
    ids=["adt", "jacobian", "nsr"],
)
def test_a_step_agrees(defense: str, front: str, tmp_path: Path, repository: Path) -> None:
    both(RECIPE.replace("DEFENSE", defense).replace("FRONT", front), tmp_path, repository)


@pytest.mark.slow
@pytest.mark.paper2
def test_the_paper_scale_step_agrees(tmp_path: Path, repository: Path) -> None:
    """One step of ADT on the 13-layer net; dropout is off, as the two draw other random numbers."""
    text = recipe_text("at", SCALES["paper"], 0)
    for old, new in (
        ("epochs = 100", "epochs = 1"),
        ("batch = 16", "batch = 2"),
        ("arguments = { seed = ", "arguments = { dropout = 0.0, seed = "),
        ('name = "adt"', 'name = "adt"\narguments = { steps = 1, smooth_steps = 1 }'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    both(text, tmp_path, repository)
