"""The same step on TensorFlow and on JAX, in processes of their own: a backend is chosen before Keras is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


DEFENSES = {
    "adt": ('name = "adt"\nepsilons = [10.0]\narguments = { steps = 2, smooth_steps = 2 }', FRONT),
    "jacobian": ('name = "jacobian"\narguments = { unit = 200.0, from_epoch = 1 }', ""),
    "nsr": ('name = "nsr"\narguments = { unit = 200.0, from_epoch = 1 }', ""),
}


def paper() -> str:
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
    return text


def steps(backend: str, recipes: list[Path], repository: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.trainer.backends.steps", *map(str, recipes)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=repository, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"backend"')]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, tuple[Any, Any]]:
    """By recipe, what TensorFlow and JAX say."""
    folder = tmp_path_factory.mktemp("recipes")
    texts = {
        name: RECIPE.replace("DEFENSE", defense).replace("FRONT", front) for name, (defense, front) in DEFENSES.items()
    }
    texts["paper"] = paper()
    recipes = [folder / f"{name}.toml" for name in texts]
    for path, text in zip(recipes, texts.values(), strict=True):
        path.write_text(text)
    with ThreadPoolExecutor(2) as both:
        asked = [both.submit(steps, backend, recipes, repository) for backend in ("tensorflow", "jax")]
    ours, theirs = (one.result() for one in asked)
    return dict(zip(texts, zip(ours, theirs, strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("name", [*DEFENSES, pytest.param("paper", marks=pytest.mark.paper2)])
def test_a_step_agrees(name: str, answers: dict[str, tuple[Any, Any]]) -> None:
    ours, theirs = answers[name]
    assert (ours["backend"], theirs["backend"]) == ("tensorflow", "jax")
    assert theirs["loss"] == pytest.approx(ours["loss"], abs=1e-4)
    assert theirs["weights"] == pytest.approx(ours["weights"], rel=1e-4)
    assert ours["moved_uv"] == pytest.approx(2.0, abs=1e-3)
    assert theirs["moved_uv"] == pytest.approx(2.0, abs=1e-3)
