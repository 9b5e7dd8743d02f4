"""Two records of each bundle as pictures: the one that the attack moved furthest, and the one in the middle.

Chosen by a rule, not by their looks: of the records that the file has right when clean, in the order of the lead that
the best wrong class has over the true one after the attack, the last is the worst and the median is typical.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.data.base import Windows
from trainer.evaluate.subject import Subject
from trainer.report.detector import Seen

SECONDS = 4.0
MAX_SAMPLES = 1200  # of a piece, where the rate is low


def choose(clean: Seen, attacked: Seen, y: np.ndarray) -> dict[str, int]:
    """Indices by kind; empty where the file has no record right."""
    right = np.flatnonzero(clean.prediction == y)
    if not len(right):
        return {}
    rows = attacked.probabilities[right].copy()
    true = rows[np.arange(len(right)), y[right]].copy()
    rows[np.arange(len(right)), y[right]] = -1.0
    ordered = right[np.argsort(rows.max(axis=1) - true, kind="stable")]
    found = {"worst": int(ordered[-1])}
    if len(ordered) > 1:
        found["typical"] = int(ordered[(len(ordered) - 1) // 2])
    return found


def describe(
    kind: str, at: int, subject: Subject, windows: Windows, x_adv: np.ndarray, clean: Seen, attacked: Seen
) -> dict[str, Any]:
    """What the page shows of record ``at``: answers, and the piece in which it was moved most."""
    spec, labels = windows.spec, windows.spec.labels
    length = min(spec.window_samples, round(SECONDS * spec.rate_hz) if spec.rate_hz >= 50 else MAX_SAMPLES)
    before, after = windows.x[at, :, 0].astype(np.float64), x_adv[at, :, 0].astype(np.float64)
    moved = np.convolve(np.abs(after - before), np.ones(length), "valid")
    first = int(moved.argmax())
    digits = 1 if spec.units == "uV" else 4

    def answer(row: np.ndarray) -> dict[str, Any]:
        best = int(row.argmax())
        return {"label": labels[best], "score": round(float(row[best]), 4)}

    twin = subject.twin
    pair, valid = np.stack([windows.x[at], x_adv[at]]), np.stack([windows.valid[at]] * 2)
    from trainer.evaluate.subject import softmax

    by_float = softmax(twin.predict(pair, valid))
    piece = slice(first, first + length)
    return {
        "kind": kind,
        "record": windows.names[at],
        "true": labels[int(windows.y[at])],
        "first_sample": first,
        "rate_hz": spec.rate_hz,
        "units": spec.units,
        "channel": spec.channels[0],
        "largest_change": round(float(np.abs(x_adv[at] - windows.x[at]).max()), 4),
        "clean": {"float": answer(by_float[0]), "file": answer(clean.probabilities[at])},
        "attacked": {
            "float": answer(by_float[1]),
            "file": answer(attacked.probabilities[at]),
            "suspicion": round(float(attacked.suspicion[at]), 4),
        },
        "signal": np.round(before[piece], digits).tolist(),
        "perturbation": np.round(after[piece] - before[piece], digits + 1).tolist(),
    }
