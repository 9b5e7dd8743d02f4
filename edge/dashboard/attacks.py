"""Attacks on one window for the bench, and those of other packages in a process of its own.

What is here needs no gradient. What the entry-point group `wavewall.attacks` offers (see edge.redteam) may load a
whole training framework, which has no place in an agent: it runs in a child.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.bundle import Bundle
from edge.errors import EdgeError
from edge.pipeline.classify import Classifier
from edge.pipeline.verdict import Judge
from edge.types import FloatArray, Scores, Window

STORED = Path(__file__).resolve().parents[1] / "demo" / "data" / "perturbation.npz"
_SHIFTS = 24
_TRIES = 60


class AttackRefused(EdgeError):  # noqa: N818 - a decision, not a fault
    """This stream, this attack or this budget is not for the bench; the sentence says why."""


@dataclass(frozen=True)
class Side:
    """One of the two models, ready to answer. Used by one thread."""

    bundle: Bundle
    classifier: Classifier
    judge: Judge

    def answer(self, window: Window) -> dict[str, object]:
        """Plain facts about the model's verdict on a window."""
        scores = self.classifier.classify(window)
        verdict = self.judge.push(window, scores)
        return {
            "label": verdict.label,
            "score": round(verdict.score, 4),
            "status": verdict.status,
            "reason": verdict.reason,
            "p": [round(p, 4) for p in verdict.probabilities.values()],
            "residual": verdict.residual,
        }

    def scores(self, window: Window) -> Scores:
        return self.classifier.classify(window)


Attack = Callable[[Window, float, Side], FloatArray]
"""(window, budget in its unit, the model it is made against) -> perturbation float32 (n, channel)."""


def stored(window: Window, epsilon: float, target: Side) -> FloatArray:
    """The demo's stored waveform, in step with the sample count: made for the demo's recording, in 10 uV."""
    return _cut(_waveform(window.values.shape), window.first_index, window, epsilon)


def best_stored(window: Window, epsilon: float, target: Side) -> FloatArray:
    """The same waveform at the best of some places of it: what an attacker tries who does not know the recording."""
    wave, clean = _waveform(window.values.shape), target.scores(window)
    best = int(clean.probabilities.argmax())
    found, least = np.zeros_like(window.values), np.inf
    for at in range(_SHIFTS):
        delta = _cut(wave, at * len(wave) // _SHIFTS, window, epsilon)
        margin = _margin(target, window, delta, best)
        if margin < least:
            found, least = delta, margin
    return found


def search(window: Window, epsilon: float, target: Side) -> FloatArray:
    """A short random search over stretches of plus or minus the budget, knowing only the model's scores (after
    Andriushchenko and others, "Square Attack", 2020; here stretches of time, a geometric schedule of their
    length, and few queries, so that it stays live)."""
    rng = np.random.default_rng(window.first_index & 0x7FFFFFFF)
    length, channels = window.values.shape
    best = int(target.scores(window).probabilities.argmax())
    found = np.repeat(_random_signs(rng, (-(-length // 30), channels), epsilon), 30, axis=0)[:length]
    least = _margin(target, window, found, best)
    for k in range(_TRIES):
        size = max(8, int(length * 0.3 * 0.94**k))
        at = int(rng.integers(0, max(1, length - size)))
        tried = found.copy()
        tried[at : at + size] = _random_signs(rng, (1, channels), epsilon)
        margin = _margin(target, window, tried, best)
        if margin < least:
            found, least = tried, margin
    return found


def signs(window: Window, epsilon: float, target: Side) -> FloatArray:
    """Plus or minus the budget by chance: what a change of this size does when nobody aims it."""
    rng = np.random.default_rng(window.first_index & 0x7FFFFFFF)
    return _random_signs(rng, window.values.shape, epsilon)


def _random_signs(rng: np.random.Generator, shape: tuple[int, ...], epsilon: float) -> FloatArray:
    signs: FloatArray = rng.choice(np.array([-epsilon, epsilon], np.float32), shape)
    return signs


def _margin(target: Side, window: Window, delta: FloatArray, best: int) -> float:
    p = target.scores(replace(window, values=window.values + delta * window.valid[:, None])).probabilities
    return float(p[best] - np.delete(p, best).max())


def _waveform(shape: tuple[int, ...]) -> FloatArray:
    """The stored waveform as a share of its own budget, (round, 1)."""
    try:
        with np.load(STORED, allow_pickle=False) as arrays:
            wave = arrays["delta_uv"].astype(np.float32)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise AttackRefused(f"{STORED.name}: absent or damaged ({error}); install wavewall again") from error
    if wave.shape[1] != shape[1]:
        raise AttackRefused(f"the stored waveform has {wave.shape[1]} channel, this stream has {shape[1]}")
    share: FloatArray = wave / np.float32(np.abs(wave).max())
    return share


def _cut(wave: FloatArray, first: int, window: Window, epsilon: float) -> FloatArray:
    index = (first + np.arange(len(window.values))) % len(wave)
    cut: FloatArray = wave[index] * np.float32(epsilon)
    return cut


WINDOW_ATTACKS: dict[str, Attack] = {"stored": stored, "stored-best": best_stored, "search": search, "signs": signs}
