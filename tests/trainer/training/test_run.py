"""A run is deterministic, survives kill -9 to the same numbers, and refuses what is not its own."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.bundle.preprocess import parse_steps
from trainer.data.base import Dataset, DataSpec
from trainer.errors import RecipeError, TrainingError
from trainer.lock import held
from trainer.models import compact, encode_decode
from trainer.recipe import read_recipe
from trainer.run import read_start, train
from trainer.training import Trainer, budget

RECIPE = """
[data]
kind = "own"
gain = 0.1
sign = 0.0
preprocess = [{ op = "remove_dc" }]
[model]
name = "compact"
arguments = { stem = 4, widths = [4, 8], input_scale = 1.0 }
encode_decode = { levels = 8, low = -2.0, high = 2.0, width = 4, kernel = 5, stride = 2 }
[defense]
name = "adversarial_training"
epsilons = [0.05, 0.1]
arguments = { steps = 2, noise = 0.02, reconstruction_unit = 1.0, reconstruction_power = 2 }
[training]
epochs = 4
pretrain_epochs = 2
batch = 8
average_decay = 0.9
checkpoint_every_s = 0
[export]
name = "toy"
"""

SCRIPT = """
import sys
sys.path.insert(0, {repository!r})
from tests.trainer.training.test_run import parts
from trainer.run import read_start, train
from trainer.training import budget
def report(row):
    if "loss" in row: print("epoch", row["phase"], row["epoch"], flush=True)
train({recipe!r}, "", {out!r}, resume=True, report=report, parts=parts())
"""


def parts(n: int = 32) -> tuple[Dataset, Dataset]:
    """Two classes of sine that differ in frequency."""
    spec = DataSpec("toy", ("slow", "fast"), "1", 50.0, 100)
    rng = np.random.default_rng(0)

    def make(n: int, tag: str) -> Dataset:
        y = np.arange(n) % 2
        t = np.arange(100) / 50
        x = [np.sin(2 * np.pi * (1 + 3 * k) * t + rng.uniform(0, 6))[:, None].astype(np.float32) for k in y]
        return Dataset(x, y, tuple(f"{tag}{i}" for i in range(n)), spec)

    return make(n, "t"), make(12, "v")


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_numbers(recipe: Path, tmp_path: Path) -> None:
    whole = train(recipe, "", tmp_path / "whole", parts=parts())
    killed = tmp_path / "killed"
    repository = str(Path(__file__).resolve().parents[3])
    script = SCRIPT.format(repository=repository, recipe=str(recipe), out=str(killed))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch joint 2"):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait(timeout=60)
    process.stdout.close()
    deadline = time.monotonic() + 5
    while not (killed / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (killed / "twin.keras").exists()
    train(recipe, "", killed, resume=True, parts=parts())
    for a, b in zip(rows(whole), rows(killed), strict=True):
        assert a["phase"] == b["phase"]
        for key in ("loss", "accuracy", "val_clean", "val_robust"):
            same = np.isclose(float(a[key]), float(b[key]), rtol=1e-3, atol=1e-6, equal_nan=True)
            assert same, (key, a, b)
    for name in ("twin.keras", "classifier.keras", "encode_decode.keras", "history.png", "run.json"):
        assert (killed / name).exists()


@pytest.mark.slow
def test_it_learns_and_starts_from_another_run(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("epochs = 4", "epochs = 25").replace("encode_decode = {", "# {"))
    run = train(recipe, "", tmp_path / "classifier", parts=parts())
    assert float(rows(run)[-1]["val_clean"]) >= 0.9
    recipe.write_text(RECIPE)
    again = train(recipe, "", tmp_path / "joint", start=run, parts=parts())
    assert float(rows(again)[-1]["loss"]) < 2.0


def test_a_folder_of_another_recipe_is_refused(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.toml").write_text("# another\n")
    with pytest.raises(TrainingError, match="another recipe"):
        train(recipe, "", out, parts=parts())
    (out / "recipe.toml").write_text(RECIPE)
    with pytest.raises(TrainingError, match="--resume"):
        train(recipe, "", out, parts=parts())


def test_a_folder_that_another_process_trains_in_is_left_alone(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", f"""
import sys
from pathlib import Path
from trainer.lock import held
with held(Path({str(out)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="another process trains there"):
            train(recipe, "", out, parts=parts(), resume=True)
        assert not (out / "checkpoint.npz").exists()
    finally:
        holder.kill()
        holder.communicate()
    with held(out):  # the lock went with its holder
        pass


@pytest.mark.parametrize("front", [True, False])
def test_a_start_may_be_the_twin_alone(front: bool, tmp_path: Path) -> None:
    spec = parts()[0].spec
    classifier = compact.build(spec, stem=4, widths=[4])
    twin = encode_decode.join(encode_decode.build(spec, levels=8), classifier) if front else classifier
    twin.save(tmp_path / "twin.keras")
    found, found_front = read_start(tmp_path)
    assert (found_front is not None) == front
    for kept, made in zip(found.get_weights(), classifier.get_weights(), strict=True):
        assert np.array_equal(kept, made)


def test_a_start_that_is_no_run(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"classifier\.keras"):
        train(recipe, "", tmp_path / "run", start=tmp_path, parts=parts())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 4", "epochs = -1"), "training.epochs"),
        (("epochs = 4", "epoks = 4"), "training.epoks"),
        (("[model]", "[model"), "not valid TOML"),
        (('name = "toy"', 'name = "to/y"'), "export.name"),
        (('kind = "own"', 'kind = "mnist"'), "data.kind"),
        (("epochs = 4", "epochs = 4\nprior_correction = 0.5"), "there are none"),
    ],
)
def test_recipes_that_cannot_work(recipe: Path, change: tuple[str, str], message: str) -> None:
    recipe.write_text(RECIPE.replace(*change))
    with pytest.raises(RecipeError, match=message):
        read_recipe(recipe)


