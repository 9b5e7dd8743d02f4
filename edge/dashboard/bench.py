"""The attack bench: a replayed or simulated stream's latest window, attacked on the page alone.

Two models answer the same window, clean and attacked, both through the code that runs live. Nothing goes back into
the stream: what the agent publishes does not change. A live device is refused here, by the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata

import numpy as np

from edge.bundle import Bundle, resolve_bundle
from edge.dashboard.attacker import Child
from edge.dashboard.attacks import WINDOW_ATTACKS, AttackRefused, Side
from edge.dashboard.explain import pack
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import load_verified
from edge.pipeline.verdict import Judge
from edge.redteam import GROUP, UNIVERSAL, open_attack
from edge.types import FloatArray, Result, Window
from edge.zoo import waveform_file

MAX_EPSILON = 100.0


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


class Bench:
    """The attacks that are here and the two models. Used by one thread; models are loaded at the first attack."""

    def __init__(self, compare: str) -> None:
        self._compare = compare
        self._sides: tuple[Side, Side | None] | None = None
        self._child = Child()

    def close(self) -> None:
        self._child.close()

    def names(self, bundle: Bundle) -> list[str]:
        """Attacks that can be tried: ours, the bundles' stored waveform, and what installed packages offer."""
        stored = any(waveform_file(name) is not None for name in (bundle.manifest.name, self._compare))
        found = sorted({entry.name for entry in metadata.entry_points(group=GROUP)} - {UNIVERSAL, *WINDOW_ATTACKS})
        return [*WINDOW_ATTACKS, *([UNIVERSAL] if stored else []), *found]

    def run(
        self, bundle: Bundle, window: Window, result: Result, name: str, epsilon: float, white_box: bool = False
    ) -> dict[str, object]:
        """Both models' answers to the window, clean and attacked. `white_box`: the attack is made against the agent's
        own model, not against the one beside it. Raises EdgeError.
        """
        if not 0.0 < epsilon <= MAX_EPSILON:
            raise AttackRefused(f"a budget of {epsilon:g} is not between 0 and {MAX_EPSILON:g}")
        defended, other = self._load(bundle)
        target = defended if white_box or other is None else other
        delta = self._delta(name, window, epsilon, target)
        # Not trusted to keep to its budget.
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
            "white_box": target is defended,
            "labels": list(bundle.manifest.labels),
            "units": bundle.manifest.input.units,
            "largest": round(float(np.abs(delta).max(initial=0.0)), 3),
            "rms": round(float(np.sqrt(np.mean(np.square(delta, dtype=np.float64)))), 3),
            "signal_std": round(size, 2),
            "delta": pack(delta[:, 0]),
            "clean": pack(np.where(window.valid, window.values[:, 0], np.nan)),
            "sides": sides,
        }

    def _delta(self, name: str, window: Window, epsilon: float, target: Side) -> FloatArray:
        if name in WINDOW_ATTACKS:
            return WINDOW_ATTACKS[name](window, epsilon, target)
        if name not in self.names(target.bundle):
            raise AttackRefused(f"no attack {name[:40]!r}; there are {', '.join(self.names(target.bundle))}")
        seed = window.first_index & 0x7FFFFFFF
        if name == UNIVERSAL:
            attack = open_attack(name, target.bundle)
            attacked = attack(target.bundle.name, window.values.copy(), epsilon, seed)
        else:
            attacked = self._child.attack(name, target.bundle.name, window.values, epsilon, seed)
        delta: FloatArray = np.asarray(attacked, np.float32) - window.values
        if delta.shape != window.values.shape or not np.isfinite(delta).all():
            raise AttackRefused(f"attack {name!r} gave a window of another shape, or one that is not finite")
        return delta

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
