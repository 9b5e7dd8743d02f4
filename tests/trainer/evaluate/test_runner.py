"""A small model trained, exported and evaluated: the device's own answers, budgets held, hidden gradients
told.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from edge.pipeline.windows import Windower
from edge.types import SampleBlock
from tests.trainer.training.test_run import RECIPE, parts
from trainer.data.base import Dataset, DataSpec, Windows
from trainer.errors import EvaluationError
from trainer.evaluate import pieces, report
from trainer.evaluate.plan import Plan, Trial
from trainer.evaluate.rows import rows_of
from trainer.evaluate.runner import Runner
from trainer.evaluate.subject import Subject, open_subject
from trainer.evaluate.targets import DeviceTarget
from trainer.evaluate.windows import fit
from trainer.export.pack import export_run
from trainer.grid import Here, Processes
from trainer.models.wrap import AttackModel
from trainer.run import train

KEYS = [
    "target", "attack", "epsilon", "units", "n", "accuracy", "accuracy_low", "accuracy_high", "macro_f1",
    "balanced_accuracy", "confusion", "steps", "step_size", "restarts", "gradient", "warnings",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    recipe = RECIPE.replace("epochs = 4", "epochs = 25").replace("pretrain_epochs = 2", "pretrain_epochs = 5")
    (folder / "recipe.toml").write_text(recipe + "max_drop = 0.5\n")
    run = train(folder / "recipe.toml", "", folder / "run", parts=parts())
    export_run(run, run / "toy.bundle", parts=parts())
    return run


@pytest.fixture(scope="module")
def subject(run: Path) -> Subject:
    return open_subject(str(run / "toy.bundle"))


def records(subject: Subject) -> Dataset:
    """Whole, short and long records of the toy's two classes."""
    whole = parts()[1]
    lengths = [70 + 10 * (i % 5) for i in range(len(whole))]
    signals = [np.resize(s, (n, 1)).astype(np.float32) for s, n in zip(whole.signals, lengths, strict=True)]
    return replace(whole, signals=signals)


@pytest.fixture(scope="module")
def windows(subject: Subject) -> Windows:
    return fit(records(subject), subject.spec)


@pytest.fixture(scope="module")
def trials(subject: Subject, windows: Windows) -> list[Trial]:
    attacks = ("clean", "noise", "fgsm", "pgd")
    return Runner(subject, windows, Plan(attacks, (0.05, 1.0), seed=1)).run()


def test_rows_have_exactly_the_agreed_keys_and_plain_values(trials: list[Trial], windows: Windows) -> None:
    rows = rows_of(trials, "1")
    assert [(r["target"], r["attack"], r["epsilon"]) for r in rows[:4]] == [
        ("float", "clean", 0.0),
        ("int8", "clean", 0.0),
        ("float", "noise", 0.05),
        ("int8", "noise", 0.05),
    ]
    for row in rows:
        assert list(row) == KEYS
        assert row["n"] == len(windows) == np.sum(row["confusion"])
        assert 0 <= row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] <= 1
        assert row["accuracy"] == np.trace(row["confusion"]) / row["n"]
    text = report.to_json("toy", "toy/val", 1, rows)
    assert list(json.loads(text)) == ["model", "data", "seed", "wavewall", "rows"]
    assert json.loads(text)["rows"] == rows


def test_rows_say_how_the_attack_was_made(trials: list[Trial]) -> None:
    rows = {(r["target"], r["attack"], r["epsilon"]): r for r in rows_of(trials, "1")}
    pgd, transferred = rows["float", "pgd", 1.0], rows["int8", "pgd", 1.0]
    assert (pgd["steps"], pgd["step_size"], pgd["restarts"]) == (20, pytest.approx(0.1), 1)
    assert pgd["gradient"].startswith("bpda:")
    assert len(pgd["gradient"].split("+")) >= 2
    assert transferred["gradient"] == f"transfer:{pgd['gradient']}"
    assert rows["float", "fgsm", 0.05]["step_size"] == pytest.approx(0.05)
    assert rows["float", "clean", 0.0]["gradient"] == rows["int8", "noise", 1.0]["gradient"] == "none"


def test_the_attack_bites(trials: list[Trial]) -> None:
    correct = {(t.target, t.attack, t.epsilon): t.outcome().correct for t in trials}
    assert correct["float", "clean", 0.0] > 0.8 * len(trials[0].y)
    assert correct["float", "pgd", 1.0] < correct["float", "noise", 1.0]
    assert correct["float", "pgd", 1.0] < correct["float", "clean", 0.0]
    assert correct["int8", "pgd", 1.0] < correct["int8", "clean", 0.0]


