"""Figures from labels and predictions: pure numpy, scikit-learn's conventions where a class is absent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metrics:
    """Figures of ``n`` records; ``confusion[i, j]`` counts records of class i answered as class j."""

    n: int
    correct: int
    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    confusion: np.ndarray


def confusion(y: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """(class, class) int64: rows are the true class, columns the answer; inputs are (n,) class indices."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (y, prediction), 1)
    return table


def f1_per_class(table: np.ndarray) -> np.ndarray:
    """2 TP / (true + answered) of each class; NaN where a class neither occurs nor is ever answered."""
    hits, total = np.diag(table).astype(np.float64), (table.sum(0) + table.sum(1)).astype(np.float64)
    return _ratio(2.0 * hits, total)


def recall_per_class(table: np.ndarray) -> np.ndarray:
    """TP / true of each class; NaN where a class does not occur."""
    hits, total = np.diag(table).astype(np.float64), table.sum(1).astype(np.float64)
    return _ratio(hits, total)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    result = np.full(len(whole), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def measure(y: np.ndarray, prediction: np.ndarray, classes: int) -> Metrics:
    """All figures of ``prediction`` (n,) against ``y`` (n,), n at least 1.

    Macro F1 averages the classes that occur or are answered, balanced accuracy those that occur.
    """
    table = confusion(y, prediction, classes)
    n, correct = len(y), int(np.trace(table))
    return Metrics(
        n=n,
        correct=correct,
        accuracy=correct / n,
        macro_f1=float(np.nanmean(f1_per_class(table))),
        balanced_accuracy=float(np.nanmean(recall_per_class(table))),
        confusion=table,
    )
