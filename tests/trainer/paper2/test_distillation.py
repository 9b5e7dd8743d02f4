"""Temperature, soft labels computed once, SAP inside training, Algorithm 1's losses and both stages."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.trainer.paper2.conftest import TOY, toy_parts
from trainer import gradients
from trainer.attacks import unrolled
from trainer.attacks.sap import SAP
from trainer.data.oversample import LeakageWarning, oversample
from trainer.data.splits import fold_of
from trainer.defenses import distillation, registry, soft_labels
from trainer.defenses.adt import METHODS
from trainer.defenses.base import Batch
from trainer.errors import RecipeError, TrainingError
from trainer.models import encode_decode
from trainer.models import registry as models
from trainer.models.wrap import AttackModel
from trainer.recipe import read_recipe
from trainer.run import train

pytestmark = pytest.mark.paper2
ADT = 'name = "adt"\nepsilons = [10.0]\narguments = { steps = 1, smooth_steps = 1 }'
CLEAN = 'name = "distillation"'
FIRST = "[distillation]\nstage = 1\ntemperature = 2.0"
SECOND = "[distillation]\nstage = 2\ntemperature = 2.0"


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(p / p.sum(-1, keepdims=True))


def toy_model(seed: int = 0, **arguments: object) -> keras.Model:
    settings = {"stem": 4, "widths": [4], "input_scale": 100.0, "dropout": 0.0, **arguments}
    return models.build("compact", TOY, seed=seed, **settings)


def toy_batch(teacher: np.ndarray | None = None) -> Batch:
    windows = toy_parts()[0].take(range(6)).windows()
    valid = windows.valid[..., None].astype(np.float32)
    valid[:, :11] = 0
    x = windows.x * valid
    arrays = (x, valid, np.eye(2)[windows.y], np.zeros_like(x), np.full((6, 1, 1), 10.0), np.zeros_like(x))
    soft = None if teacher is None else gradients.tensor(teacher)
    return Batch(*(gradients.tensor(a) for a in arrays), teacher=soft)


def test_temperature_softmax_by_hand() -> None:
    z = np.array([[2.0, 0.0, -1.0]], np.float32)
    at_one = np.asarray(distillation.temperature_softmax(gradients.tensor(z), 1.0))
    np.testing.assert_allclose(at_one, softmax(z), rtol=1e-5)
    at_two = np.asarray(distillation.temperature_softmax(gradients.tensor(z), 2.0))
    np.testing.assert_allclose(at_two, np.exp([[1, 0, -0.5]]) / np.exp([1, 0, -0.5]).sum(), rtol=1e-5)
    flat = np.asarray(distillation.temperature_softmax(gradients.tensor(z), 1e6))
    np.testing.assert_allclose(flat, 1 / 3, atol=1e-5)


def test_loss_of_labels_is_eq_3_and_of_soft_labels_eq_4() -> None:
    z = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], np.float32)
    at_two = softmax(z / 2)
    hard = np.asarray(distillation.distillation_loss(np.eye(3, dtype=np.float32)[[0, 1]], z, 2.0))
    np.testing.assert_allclose(hard, -np.log(at_two[[0, 1], [0, 1]]), rtol=1e-5)
    soft = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    got = np.asarray(distillation.distillation_loss(soft, z, 2.0))
    np.testing.assert_allclose(got, -(soft * np.log(at_two)).sum(1), rtol=1e-5)


def test_sap_inside_training_is_the_attack() -> None:
    model, data = toy_model(), toy_batch()
    y = np.asarray(data.target).argmax(1)
    inside = gradients.compiled(
        lambda: unrolled.sap(
            model,
            data.x,
            data.valid,
            data.target,
            data.epsilon,
            steps=5,
            smooth_steps=5,
            step_share=0.1,
        )
    )()
    attack = SAP(epsilon=10.0, steps=5, smooth_steps=5, step_share=0.1)
    x, valid = np.asarray(data.x), np.asarray(data.valid)[..., 0] > 0
    outside = attack.run(AttackModel(model), x, y, valid)
    np.testing.assert_allclose(np.asarray(inside), outside, atol=1e-3)
    assert np.abs(outside - x).max() > 1.0
    assert np.array_equal(np.asarray(inside)[~valid], x[~valid])


@pytest.mark.parametrize("c", [0.0, 0.25, 0.5, 1.0])
def test_mixed_loss_is_eq_6(c: float) -> None:
    model, data = toy_model(), toy_batch()
    model.trainable = False  # batch statistics stay, so that the parts can be compared one by one
    adt = registry.make("adt", c=c, temperature=2.0, steps=2, smooth_steps=2)
    got = float(adt.loss(model, data)[0])
    attacked = adt.attack(model, data.x, data.valid, data.target, data.start, data.epsilon)

    def entropy(x: object) -> float:
        return float(np.mean(distillation.distillation_loss(data.target, model(x), 2.0)))

    assert got == pytest.approx(c * entropy(attacked) + (1 - c) * entropy(data.x), rel=1e-4)
    assert entropy(attacked) > entropy(data.x)


def test_the_second_stage_learns_and_is_attacked_by_soft_labels() -> None:
    model = toy_model()
    model.trainable = False
    teacher = np.tile(np.float32([0.3, 0.7]), (6, 1))
    data = toy_batch(teacher)
    clean = registry.make("distillation", c=0.9, temperature=1.0)  # c is 0 whatever is asked
    expected = np.mean(distillation.distillation_loss(data.teacher, model(data.x), 1.0))
    assert float(clean.loss(model, data)[0]) == pytest.approx(float(expected), rel=1e-5)
    adt = registry.make("adt", steps=2, smooth_steps=0)
    hard = float(adt.loss(model, replace(data, teacher=None))[0])
    assert float(adt.loss(model, data)[0]) != pytest.approx(hard, rel=1e-3)


def test_methods_are_settings_of_two_stages() -> None:
    assert set(METHODS) == {"at", "dd", "init_adt", "dist_adt", "adt"}
    for stages in METHODS.values():
        for name in stages:
            assert registry.make(name).c == (0.5 if name == "adt" else 0.0)


def test_adt_passes_an_encode_decode() -> None:
    front = encode_decode.build(TOY, levels=8, scale=50.0, reach=2.0, width=4, stride=2, kernel=5)
    model = encode_decode.join(front, toy_model())
    total, logits = registry.make("adt", steps=1, smooth_steps=1).loss(model, toy_batch())
    assert np.isfinite(float(total))
    assert logits.shape == (6, 2)


def test_soft_labels_are_the_teachers_at_t_and_copies_agree() -> None:
    teacher = toy_model(seed=3)
    data = oversample(toy_parts()[0], {"fast": 3})
    labels = soft_labels.soft_labels(teacher, data, [{"op": "remove_dc"}], 4.0)
    windows = data.windows()
    x = windows.x - windows.x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(labels, softmax(np.asarray(teacher(x)) / 4.0), atol=1e-4)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)


def test_a_label_comes_from_the_teachers_that_did_not_see_the_record() -> None:
    labels = [np.full((3, 2), (0.2, 0.8)), np.full((3, 2), (0.6, 0.4))]
    seen = [np.array([True, False, True]), np.array([True, True, False])]
    got = soft_labels.combine(labels, seen)  # both saw the first record: their mean
    np.testing.assert_allclose(got, [(0.4, 0.6), (0.2, 0.8), (0.6, 0.4)], atol=1e-6)


@pytest.mark.slow
def test_soft_labels_are_computed_once(
    recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(recipe("first", defense=CLEAN, sections=FIRST), "", tmp_path / "one", parts=toy_parts())
    asked: list[int] = []
    real = soft_labels.soft_labels

    def counting(teacher: object, data: object, *rest: object) -> np.ndarray:
        asked.append(len(data))  # type: ignore[arg-type]
        return real(teacher, data, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(soft_labels, "soft_labels", counting)
    second = recipe("second", defense=ADT, sections=SECOND, epochs=3)
    stages: list[int] = []

    def stop_in_the_second_epoch(event: dict[str, object]) -> None:
        if "loss" in event:
            stages.append(int(str(event["epoch"])))
            if len(stages) == 2:
                raise KeyboardInterrupt

    out = tmp_path / "two"
    with pytest.raises(KeyboardInterrupt):
        train(second, "", out, teacher=first, parts=toy_parts(), report=stop_in_the_second_epoch)
    train(second, "", out, teacher=first, parts=toy_parts(), resume=True)
    assert asked == [len(toy_parts()[0])]  # once, for each training record, in three epochs and a resume
    with np.load(out / soft_labels.SOFT_LABELS) as saved:
        assert saved["labels"].shape == (32, 2)
    other = train(
        recipe("first2", defense=CLEAN, sections=FIRST, epochs=1), "", tmp_path / "other", parts=toy_parts()
    )
    with pytest.raises(TrainingError, match="another teacher"):
        train(second, "", out, teacher=other, parts=toy_parts(), resume=True)


@pytest.mark.slow
def test_cross_fitted_teachers_label_what_they_left_out(
    recipe: Callable[..., Path], tmp_path: Path
) -> None:
    training = toy_parts()[0]
    runs, teachers = [], []
    for fold in range(2):
        data = f"folds = 2\nleave_out = {fold}"
        path = recipe(f"fold{fold}", defense=CLEAN, sections=FIRST, epochs=1, data=data)
        runs.append(train(path, "", tmp_path / f"run{fold}", parts=toy_parts()))
        teachers.append(keras.models.load_model(runs[fold] / "twin.keras", compile=False))
        kept = json.loads((runs[fold] / "run.json").read_text())["train_records"]
        assert kept == sum(fold_of(name, 2) != fold for name in training.names)
    labels = soft_labels.labels_from_runs(runs, training, 1.0, tmp_path)
    x = training.windows().x
    own = [softmax(np.asarray(teacher(x))) for teacher in teachers]
    expected = np.stack([own[fold_of(name, 2)][i] for i, name in enumerate(training.names)])
    np.testing.assert_allclose(labels, expected, atol=1e-4)
    both = tmp_path / "both"
    both.mkdir()
    labels = soft_labels.labels_from_runs(runs, training, 1.0, both, cross_fit=False)
    np.testing.assert_allclose(labels, np.mean(own, axis=0), atol=1e-4)
    with pytest.raises(TrainingError, match="another teacher"):  # kept labels are of the other reading
        soft_labels.labels_from_runs(runs, training, 1.0, both)
    second = "[distillation]\nstage = 2\ncross_fit = false"
    own_recipe = recipe("pupil", defense=CLEAN, sections=second, epochs=1)
    pupil = train(own_recipe, "", tmp_path / "pupil", teacher=runs, parts=toy_parts())
    with np.load(pupil / soft_labels.SOFT_LABELS) as saved:
        np.testing.assert_allclose(saved["labels"], np.mean(own, axis=0), atol=1e-4)


def test_soft_labels_may_come_from_a_file(tmp_path: Path) -> None:
    training = toy_parts()[0]
    rng = np.random.default_rng(0)
    labels = softmax(rng.normal(size=(len(training), len(training.spec.labels)))).astype(np.float32)
    order = rng.permutation(len(training))
    names = np.array(training.names)
    file = tmp_path / "labels.npz"
    np.savez(file, names=names[order], labels=labels[order])
    found = soft_labels.labels_from_runs([file], training, 1.0, tmp_path)
    np.testing.assert_allclose(found, labels, atol=1e-6)
    out = tmp_path / "other"
    out.mkdir()
    for wrong, match in (
        ({"names": names[1:], "labels": labels[1:]}, f"record {names[0]} has no soft label"),
        ({"names": names, "labels": labels[:, :1]}, "must be probabilities of shape"),
        ({"names": names, "labels": 2 * labels}, "must be probabilities"),
        ({"labels": labels}, "no file of soft labels"),
    ):
        np.savez(file, **wrong)
        with pytest.raises(TrainingError, match=match):
            soft_labels.labels_from_runs([file], training, 1.0, out)
    file.write_bytes(b"PK nothing")
    with pytest.raises(TrainingError, match="no file of soft labels"):
        soft_labels.labels_from_runs([file], training, 1.0, out)


@pytest.mark.slow
def test_the_second_stage_learns_what_the_first_knows(recipe: Callable[..., Path], tmp_path: Path) -> None:
    """Labels are shuffled for the second stage: only the teacher's probabilities can teach it the classes."""
    sections = "[distillation]\nstage = 1"
    path = recipe("first", defense=CLEAN, sections=sections, epochs=20)
    first = train(path, "", tmp_path / "one", parts=toy_parts())
    training, validation = toy_parts()
    shuffled = replace(training, y=np.random.default_rng(2).permutation(training.y))
    second = recipe("second", defense=CLEAN, sections='[distillation]\nstage = 2\nteacher = "one"', epochs=20)
    run = train(second, "", tmp_path / "two", parts=(shuffled, validation))
    accuracies = []
    for folder in (first, run):
        with (folder / "history.csv").open(newline="") as file:
            accuracies.append(float(list(csv.DictReader(file))[-1]["val_clean"]))
    assert accuracies[0] >= 0.9
    assert accuracies[1] >= 0.9