def test_int8_labels_are_those_of_the_agent_on_the_same_records(
    subject: Subject, trials: list[Trial]
) -> None:
    assert subject.device is not None
    mine = next(t for t in trials if (t.target, t.attack) == ("int8", "clean"))
    spec = subject.device.manifest.input
    for i, signal in enumerate(records(subject).signals):
        windower = Windower(spec)
        block = SampleBlock("s", "e", 0, 0.0, spec.rate_hz, spec.channels, (spec.units,), signal, end=True)
        first = [*windower.push(block), *windower.flush()][0]
        np.testing.assert_array_equal(subject.device.classify(first).probabilities, mine.probabilities[i])


def test_attacked_windows_stay_in_the_ball_and_padding_is_untouched(
    subject: Subject, windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    answer = DeviceTarget.probabilities

    def spy(self: DeviceTarget, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        seen.append(x)
        return answer(self, x, valid)

    monkeypatch.setattr(DeviceTarget, "probabilities", spy)
    Runner(subject, windows, Plan(("fgsm",), (0.25,), ("int8",))).run()
    assert len(seen) == len(subject.twin.surrogates)
    assert not windows.valid.all()
    for x in seen:
        change = np.abs(x - windows.x)
        assert 0.2 < change.max() <= 0.25 + 1e-6
        assert change[~windows.valid].max() == 0


def test_the_worst_surrogate_counts(subject: Subject, windows: Windows) -> None:
    worst = Runner(subject, windows, Plan(("fgsm",), (0.5,), ("float",))).run()[0].outcome().correct
    alone = []
    twin = subject.twin
    for name in twin.surrogates:

        class OneWay(AttackModel):
            surrogates = (name,)

        single = replace(subject)
        single.__dict__["twin"] = OneWay(twin.model, twin.steps)
        alone.append(Runner(single, windows, Plan(("fgsm",), (0.5,), ("float",))).run()[0].outcome().correct)
    assert worst <= min(alone)


def test_same_seed_same_rows_whatever_else_is_run(
    subject: Subject, windows: Windows, trials: list[Trial]
) -> None:
    again = Runner(subject, windows, Plan(("noise",), (1.0,), ("int8",), seed=1)).run()[0]
    before = next(t for t in trials if (t.target, t.attack, t.epsilon) == ("int8", "noise", 1.0))
    np.testing.assert_array_equal(again.probabilities, before.probabilities)


def test_progress_reaches_the_end_of_every_stage(subject: Subject, windows: Windows) -> None:
    seen: list[tuple[str, int, int]] = []
    plan = Plan(("clean", "fgsm"), (0.1,), ("int8",))
    Runner(subject, windows, plan, lambda *event: seen.append(event)).run()
    n = len(windows)
    assert {event for event in seen if event[1] == n} == {("clean", n, n), ("fgsm 0.1 1", n, n)}


def test_predictions_csv(trials: list[Trial], windows: Windows) -> None:
    lines = report.to_csv(trials[:2], windows.names, windows.spec.labels).splitlines()
    assert lines[0] == "record,label,prediction,score,target,attack,epsilon,p_slow,p_fast"
    assert len(lines) == 1 + 2 * len(windows)
    record, label, prediction, score, target, attack, *_ = lines[1].split(",")
    assert (record, target, attack) == (windows.names[0], "float", "clean")
    assert label in windows.spec.labels
    assert prediction in windows.spec.labels
    assert 0.5 <= float(score) <= 1


def test_a_run_is_evaluated_by_its_float_model(run: Path, windows: Windows, trials: list[Trial]) -> None:
    mine = open_subject(str(run))
    assert mine.device is None
    again = Runner(mine, windows, Plan(targets=("float",))).run()[0]
    np.testing.assert_array_equal(again.probabilities, trials[0].probabilities)
    with pytest.raises(EvaluationError, match="a run has no int8 file"):
        Runner(mine, windows, Plan())


def test_plans_that_cannot_be_are_refused_first(subject: Subject, windows: Windows) -> None:
    with pytest.raises(EvaluationError, match="give --epsilon"):
        Runner(subject, windows, Plan(("pgd",), ()))
    with pytest.raises(EvaluationError, match="unknown target 'int4'"):
        Runner(subject, windows, Plan(targets=("int4",)))


def test_the_twin_of_another_model_is_refused(run: Path, tmp_path: Path) -> None:
    other = keras.models.load_model(run / "twin.keras", compile=False)
    head = next(layer for layer in other.layers if isinstance(layer, keras.Model) and layer.name == "compact")
    kernel, bias = head.get_layer("logits").get_weights()
    head.get_layer("logits").set_weights([-kernel, -bias])
    (tmp_path / "other").mkdir()
    other.save(tmp_path / "other" / "twin.keras")
    subject = open_subject(str(run / "toy.bundle"), tmp_path / "other")
    with pytest.raises(EvaluationError, match="not the float twin of toy@"):
        _ = subject.twin


def test_a_bundle_without_twin_still_has_its_own_figures(run: Path, windows: Windows, tmp_path: Path) -> None:
    lone = tmp_path / "lone.bundle"
    lone.write_bytes((run / "toy.bundle").read_bytes())
    subject = open_subject(str(lone))
    clean, noise = Runner(subject, windows, Plan(("clean", "noise"), (0.1,), ("int8",))).run()
    assert clean.outcome().correct >= noise.outcome().correct - 2
    with pytest.raises(EvaluationError, match=r"no float twin.*--twin"):
        Runner(subject, windows, Plan(("fgsm",), (0.1,), ("int8",))).run()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder, "no recipe.toml"),
        (lambda folder: "no-such-bundle", "no such file, run folder or shipped bundle"),
        (lambda folder: folder / "missing.bundle", "no such file"),
    ],
)
def test_what_is_no_model(tmp_path: Path, make: Any, told: str) -> None:
    from edge.errors import EdgeError

    with pytest.raises((EvaluationError, EdgeError), match=told):
        open_subject(str(make(tmp_path)))


