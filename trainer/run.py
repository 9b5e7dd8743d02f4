"""From a recipe to a run folder: data, model, phases, validation and the files that export needs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import preprocess
from trainer import history, prior
from trainer.data.base import Dataset, Windows
from trainer.defenses.adversarial_training import AdversarialTraining
from trainer.defenses.base import Reconstructs
from trainer.defenses.encode_decode import Reconstruction
from trainer.errors import TrainingError
from trainer.lock import held
from trainer.recipe import Recipe, read_recipe
from trainer.training import Report, Trainer, budget, prepare

ENCODE_DECODE = "encode_decode.keras"


def open_run(out: Path, recipe_path: Path, resume: bool) -> None:
    """Make the run folder, or check that the one that is there belongs to this recipe.

    Raises:
        TrainingError: the folder holds another recipe's run, or a run and ``resume`` is off.
    """
    kept = out / "recipe.toml"
    if kept.exists():
        if kept.read_bytes() != recipe_path.read_bytes():
            raise TrainingError(f"{out} holds a run of another recipe; give another --out")
        if not resume:
            raise TrainingError(f"{out} already holds a run of this recipe; add --resume to go on with it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not kept.exists():
            # whole or not at all: a killed run finds its own recipe
            part = kept.with_name(".recipe.toml.part")
            shutil.copyfile(recipe_path, part)
            os.replace(part, kept)
    except OSError as error:
        raise TrainingError(
            f"{out}: cannot be written: {error.strerror}; choose a folder you own with --out"
        ) from error


def load_parts(recipe: Recipe, data_path: str | Path) -> tuple[Dataset, Dataset]:
    """(training, validation) records of the recipe's data at ``data_path``."""
    if recipe.data.kind == "cinc2017":
        from trainer.data import cinc2017
        from trainer.data.splits import split

        data = cinc2017.load(data_path)
        return split(data, "train"), split(data, "val")
    from trainer.data.registry import training_parts

    return training_parts(recipe.data.kind, data_path, recipe.data.name)


def enlarge(recipe: Recipe, training: Dataset, validation: Dataset) -> tuple[Dataset, Dataset]:
    """The parts as the recipe wants them: with the validation records or without the fold it leaves out, and with its
    oversampling: of the training part alone, unless the recipe asks for the order of paper 2's text, which warns that
    it leaks. The test part is never touched.
    """
    from trainer.data.oversample import oversample, oversample_before_split
    from trainer.data.splits import without_fold

    if recipe.data.leave_out is not None:
        training = without_fold(training, recipe.data.folds, recipe.data.leave_out)
    times = recipe.data.oversample
    if recipe.data.oversample_before_split:
        return oversample_before_split(training.joined(validation), times, seed=recipe.training.seed)
    if recipe.data.refit:
        training, validation = training.joined(validation), validation.take(np.arange(0))
    return (oversample(training, times) if times else training), validation


def teacher_labels(
    recipe: Recipe, recipe_path: Path, given: Sequence[str | Path], data: Dataset, out: Path
) -> np.ndarray | None:
    """Soft labels for the second stage of a distillation, else None.

    Raises:
        TrainingError: a second stage without a teacher, or a teacher that has no use.
    """
    section = recipe.distillation
    if section is None or section.stage == 1:
        if given:
            raise TrainingError(f"{recipe_path}: only the second stage of a distillation takes a teacher")
        return None
    if not given and section.teacher is None:
        raise TrainingError(f"{recipe_path}: distillation.stage 2 needs the first stage's run: --teacher RUN")
    from trainer.defenses.soft_labels import labels_from_runs

    folders = [Path(g) for g in given] or [recipe_path.parent / str(section.teacher)]
    return labels_from_runs(folders, data, section.temperature, out, cross_fit=section.cross_fit)


