"""Defensive distillation (Papernot and others 2016; paper 2, eq. 1 to 4): temperature softmax and soft labels.

    F_i(X) = exp(z_i(X) / T) / sum_j exp(z_j(X) / T)                      (1)
    first stage:   -1/|chi| sum_X sum_i Y_i(X) log F_i(X)                 (2), (3)
    second stage:  -1/|chi| sum_X sum_i F_i(X) log F^d_i(X)               (4)

The second network F^d is of the same kind as the first, starts from new weights, and learns from the first
one's probabilities on the clean training records, computed once. At test time T is 1.

Departures: the paper's own code computes soft labels with dropout on (the network is never put into inference
mode) and keeps the checkpoint that is best on its test set; here labels come from inference mode and the
teacher is the last epoch's. With augmentation, a record's soft label is that of its whole, unaugmented window.
As in the paper, the loss is not multiplied by T^2.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from edge.bundle import preprocess
from trainer import gradients, zoo
from trainer.data.base import Dataset
from trainer.defenses.base import cross_entropy, logits_of
from trainer.errors import TrainingError

SOFT_LABELS = "soft_labels.npz"
BATCH = 64


def temperature_softmax(logits: Any, temperature: float) -> Any:
    """Eq. 1: (n, class) probabilities of ``logits`` at T; flatter the larger T, uniform in the limit."""
    return ops.softmax(logits / temperature, axis=-1)


def distillation_loss(target: Any, logits: Any, temperature: float) -> Any:
    """Eq. 2 to 4, one value a record: cross-entropy of ``target`` (labels or soft labels) at T."""
    return cross_entropy(target, logits / temperature)


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


def labels_from_run(folder: Path, data: Dataset, temperature: float, out: Path) -> np.ndarray:
    """Soft labels of ``data`` by the finished run ``folder``; computed once, then kept in ``out``.

    Raises:
        TrainingError: no finished run there, a model for other windows or classes, or labels kept in ``out``
            that came from another teacher, temperature or set of records.
    """
    from trainer.recipe import read_recipe

    file = folder / zoo.TWIN
    if not file.is_file() or not (folder / "recipe.toml").is_file():
        raise TrainingError(
            f"{folder}: no finished run; train the first stage and give its folder as teacher"
        )
    key = f"{hashlib.sha256(file.read_bytes()).hexdigest()} T={temperature:g}"
    names = np.asarray(data.names)
    kept = out / SOFT_LABELS
    if kept.exists():
        with np.load(kept, allow_pickle=False) as saved:
            if str(saved["key"]) != key or not np.array_equal(saved["names"], names):
                raise TrainingError(
                    f"{kept}: soft labels of another teacher, temperature or set of records; give another --out"
                )
            return np.asarray(saved["labels"], np.float32)
    teacher = _load(file)
    expected = (data.spec.window_samples, len(data.spec.channels))
    classes = int(teacher.outputs[0].shape[-1])
    if tuple(teacher.input_shape[1:]) != expected or classes != len(data.spec.labels):
        raise TrainingError(
            f"{file}: takes windows of {tuple(teacher.input_shape[1:])} and knows {classes} classes; the data has "
            f"{expected} and {len(data.spec.labels)}"
        )
    labels = soft_labels(teacher, data, read_recipe(folder / "recipe.toml").data.preprocess, temperature)
    part = out / f".{SOFT_LABELS}.part"
    with part.open("wb") as stream:
        np.savez(stream, key=np.array(key), names=names, labels=labels)
    os.replace(part, kept)
    return labels


def _load(file: Path) -> Any:
    import keras

    from trainer.models import layers as _registered  # noqa: F401  (its layers must be known before loading)

    try:
        return keras.models.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{file}: cannot be loaded: {str(error).splitlines()[0][:200]}") from error