@keras.saving.register_keras_serializable("test")
class Stairs(keras.layers.Layer):
    """Rounding: the gradient is zero everywhere, though a change of 0.5 passes."""

    def call(self, x: Any) -> Any:
        return ops.round(x)


@pytest.fixture
def masked() -> Subject:
    spec = DataSpec("masked", ("slow", "fast"), "1", 50.0, 100)
    inputs = keras.Input((100, 1))
    total = keras.layers.GlobalAveragePooling1D()(Stairs()(inputs))
    logits = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant([[-1.0, 1.0]]))(total)
    subject = Subject("masked", spec, (), None, None, None)
    subject.__dict__["twin"] = AttackModel(keras.Model(inputs, logits), name="masked")
    return subject


def test_a_hidden_gradient_gives_no_accuracy(masked: Subject) -> None:
    x = np.concatenate([np.full((6, 100, 1), -2.0), np.full((6, 100, 1), 2.0)]).astype(np.float32)
    y = np.repeat([0, 1], 6)
    windows = Windows(x, np.ones((12, 100), bool), y, tuple(map(str, range(12))), masked.spec)
    clean, fgsm = Runner(masked, windows, Plan(("clean", "fgsm"), (0.4,), ("float",))).run()
    assert clean.outcome().correct == 12
    assert fgsm.refused
    row = rows_of([clean, fgsm], "1")[1]
    assert row["warnings"] == ["zero_gradient"]
    assert [row[key] for key in KEYS[5:11]] == [None] * 6
    assert "none" in report.to_table([row])


def test_one_record_without_gradient_counts_as_wrong(masked: Subject) -> None:
    trial = Trial(
        "float", "fgsm", 1.0, {"steps": 1}, np.zeros(200, np.int64), np.zeros((200, 2)), np.arange(200) == 7
    )
    assert not trial.refused
    assert trial.outcome().zero_gradient_share == 1 / 200


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot be written"):
        report.write_text(tmp_path / "file" / "out.json", "{}")


def plain(trials: list[Trial]) -> list[dict[str, Any]]:
    return rows_of(trials, "1")


def test_finished_pieces_are_taken_from_the_folder(subject: Subject, tmp_path: Path) -> None:
    windows = fit(parts(100)[0], subject.spec)
    plan = Plan(("clean", "noise"), (0.1, 1.0), seed=3)
    begun: list[int] = []

    def here(errands: Any) -> Any:
        begun.append(len(errands))
        return Here().map(pieces.run, errands)

    first = plain(Runner(subject, windows, plan, share=pieces.kept(tmp_path, here)).run())
    assert first == plain(Runner(subject, windows, plan).run())
    assert begun == [2, 2, 2]
    again = plain(Runner(subject, windows, plan, share=pieces.kept(tmp_path, here)).run())
    assert again == first
    assert begun[3:] == [0, 0, 0]
    plain(Runner(subject, windows, replace(plan, seed=4), share=pieces.kept(tmp_path, here)).run())
    assert begun[6:] == [2, 2, 2]


@pytest.mark.slow
def test_processes_give_the_rows_of_one(subject: Subject) -> None:
    windows = fit(parts(100)[0], subject.spec)
    plan = Plan(("clean", "fgsm"), (0.3,), seed=3)
    with Processes(2) as pool:
        shared = plain(Runner(subject, windows, plan, share=partial(pool.map, pieces.run)).run())
    assert shared == plain(Runner(subject, windows, plan).run())
