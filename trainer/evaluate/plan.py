"""What an evaluation is asked to do, and what came of one attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.evaluate.checks import Outcome

CLEAN = "clean"
TARGETS = ("float", "int8", "file")
# Records without any gradient count as wrong; above this share the figure would say more of them than of the
# attack.
MAX_ZERO_GRADIENT_SHARE = 0.01


@dataclass(frozen=True)
class Plan:
    """What to run: attacks by name, budgets in the window's units, targets (of ``TARGETS``) and the seed.

    ``settings`` are by attack; ``ball`` holds norm, bounds and quantum for every attack (see ``Attack``).
    """

    attacks: tuple[str, ...] = (CLEAN,)
    epsilons: tuple[float, ...] = ()
    targets: tuple[str, ...] = ("float", "int8")
    seed: int = 0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ball: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One attack at one budget against one target: the worst (n, class) probabilities found for each record.

    ``noticed`` (n,): whether the device's verdict on them was other than "ok"; None where nothing judges.
    ``drowned``, ``constant_gradient``, ``first_step``: see ``checks.Outcome``.
    """

    target: str
    attack: str
    epsilon: float
    about: Mapping[str, Any]
    y: np.ndarray
    probabilities: np.ndarray
    zero_gradient: np.ndarray
    noticed: np.ndarray | None = None
    drowned: bool = False
    constant_gradient: bool = False
    first_step: float | None = None

    @property
    def prediction(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def refused(self) -> bool:
        """Too many records had no gradient for the figure to mean anything."""
        return float(self.zero_gradient.mean()) > MAX_ZERO_GRADIENT_SHARE

    def outcome(self) -> Outcome:
        correct = int((self.prediction == self.y).sum())
        share = float(self.zero_gradient.mean())
        return Outcome(
            self.target, self.attack, self.epsilon, int(self.about["steps"]), len(self.y), correct, share,
            self.drowned, self.constant_gradient, self.first_step,
        )  # fmt: skip