def test_trades_trains_the_encode_decode_first_too(recipe: Path, tmp_path: Path) -> None:
    trades = 'name = "trades"\nepsilons = [0.1]\narguments = { steps = 1, reconstruction_unit = 1.0 }\n[training]'
    recipe.write_text(re.sub(r'name = "adv.*?\[training\]', trades, RECIPE, flags=re.DOTALL))
    run = train(recipe, "", tmp_path / "run", parts=parts())
    assert {row["phase"] for row in rows(run)} == {"encode_decode", "joint"}


def test_a_mixed_window_has_its_teachers_words_mixed_alike(recipe: Path, tmp_path: Path) -> None:
    from trainer.defenses.adversarial_training import AdversarialTraining
    from trainer.run import build_models

    recipe.write_text(RECIPE.replace("gain = 0.1", "gain = 0.1\nmix = 1.0").replace("encode_decode = {", "# {"))
    read, data = read_recipe(recipe), parts()[0]
    classifier, _ = build_models(read, data, None)
    teacher = np.eye(2, dtype=np.float32)[data.y]  # says what the labels say, so both stay alike
    trainer = Trainer(read, classifier, AdversarialTraining(), data, tmp_path, "classifier", teacher)
    seen = 0
    for _, _, target, _, _, _, soft in trainer._batches(np.random.default_rng(0)):
        np.testing.assert_allclose(soft, target, atol=1e-6)
        seen += int(((target > 0.01) & (target < 0.99)).any(axis=1).sum())
    assert seen > 4  # windows of both classes were mixed


def test_a_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_the_shipped_recipes_are_valid(repository: Path) -> None:
    found = sorted((repository / "trainer" / "zoo" / "recipes").glob("*.toml"))
    assert {read_recipe(path).export.name for path in found} >= {"ecg-rhythm", "ecg-undefended", "appliances"}


def test_a_raw_budget_behind_the_preprocessing() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(0, 3, (2, 50, 1)) + 5).astype(np.float32)
    valid = np.ones((2, 50), bool)
    epsilon = np.full((2, 1, 1), 0.3, np.float32)

    def behind(*steps: dict[str, float | str]) -> np.ndarray:
        return budget(x, valid, epsilon, parse_steps(list(steps)))

    assert np.allclose(behind({"op": "remove_dc"}), 0.3)
    assert np.allclose(behind({"op": "scale", "factor": -2.0}), 0.6)
    assert np.allclose(behind({"op": "znorm"})[:, 0, 0], 0.3 / x.std(1)[:, 0])
    compressed = behind({"op": "asinh", "scale": 0.5})
    assert np.allclose(compressed, 0.3 / np.sqrt(x**2 + 0.25), rtol=0.2)  # the slope, where the ball is small
    assert compressed.shape == x.shape


def test_the_average_is_no_second_name_of_the_weights() -> None:
    import keras

    from trainer import gradients

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dropout(0.1)])
    average = gradients.averaged(model)
    first = [np.array(mean) for mean in average]
    model.weights[0].assign(np.asarray(model.weights[0]) + 1.0)
    assert all(np.array_equal(np.array(mean), was) for mean, was in zip(average, first, strict=True))
    gradients.average_step(model, average, gradients.tensor(0.75))
    np.testing.assert_allclose(np.array(average[0]), first[0] + 0.25, rtol=1e-6)