def build_models(recipe: Recipe, data: Dataset, start: Path | None) -> tuple[Any, Any | None]:
    """(classifier, encode_decode or None); the weights come from run ``start`` if given, those of the encode-decode
    where it has one.
    """
    from trainer.models import encode_decode, registry

    classifier = registry.build(recipe.model.name, data.spec, **recipe.model.arguments)
    front = None
    if recipe.model.encode_decode is not None:
        front = encode_decode.build(data.spec, **recipe.model.encode_decode)
    if start is not None:
        kept, kept_front = read_start(start)
        _take_weights(classifier, kept, start, "classifier")
        if front is not None and kept_front is not None:
            _take_weights(front, kept_front, start, "encode-decode")
    return classifier, front


def read_start(start: Path) -> tuple[Any, Any | None]:
    """(classifier, encode_decode or None) of a finished run, or of a folder that has only its twin.keras (the zoo's).

    Raises:
        TrainingError: the folder has neither.
    """
    import keras

    from trainer.models import registered as _registered  # noqa: F401  (before loading)

    def load(name: str) -> Any:
        return keras.models.load_model(start / name, compile=False)

    if (start / "classifier.keras").exists():
        return load("classifier.keras"), load(ENCODE_DECODE) if (start / ENCODE_DECODE).exists() else None
    if not (start / "twin.keras").exists():
        raise TrainingError(
            f"{start}: no classifier.keras; give a finished run of the same classifier with --start"
        )
    twin = load("twin.keras")
    inside = [layer for layer in twin.layers if isinstance(layer, keras.Model)]
    if not inside:
        return twin, None
    front = next((m for m in inside if m.name == Path(ENCODE_DECODE).stem), None)
    return next(m for m in inside if m is not front), front


def _take_weights(model: Any, source: Any, start: Path, what: str) -> None:
    weights = source.get_weights()
    if [w.shape for w in weights] != [w.shape for w in model.get_weights()]:
        raise TrainingError(f"{start}: another shape of {what} than the recipe's [model]")
    model.set_weights(weights)


def validator(recipe: Recipe, model: Any, windows: Windows) -> Callable[[], tuple[float, float]]:
    """Clean accuracy, and accuracy under PGD-10 at the recipe's smallest budget, on validation windows."""
    from keras import ops

    from trainer import gradients
    from trainer.defenses.base import logits_of

    n = min(len(windows), recipe.training.validate_limit)
    steps = preprocess.parse_steps(recipe.data.preprocess)
    x = prepare(windows.x[:n], windows.valid[:n], steps)
    valid = windows.valid[:n, :, None].astype(np.float32)
    y, classes = windows.y[:n], len(windows.spec.labels)
    target = np.eye(classes, dtype=np.float32)[y]
    smallest = min(recipe.defense.epsilons, default=0.0)
    raw = np.full((n, 1, 1), smallest, np.float32)
    epsilon = np.broadcast_to(budget(windows.x[:n], windows.valid[:n], raw, steps), (n, *x.shape[1:]))
    attack = AdversarialTraining(steps=10, step_share=0.25)
    size = min(64, n)

    def predict(x: Any, valid: Any, target: Any, epsilon: Any) -> tuple[Any, Any]:
        clean = ops.argmax(logits_of(model(x, training=False)), -1)
        if not smallest:
            return clean, clean
        adversarial = attack.attack(model, x, valid, target, ops.zeros_like(x), epsilon)
        return clean, ops.argmax(logits_of(model(adversarial, training=False)), -1)

    compiled = gradients.compiled(predict)

    def run() -> tuple[float, float]:
        clean, robust = np.empty(n, np.int64), np.empty(n, np.int64)
        for begin in range(0, n, size):
            part = slice(
                min(begin, n - size), min(begin, n - size) + size
            )  # the last block overlaps: one shape
            c, r = compiled(*(gradients.tensor(a[part]) for a in (x, valid, target, epsilon)))
            clean[part], robust[part] = np.asarray(c), np.asarray(r)
        return float(np.mean(clean == y)), float(np.mean(robust == y)) if smallest else float("nan")

    return run


