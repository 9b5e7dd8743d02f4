"""What every attack shares: hyper-parameters at construction, data at the call, and no trust in the attack.

The base class cuts the result to the ball, the bounds and the mask again and refuses what is not finite, so that an
attack with a mistake in it gives an error or a weaker attack, never a figure outside its budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from trainer.attacks.norms import NORMS, Ball, ball, budget, check_mask
from trainer.errors import AttackError, ZeroGradientError
from trainer.models.wrap import AttackModel


class Attack(ABC):
    """One attack. Subclasses implement :meth:`perturb`.

    Args:
        epsilon: budget in the window's units; a number, (n,), or what broadcasts to (n, time, channel).
        norm: "linf", the most that a sample may change, or "l2", the root of the sum of squared changes.
        bounds: (low, high) that no changed sample passes, window units: what the converter can give.
        quantum: changes are whole multiples of this, window units: one integer of the converter. 0 for any change.
    """

    name = "attack"
    gradient = "none"  # how the gradient is had: "exact", "bpda:<surrogate>", "none"
    queries_model = False  # asks the model for its answers, without gradients
    steps = 0
    restarts = 1

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        norm: str = "linf",
        bounds: tuple[float, float] | None = None,
        quantum: float = 0.0,
    ) -> None:
        self.epsilon, self.norm, self.bounds, self.quantum = epsilon, norm, bounds, quantum
        if norm not in NORMS:
            raise ValueError(f"norm is one of {', '.join(NORMS)}, not {norm!r}")
        if bounds is not None and not (len(bounds) == 2 and bounds[0] < bounds[1]):
            raise ValueError(f"bounds are (low, high) with low below high, not {bounds!r}")
        if not 0 <= quantum < np.inf:
            raise ValueError(f"quantum must be a number of at least 0, not {quantum!r}")

    def run(
        self,
        model: AttackModel,
        x: np.ndarray,
        y: np.ndarray,
        valid: np.ndarray | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Attacked windows, float32, of the shape of ``x``.

        Args:
            x: (n, time, channel) float32 in raw units.
            y: (n,) true labels (what an untargeted attack moves away from).
            valid: (n, time) bool: the samples that may be attacked; all when None. A window without any stays.
            rng: source of every random choice; seeded with 0 when None.

        Raises:
            AttackError: shapes that do not fit, a budget that is no number, or a gradient that is zero.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 3 or len(y) != len(x):
            raise AttackError(
                f"windows must be (n, time, channel) with n labels; got {x.shape} and {len(y)} labels"
            )
        mask = check_mask(np.ones(x.shape[:2], bool) if valid is None else valid, x)
        around = ball(x, budget(self.epsilon, x.shape), mask, self.norm, self.bounds)
        rows = np.flatnonzero(mask.any((1, 2)))
        if not len(rows):
            return x.copy()
        part, labels = around.rows(rows), np.asarray(y, np.int64)[rows]
        try:
            attacked = self.perturb(model, x[rows], labels, part, rng or np.random.default_rng(0))
        except ZeroGradientError as error:  # its records are positions among ``rows``
            raise ZeroGradientError(str(error), tuple(int(i) for i in rows[list(error.records)])) from error
        if attacked.shape != x[rows].shape or not np.all(np.isfinite(attacked)):
            raise AttackError(f"{self.name}: the attack gave windows that are not finite or of another shape")
        x_adv = x.copy()
        x_adv[rows] += self._whole(part.project(attacked - x[rows]))
        return x_adv

    def _whole(self, delta: np.ndarray) -> np.ndarray:
        """``delta`` in whole multiples of the quantum, towards 0, so that it stays in the ball."""
        if not self.quantum:
            return delta
        # a hair more before the cut: 5 quanta computed as 4.999 are 5
        return np.asarray(np.trunc(delta / self.quantum * (1 + 1e-6)) * self.quantum, np.float32)

    @abstractmethod
    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        """Attacked windows; each has a sample that ``ball`` lets change."""

    def describe(self) -> dict[str, Any]:
        """What a report row says of the attack."""
        return {"steps": self.steps, "step_size": None, "restarts": self.restarts, "gradient": self.gradient}
