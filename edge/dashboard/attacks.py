"""The attack bench: a replayed or simulated stream's latest window, attacked on the page alone.

Two models answer the same window, clean and attacked, both through the code that runs live. Nothing goes back into
the stream: what the agent publishes does not change. A live device is refused here, by the server.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.bundle import Bundle, resolve_bundle
from edge.dashboard.explain import pack
from edge.errors import EdgeError
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import load_verified
from edge.pipeline.verdict import Judge
from edge.types import FloatArray, Result, Scores, Window

STORED = Path(__file__).resolve().parents[1] / "demo" / "data" / "perturbation.npz"
MAX_EPSILON = 100.0
_SHIFTS = 24
_TRIES = 60


class AttackRefused(EdgeError):  # noqa: N818 - a decision, not a fault
    """This stream, this attack or this budget is not for the bench; the sentence says why."""


def why_live(source: Mapping[str, object] | None) -> str:
    """Why a stream of this source may not be attacked; "" for one that may: a replay or our simulated device."""
    if source is None:
        return "where this stream comes from is not known"
    kind = source.get("kind")
    if kind == "replay":
        return ""
    if kind == "serial" and source.get("firmware") in ("simulator", "demo"):
        return ""
    return "this is a live device: only replayed recordings and simulated devices can be attacked"


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


class Bench:
    """The attacks that are here and the two models. Used by one thread; models are loaded at the first attack."""

    def __init__(self, compare: str) -> None:
        self._compare = compare
        self._sides: tuple[Side, Side | None] | None = None
        self.attacks: dict[str, Attack] = {
            "stored": stored,
            "stored-best": best_stored,
            "square": square,
            "noise": noise,
        }

    def run(self, bundle: Bundle, window: Window, result: Result, name: str, epsilon: float) -> dict[str, object]:
        """Both models' answers to the window, clean and attacked. Raises AttackRefused."""
        attack = self.attacks.get(name)
        if attack is None:
            raise AttackRefused(f"no attack {name[:40]!r}; there are {', '.join(self.attacks)}")
        if not 0.0 < epsilon <= MAX_EPSILON:
            raise AttackRefused(f"a budget of {epsilon:g} is not between 0 and {MAX_EPSILON:g}")
        defended, other = self._load(bundle)
        # The attacker knows the undefended model; where there is none to compare with, the agent's own.
        target = other or defended
        delta = attack(window, epsilon, target)
        delta = np.clip(delta, -epsilon, epsilon) * window.valid[:, None]
        attacked = replace(window, values=(window.values + delta).astype(np.float32))
        sides = []
        for side in filter(None, (other, defended)):
            clean, after = side.answer(window), side.answer(attacked)
            sides.append(
                {
                    "model": side.bundle.manifest.ref,
                    "defended": side is defended,
                    "clean": clean,
                    "attacked": after,
                    "flipped": clean["label"] != after["label"],
                }
            )
        size = float(window.values[window.valid].std()) if window.valid.any() else 0.0
        return {
            "stream": window.stream,
            "id": result.id,
            "t0": window.t0,
            "rate_hz": window.rate_hz,
            "attack": name,
            "epsilon": epsilon,
            "against": target.bundle.manifest.ref,
            "labels": list(bundle.manifest.labels),
            "units": bundle.manifest.input.units,
            "largest": round(float(np.abs(delta).max(initial=0.0)), 3),
            "rms": round(float(np.sqrt(np.mean(np.square(delta, dtype=np.float64)))), 3),
            "signal_std": round(size, 2),
            "delta": pack(delta[:, 0]),
            "clean": pack(np.where(window.valid, window.values[:, 0], np.nan)),
            "sides": sides,
        }

    def _load(self, bundle: Bundle) -> tuple[Side, Side | None]:
        if self._sides is None or self._sides[0].bundle is not bundle:
            own = Side(bundle, Classifier(bundle), Judge(bundle.manifest))
            self._sides = (own, self._other(bundle))
        return self._sides

    def _other(self, bundle: Bundle) -> Side | None:
        """The model to compare with; None where it is this very one or takes other windows."""
        found, classifier = load_verified(resolve_bundle(self._compare), None, 1)
        mine, theirs = bundle.manifest, found.manifest
        if found.sha256 == bundle.sha256 or mine.input != theirs.input or mine.labels != theirs.labels:
            return None
        return Side(found, classifier, Judge(theirs))


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


def square(window: Window, epsilon: float, target: Side) -> FloatArray:
    """A short random search over stretches of plus or minus the budget, knowing only the model's scores (after
    Andriushchenko and others, "Square Attack", 2020; here stretches of time, a geometric schedule of their
    length, and few queries, so that it stays live)."""
    rng = np.random.default_rng(window.first_index & 0x7FFFFFFF)
    length, channels = window.values.shape
    best = int(target.scores(window).probabilities.argmax())
    found = np.repeat(_signs(rng, (-(-length // 30), channels), epsilon), 30, axis=0)[:length]
    least = _margin(target, window, found, best)
    for k in range(_TRIES):
        size = max(8, int(length * 0.3 * 0.94**k))
        at = int(rng.integers(0, max(1, length - size)))
        tried = found.copy()
        tried[at : at + size] = _signs(rng, (1, channels), epsilon)
        margin = _margin(target, window, tried, best)
        if margin < least:
            found, least = tried, margin
    return found


def noise(window: Window, epsilon: float, target: Side) -> FloatArray:
    """Plus or minus the budget by chance: what a change of this size does when nobody aims it."""
    rng = np.random.default_rng(window.first_index & 0x7FFFFFFF)
    return _signs(rng, window.values.shape, epsilon)


def _signs(rng: np.random.Generator, shape: tuple[int, ...], epsilon: float) -> FloatArray:
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