def train(
    recipe_path: str | Path,
    data_path: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    start: str | Path | None = None,
    teacher: str | Path | Sequence[str | Path] = (),
    report: Report = lambda _: None,
    parts: tuple[Dataset, Dataset] | None = None,
) -> Path:
    """Train the recipe and fill the run folder ``out``; gives its path.

    Args:
        start: a finished run whose classifier, and encode-decode if it has one, are the starting point.
        teacher: the first stage's finished run, or several, for a recipe of the second stage of a distillation.
        parts: (training, validation) data, for callers that hold it already.

    Raises:
        TrainerError: recipe, data or folder cannot be used; the text says which and what to do.
    """
    recipe_path, out = Path(recipe_path), Path(out)
    teachers = [teacher] if isinstance(teacher, (str, Path)) else list(teacher)
    recipe = read_recipe(recipe_path)
    training, validation = enlarge(recipe, *(parts or load_parts(recipe, data_path)))
    open_run(out, recipe_path, resume)
    with held(out):
        _phases(
            recipe,
            recipe_path,
            training,
            validation,
            out,
            resume,
            Path(start) if start else None,
            teachers,
            report,
        )
        facts = {
            "spec": asdict(training.spec),
            "train_records": len(training),
            "validation_records": len(validation),
            "data_path": str(Path(data_path).resolve()),
            "start": str(start) if start else None,
            "teachers": [str(t) for t in teachers]
            or ([recipe.distillation.teacher] if recipe.distillation and recipe.distillation.teacher else []),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        history.plot(out)
        (out / "run.json").write_text(json.dumps(facts, indent=1) + "\n")
    return out


def _phases(
    recipe: Recipe,
    recipe_path: Path,
    training: Dataset,
    validation: Dataset,
    out: Path,
    resume: bool,
    start: Path | None,
    teachers: Sequence[str | Path],
    report: Report,
) -> None:
    """Every phase of the recipe, and the networks that come of it."""
    import keras

    labels = teacher_labels(recipe, recipe_path, teachers, training, out)
    keras.utils.set_random_seed(recipe.training.seed)
    classifier, front = build_models(recipe, training, start)

    from trainer.defenses import registry
    from trainer.models import encode_decode

    arguments = dict(recipe.defense.arguments)
    if recipe.distillation is not None and recipe.defense.name != "adversarial_training":
        arguments["temperature"] = recipe.distillation.temperature
    defense = registry.make(recipe.defense.name, **arguments)
    model = classifier
    if front is not None:
        model = encode_decode.join(front, classifier)
        if recipe.training.pretrain_epochs and not (out / ENCODE_DECODE).exists():
            assert isinstance(defense, Reconstructs)  # a recipe with another defence has been refused
            first = Reconstruction(
                noise=defense.noise, unit=defense.reconstruction_unit, power=defense.reconstruction_power
            )
            stage = Trainer(recipe, front, first, training, out, "encode_decode")
            stage.run(None, report, resume)
            with stage.averaged_weights():
                front.save(out / ENCODE_DECODE)
        if recipe.training.pretrain_epochs:
            front.set_weights(keras.models.load_model(out / ENCODE_DECODE, compile=False).get_weights())
        if recipe.training.freeze_encode_decode:
            front.trainable = False  # two-stage reading of paper 1's Fig. 9
    phase = "joint" if front is not None else "classifier"
    stage = Trainer(recipe, model, defense, training, out, phase, labels)
    stage.run(validator(recipe, model, validation.windows()) if len(validation) else None, report, resume)
    with stage.averaged_weights():
        if front is not None:
            front.trainable = True  # as it was built, for whoever loads it
        prior.correct(classifier, stage.weights, recipe.training.prior_correction)
        model.save(out / "twin.keras")
        classifier.save(out / "classifier.keras")
        if front is not None:
            front.save(out / ENCODE_DECODE)