@pytest.mark.slow
def test_oversampled_runs(recipe: Callable[..., Path], tmp_path: Path) -> None:
    data = "oversample = { fast = 3 }"
    run = train(recipe(defense=CLEAN, data=data, epochs=1), "", tmp_path / "run", parts=toy_parts())
    assert '"train_records": 64' in (run / "run.json").read_text()
    leaky = recipe("leaky", defense=CLEAN, data=data + "\noversample_before_split = true", epochs=1)
    with pytest.warns(LeakageWarning):
        train(leaky, "", tmp_path / "leaky", parts=toy_parts())


def test_stages_without_their_teacher(recipe: Callable[..., Path], tmp_path: Path) -> None:
    second = recipe("second", defense=ADT, sections=SECOND)
    with pytest.raises(TrainingError, match="--teacher RUN"):
        train(second, "", tmp_path / "a", parts=toy_parts())
    with pytest.raises(TrainingError, match="no finished run"):
        train(second, "", tmp_path / "b", teacher=tmp_path / "none", parts=toy_parts())
    with pytest.raises(TrainingError, match="only the second stage"):
        train(
            recipe("first", defense=ADT, sections=FIRST), "", tmp_path / "c", teacher=".", parts=toy_parts()
        )


@pytest.mark.slow
def test_a_teacher_of_other_windows(recipe: Callable[..., Path], tmp_path: Path) -> None:
    first = train(
        recipe("first", defense=CLEAN, sections=FIRST, epochs=1), "", tmp_path / "one", parts=toy_parts()
    )
    keras.Sequential([keras.Input((50, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]).save(
        first / "twin.keras"
    )
    with pytest.raises(TrainingError, match="knows 3 classes"):
        train(
            recipe("second", defense=ADT, sections=SECOND),
            "",
            tmp_path / "two",
            teacher=first,
            parts=toy_parts(),
        )


@pytest.mark.parametrize(
    ("defense", "sections", "told"),
    [
        ('name = "jacobian"', FIRST, "distillation needs defense.name adt, distillation"),
        ('name = "adt"', "", "give a budget"),
        (ADT.replace("steps = 1,", "temperature = 3.0,", 1), "", r"set distillation\.temperature"),
        (ADT, FIRST + '\nteacher = "x"', "belongs to stage 2"),
        (ADT, FIRST.replace("2.0", "0.0"), "temperature"),
    ],
)
def test_recipes_that_cannot_be(recipe: Callable[..., Path], defense: str, sections: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        read_recipe(recipe(defense=defense, sections=sections))


def test_a_fold_left_out_of_one(recipe: Callable[..., Path]) -> None:
    with pytest.raises(RecipeError, match="folds is at least 2"):
        read_recipe(recipe(defense=CLEAN, data="folds = 1\nleave_out = 0"))


def test_two_ways_to_balance_are_one_too_many(recipe: Callable[..., Path]) -> None:
    data = "oversample = { fast = 2 }\nclass_weights = { fast = 2.0 }"
    with pytest.raises(RecipeError, match="keep one"):
        read_recipe(recipe(defense=CLEAN, data=data))
