"""How well a bundle's detector tells attacked windows: receiver operating curves against a blind and an aware attacker.

The suspicion of a window is the larger of its residual and its disagreement, each over the bundle's threshold: above
1 the agent says ``suspect``. Clean windows that are suspected are false alarms; of attacked ones those count that the
attack turned from right to wrong, since a detector has nothing to save where the answer holds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge.pipeline.classify import Classifier
from edge.types import Window
from trainer.evaluate.intervals import Z95, share_of
from trainer.evaluate.subject import Subject

SHARES = (0.01, 0.05)  # of false alarms, at which the curves are read
MAX_POINTS = 80  # of a curve in the JSON


@dataclass(frozen=True)
class Seen:
    """What the file said: ``probabilities`` (n, class) and ``suspicion`` (n,), 0 where the bundle has no detector."""

    probabilities: np.ndarray
    suspicion: np.ndarray

    @property
    def prediction(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(axis=1))


def look(device: Classifier, x: np.ndarray, valid: np.ndarray) -> Seen:
    """The file's answers to windows (n, time, channel), by the device's own code."""
    limits, rate_hz = device.manifest.decision, device.manifest.input.rate_hz
    probabilities, suspicion = [], []
    for values, used in zip(x, valid, strict=True):
        padded = int(used.size - used.sum())
        scores = device.classify(Window("report", "0", 0, 0.0, rate_hz, values, used, padded=padded))
        pairs = ((scores.residual, limits.suspect_residual), (scores.disagreement, limits.suspect_disagreement))
        shares = [value / limit for value, limit in pairs if value is not None and limit]
        probabilities.append(scores.probabilities)
        suspicion.append(max(shares, default=0.0))
    return Seen(np.asarray(probabilities, np.float32), np.asarray(suspicion, np.float64))


def has_detector(subject: Subject) -> bool:
    """Whether any threshold makes a window suspect."""
    if subject.bundle is None:
        return False
    decision = subject.bundle.manifest.decision
    return bool(decision.suspect_residual or decision.suspect_disagreement)


def curve(clean: np.ndarray, flips: np.ndarray) -> dict[str, Any]:
    """The receiver operating curve of suspicions ``clean`` (n,) and ``flips`` (m,), m at least 1.

    ``auc`` is the chance that a turned window is more suspect than a clean one, with the interval of Hanley and
    McNeil (1982).
    """
    limits = np.unique(np.concatenate([clean, flips]))
    spread_out = limits[np.unique(np.linspace(0, len(limits) - 1, MAX_POINTS).round().astype(int))]
    chosen = np.union1d(spread_out, [1.0])  # the bundle's own point lies on its curve
    points = [[1.0, 1.0], *([float((clean > t).mean()), float((flips > t).mean())] for t in chosen)]
    n, m = len(clean), len(flips)
    ordered = np.sort(clean)
    below, upto = np.searchsorted(ordered, flips, "left"), np.searchsorted(ordered, flips, "right")
    auc = float((below + upto).sum() / (2 * n * m))
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = np.sqrt(max(0.0, auc * (1 - auc) + (m - 1) * (one - auc**2) + (n - 1) * (two - auc**2)) / (n * m))
    low, high = max(0.0, auc - Z95 * spread), min(1.0, auc + Z95 * spread)
    at = [_reading("the bundle's thresholds", 1.0, clean, flips)]
    for share in SHARES:
        limit = float(np.quantile(clean, 1.0 - share, method="higher"))
        at.append(_reading(f"{100 * share:g} % false alarms", limit, clean, flips))
    return {"points": points, "auc": auc, "auc_low": float(low), "auc_high": float(high), "at": at}


def _reading(name: str, limit: float, clean: np.ndarray, flips: np.ndarray) -> dict[str, Any]:
    return {
        "at": name,
        "suspicion": limit,
        "false_alarms": asdict(share_of(int((clean > limit).sum()), len(clean))),
        "noticed": asdict(share_of(int((flips > limit).sum()), len(flips))),
    }
