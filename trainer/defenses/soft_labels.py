"""Soft labels of the training records, by one teacher or several; computed once and kept in the run's folder.

A teacher whose recipe left a fold out (``data.leave_out``) has not seen that fold's records, so its probabilities for
them are honest where its others are over-sure. A record's label is the mean over the teachers that have not seen it,
and over all teachers where each has, or where the recipe says ``cross_fit = false``.

A teacher may also be a file of soft labels, made by anything (``.npz``: ``names`` (record,), ``labels`` (record,
class) probabilities): they count as made without the record, at whatever temperature they were made.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import preprocess
from trainer import gradients, zoo
from trainer.data.base import Dataset
from trainer.data.splits import fold_of
from trainer.defenses.base import logits_of
from trainer.defenses.distillation import temperature_softmax
from trainer.errors import TrainingError
from trainer.recipe import DataSection, read_recipe

SOFT_LABELS = "soft_labels.npz"
BATCH = 64


def soft_labels(teacher: Any, data: Dataset, steps: list[dict[str, Any]], temperature: float) -> np.ndarray:
    """(n, class) float32: the teacher's probabilities at T on the clean window of every record of ``data``.

    Args:
        teacher: gives logits, or [logits, reconstruction]; called in inference mode.
        steps: the teacher's own preprocessing.

    Copies of one record (oversampling) are asked for once.
    """
    parsed = preprocess.parse_steps(steps)
    predict = gradients.compiled(
        lambda x: temperature_softmax(logits_of(teacher(x, training=False)), temperature)
    )
    _, first, copies = np.unique(np.asarray(data.names), return_index=True, return_inverse=True)
    found = []
    for begin in range(0, len(first), BATCH):
        index = first[begin : begin + BATCH]
        windows = data.take(np.resize(index, BATCH)).windows()  # one shape, so one trace
        x = np.stack([preprocess.apply(parsed, w, v) for w, v in zip(windows.x, windows.valid, strict=True)])
        found.append(np.asarray(predict(gradients.tensor(x)))[: len(index)])
    return np.asarray(np.concatenate(found)[copies.reshape(-1)], np.float32)


def combine(labels: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> np.ndarray:
    """(n, class) float32: per record the mean over teachers that have not seen it, over all where each has.

    Args:
        labels: each teacher's (n, class) probabilities.
        seen: for each teacher (n,) bool, whether it was trained on the record.
    """
    unseen = ~np.stack(seen)
    weight = np.where(unseen.any(axis=0), unseen, True).astype(np.float64)[..., None]
    return np.asarray((np.stack(labels) * weight).sum(axis=0) / weight.sum(axis=0), np.float32)


def labels_from_runs(
    folders: Sequence[Path], data: Dataset, temperature: float, out: Path, *, cross_fit: bool = True
) -> np.ndarray:
    """Soft labels of ``data`` by the finished runs ``folders``; computed once, then kept in ``out``.

    Raises:
        TrainingError: no finished run and no file of soft labels there, a model for other windows or classes, a record
            without its soft label, or labels kept in ``out`` that came from other teachers, temperature or set of
            records.
    """
    for folder in folders:
        if _is_file_of_labels(folder):
            continue
        if not (folder / zoo.TWIN).is_file() or not (folder / "recipe.toml").is_file():
            raise TrainingError(
                f"{folder}: no finished run; train the first stage and give its folder as teacher"
            )
    made_by = [folder if _is_file_of_labels(folder) else folder / zoo.TWIN for folder in folders]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in made_by]
    key = f"{' '.join(digests)} T={temperature:g}" + ("" if cross_fit else " all")
    names = np.asarray(data.names)
    kept = out / SOFT_LABELS
    if kept.exists():
        with np.load(kept, allow_pickle=False) as saved:
            if str(saved["key"]) != key or not np.array_equal(saved["names"], names):
                raise TrainingError(
                    f"{kept}: soft labels of another teacher, temperature or set of records; give another --out"
                )
            return np.asarray(saved["labels"], np.float32)
    answers = [_answers(folder, data, temperature) for folder in folders]
    labels = combine([a for a, _ in answers], [s if cross_fit else np.ones_like(s) for _, s in answers])
    part = out / f".{SOFT_LABELS}.part"
    with part.open("wb") as stream:
        np.savez(stream, key=np.array(key), names=names, labels=labels)
    os.replace(part, kept)
    return labels


def _answers(folder: Path, data: Dataset, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """A teacher's labels of ``data``, and which records it was trained on."""
    if _is_file_of_labels(folder):
        return _from_file(folder, data), np.zeros(len(data), bool)
    file = folder / zoo.TWIN
    teacher = _load(file)
    expected = (data.spec.window_samples, len(data.spec.channels))
    classes = int(teacher.outputs[0].shape[-1])
    if tuple(teacher.input_shape[1:]) != expected or classes != len(data.spec.labels):
        raise TrainingError(
            f"{file}: takes windows of {tuple(teacher.input_shape[1:])} and knows {classes} classes; the data has "
            f"{expected} and {len(data.spec.labels)}"
        )
    section = read_recipe(folder / "recipe.toml").data
    return soft_labels(teacher, data, section.preprocess, temperature), _seen(section, data)


def _is_file_of_labels(path: Path) -> bool:
    return path.suffix == ".npz" and path.is_file()


def _from_file(file: Path, data: Dataset) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as saved:
            names, labels = [str(name) for name in saved["names"]], np.asarray(saved["labels"], np.float32)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{file}: no file of soft labels (names and labels in .npz): {error}") from error
    shape = (len(names), len(data.spec.labels))
    if labels.shape != shape or not np.all(labels >= 0) or not np.allclose(labels.sum(axis=-1), 1.0, atol=1e-3):
        raise TrainingError(f"{file}: labels must be probabilities of shape {shape}, one row a name")
    at = {name: row for row, name in enumerate(names)}
    absent = next((name for name in data.names if name not in at), None)
    if absent is not None:
        raise TrainingError(f"{file}: record {absent} has no soft label; make the file from the same data")
    return labels[[at[name] for name in data.names]]


def _seen(section: DataSection, data: Dataset) -> np.ndarray:
    if section.leave_out is None:
        return np.ones(len(data), bool)
    return np.array([fold_of(name, section.folds) != section.leave_out for name in data.names])


def _load(file: Path) -> Any:
    import keras

    from trainer.models import registered as _registered  # noqa: F401  (before loading)

    try:
        return keras.models.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{file}: cannot be loaded: {str(error).splitlines()[0][:200]}") from error
