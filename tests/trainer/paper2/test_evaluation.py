"""Performance drop, F1 by class, situations I and II."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.trainer.commands import good
from tests.trainer.paper2.conftest import TOY, toy_parts
from trainer.data.base import Windows
from trainer.errors import EvaluationError
from trainer.evaluate import report
from trainer.evaluate.drops import drops, f1_by_label, over_runs, performance_drop
from trainer.evaluate.plan import Plan
from trainer.evaluate.rows import rows_of
from trainer.evaluate.runner import Runner
from trainer.evaluate.subject import Subject
from trainer.models.wrap import AttackModel

pytestmark = pytest.mark.paper2


def test_f1_by_label_is_that_of_table_1() -> None:
    confusion = [[8, 1, 1, 0], [2, 3, 0, 0], [0, 0, 4, 0], [0, 0, 1, 0]]
    f1 = f1_by_label(np.array(confusion), ("normal", "af", "other", "noise"))
    assert f1["normal"] == pytest.approx(2 * 8 / (10 + 10))
    assert f1["af"] == pytest.approx(2 * 3 / (5 + 4))
    assert f1["other"] == pytest.approx(2 * 4 / (4 + 6))
    assert f1["noise"] == 0.0


def test_drop_is_relative_as_in_the_papers_tables() -> None:
    assert performance_drop(0.8, 0.6) == pytest.approx(0.25)
    assert performance_drop(0.7, 0.77) == pytest.approx(-0.1)
    for attacked, drop in ((0.4256, 0.5069), (0.3906, 0.5480)):  # Tables 2 and 4, no defence
        assert performance_drop(0.864, attacked) == pytest.approx(drop, abs=0.003)
    with pytest.raises(EvaluationError):
        performance_drop(0.0, 0.1)


def test_mean_and_deviation_over_runs() -> None:
    spread = over_runs([0.8, 0.9, 1.0])
    assert (spread.mean, spread.deviation, spread.n) == (pytest.approx(0.9), pytest.approx(0.1), 3)
    assert math.isnan(over_runs([0.5]).deviation)
    with pytest.raises(EvaluationError):
        over_runs([])


def linear(seed: int, name: str) -> Subject:
    """Logits are projections; two seeds give two nets of about the same classes."""
    direction = np.sin(np.arange(100) / 9) + np.random.default_rng(seed).normal(0, 0.5, 100)
    inputs = keras.Input((100, 1))
    outputs = keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.set_weights([np.stack([-direction, direction], axis=1).astype(np.float32) / 100])
    subject = Subject(name, TOY, (), None, None, None)
    subject.__dict__["twin"] = AttackModel(model, name=name)
    return subject


def windows(n: int = 80) -> Windows:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    wave = np.where(y, 1.0, -1.0)[:, None] * np.sin(np.arange(100) / 9) * 8 + rng.normal(0, 8, (n, 100))
    return Windows(
        wave[..., None].astype(np.float32), np.ones((n, 100), bool), y, tuple(map(str, range(n))), TOY
    )


def test_situation_one_is_weaker_than_situation_two_and_says_so() -> None:
    own, other, data = linear(1, "defended"), linear(2, "undefended"), windows()
    plan = Plan(("clean", "pgd"), (10.0,), ("float",))
    second = Runner(own, data, plan).run()
    first = Runner(own, data, plan, through=other).run()
    correct = [trial.outcome().correct for trial in (first[0], first[1], second[1])]
    assert second[0].outcome().correct == correct[0]
    assert correct[0] > correct[1] > correct[2]
    rows = rows_of(first, "uV")
    assert rows[1]["gradient"] == "transfer:exact"
    assert rows_of(second, "uV")[1]["gradient"] == "exact"
    (row,) = drops(rows)
    assert row["accuracy_drop"] == pytest.approx(1 - correct[1] / correct[0])
    assert row["macro_f1_drop"] > 0
    with pytest.raises(EvaluationError, match="no clean row"):
        drops(rows[1:])


def test_the_attack_made_through_itself_is_situation_two() -> None:
    own, data = linear(1, "defended"), windows(20)
    plan = Plan(("sap",), (10.0,), ("float",))
    itself, second = (Runner(own, data, plan, through=t).run()[0] for t in (own, None))
    np.testing.assert_array_equal(itself.probabilities, second.probabilities)


def test_a_model_of_other_windows_cannot_be_attacked_through() -> None:
    own, other = linear(1, "defended"), linear(2, "other")
    wrong = replace(other, spec=replace(TOY, rate_hz=100.0))
    with pytest.raises(EvaluationError, match=r"other: rate_hz is 100\.0, that of defended is 50\.0"):
        Runner(own, windows(4), Plan(("pgd",), (1.0,), ("float",)), through=wrong)
    lone = Subject("lone", TOY, (), None, None, None)
    with pytest.raises(EvaluationError, match="lone: no float twin"):
        Runner(own, windows(4), Plan(("pgd",), (1.0,), ("float",)), through=lone)


def test_the_file_names_the_model_attacked() -> None:
    assert list(json.loads(report.to_json("a", "d", 0, [], "b"))) == [
        "model",
        "through",
        "data",
        "seed",
        "wavewall",
        "rows",
    ]
    assert "through" not in json.loads(report.to_json("a", "d", 0, []))


@pytest.mark.slow
def test_train_both_stages_and_evaluate_through_the_first(
    recipe: Callable[..., Path], tmp_path: Path
) -> None:
    training, _ = toy_parts(240)
    x = np.stack([signal[:, 0] for signal in training.signals])
    names = [TOY.labels[i] for i in training.y]
    np.savez(tmp_path / "toy.npz", x=x, y=names, labels=np.array(TOY.labels), rate_hz=50.0, units="uV")

    first = recipe("first", defense='name = "distillation"', sections="[distillation]\nstage = 1")
    second = recipe(
        "second",
        defense='name = "adt"\nepsilons = [10.0]\narguments = { steps = 1, smooth_steps = 1 }',
        sections="[distillation]\nstage = 2",
    )
    data, one, two = tmp_path / "toy.npz", tmp_path / "one", tmp_path / "two"
    good("train", first, "--data", data, "--out", one)
    good("train", second, "--data", data, "--out", two, "--teacher", one)
    out = tmp_path / "rows.json"
    told = good(
        "evaluate", two, "--data", data, "--split", "val", "--target", "float", "--attacks", "clean,sap",
        "--epsilon", "10", "--through", one, "--json", out,
    )  # fmt: skip
    assert "attacked through toy" in told.output
    written = json.loads(out.read_text())
    assert written["through"] == "toy"
    assert [row["attack"] for row in written["rows"]] == ["clean", "sap"]
    assert written["rows"][1]["gradient"] == "transfer:exact"
