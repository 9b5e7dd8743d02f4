"""Evaluations that cannot say what was asked: no float twin, a foreign file, too large a budget, classes absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from tests.trainer.commands import trainer
from tests.trainer.foreign.test_wrap import RATE, SPEC, classifier, series, tflite
from trainer.data.base import DataSpec, Windows
from trainer.data.registry import load_data
from trainer.evaluate.first_step import first_step
from trainer.evaluate.scope import missing_labels, reach


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with own.tflite in float, eight.tflite in int8 throughout, window.toml and labelled windows."""
    folder = tmp_path_factory.mktemp("foreign")
    model = classifier(epochs=3)
    tflite(model, folder / "own.tflite")
    tflite(model, folder / "eight.tflite", whole_int8=True)
    x, y = series(40, 9)
    np.savez(folder / "labelled.npz", x=x[..., 0], y=np.array(SPEC["labels"])[y], rate_hz=RATE)
    lines = [f"{key} = {json.dumps(value)}" for key, value in SPEC.items() if key != "front"]
    (folder / "window.toml").write_text("\n".join(lines))
    return folder


def evaluate(folder: Path, file: str, *more: object) -> Result:
    common = ("--data", folder / "labelled.npz", "--split", "all")
    return trainer("evaluate", folder / file, "--spec", folder / "window.toml", *common, *more)


@pytest.mark.slow
def test_somebody_elses_file_is_attacked_without_gradients(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    done = evaluate(foreign, "own.tflite", "--attacks", "clean,pgd,square,nes", "--epsilon", "0.6", "--json", out)
    assert done.exit_code == 0, done.stderr
    assert "only black-box attacks are run; left out: pgd" in done.stderr
    rows = {r["attack"]: r for r in json.loads(out.read_text())["rows"]}
    assert set(rows) == {"clean", "square", "nes"}
    assert {r["target"] for r in rows.values()} == {"file"}
    assert rows["clean"]["accuracy"] > 0.9
    assert rows["square"]["accuracy"] < rows["clean"]["accuracy"]
    assert rows["nes"]["accuracy"] < rows["clean"]["accuracy"]
    assert not rows["square"]["warnings"]


def test_a_file_that_rounds_first_is_told(foreign: Path) -> None:
    place = foreign / "eight.json"
    done = evaluate(
        foreign, "eight.tflite", "--attacks", "clean,square", "--epsilon", "0.01", "--set", "square.queries=5",
        "--quantum", "0.001", "--json", place,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    row = json.loads(place.read_text())["rows"][1]
    assert row["warnings"] == ["coarse_first_step"]
    assert (row["settings"], row["ball"], row["steps"]) == ({"queries": 5}, {"quantum": 0.001}, 5)
    assert first_step((foreign / "own.tflite").read_bytes()) is None
    step = first_step((foreign / "eight.tflite").read_bytes())
    assert step is not None
    assert 0.005 < step < 0.05  # some 4 units over 255 steps


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("own.tflite", "--attacks", "pgd"), "no float twin"),
        (("absent.tflite",), "cannot be read"),
        (("labelled.tflite",), "not a TFLite file"),
        (("own.tflite", "--target", "int8"), "not int8"),
        (("own.tflite", "--attacks", "noise", "--bounds", "5"), "--bounds '5' is not LOW,HIGH"),
        (("own.tflite", "--attacks", "standard", "--norm", "l2"), "one suite for all"),
        (("own.tflite", "--attacks", "noise", "--set", "pgd.steps=5"), "give ATTACK.NAME=VALUE for one of --attacks"),
        (("own.tflite", "--attacks", "square", "--set", "square.queries=0"), "queries must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_one_line(foreign: Path, arguments: tuple[str, ...], told: str) -> None:
    (foreign / "labelled.tflite").write_bytes(b"no model")
    done = evaluate(foreign, *arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_spec_belongs_to_a_tflite_file(foreign: Path) -> None:
    data = ("--data", foreign / "labelled.npz")
    done = trainer("evaluate", foreign / "own.tflite", *data)
    assert (done.exit_code, "--spec window.toml" in done.stderr) == (1, True)
    done = trainer("evaluate", "ecg-rhythm", "--spec", foreign / "window.toml", *data)
    assert (done.exit_code, "--spec goes with a .tflite file" in done.stderr) == (1, True)


def test_a_class_that_no_record_has_is_told(foreign: Path) -> None:
    data = load_data(foreign / "labelled.npz").part("all")
    slow = [name for name, y in zip(data.names, data.y, strict=True) if data.spec.labels[y] == "slow"]
    done = evaluate(foreign, "own.tflite", "--records", ",".join(slow))
    assert done.exit_code == 0, done.stderr
    assert "no record of class fast" in done.stderr


def test_a_budget_larger_than_the_signal_is_told(foreign: Path) -> None:
    done = evaluate(foreign, "own.tflite", "--attacks", "noise", "--epsilon", "0.1,50")
    assert done.exit_code == 0, done.stderr
    assert "epsilon 50 1 is larger than the signal" in done.stderr


def test_reach_and_missing_labels_of_windows() -> None:
    x = np.zeros((3, 10, 1), np.float32)
    x[:, 4] = np.array([5.0, 7.0, 100.0])[:, None]
    valid = np.ones((3, 10), bool)
    valid[2, 4] = False
    spec = DataSpec("x", ("a", "b", "c"), "1", 1.0, 10)
    found = Windows(x, valid, np.array([0, 2, 2]), ("r", "s", "t"), spec)
    assert reach(found) == 5.0
    assert missing_labels(found) == ("b",)
