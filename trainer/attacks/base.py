"""What every attack shares: hyper-parameters at construction, data at the call, and no trust in the attack.

The base class cuts the result to the ball and the mask again and refuses what is not finite, so that an attack
with a mistake in it gives an error or a weaker attack, never a figure outside its budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from trainer.attacks.norms import budget, check_mask, project_linf
from trainer.errors import AttackError
from trainer.models.wrap import AttackModel


class Attack(ABC):
    """One attack. Subclasses implement :meth:`perturb`.

    Args:
        epsilon: L-infinity budget in the window's units; a number, (n,), or what broadcasts to (n, time, channel).
    """

    name = "attack"
    gradient = "none"  # how the gradient is had: "exact", "bpda:<surrogate>", "none"
    queries_model = False  # asks the model for its answers, without gradients
    steps = 0
    restarts = 1

    def __init__(self, *, epsilon: float | np.ndarray) -> None:
        self.epsilon = epsilon

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
            valid: (n, time) bool: the samples that may be attacked; all when None.
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
        epsilon = budget(self.epsilon, x.shape)
        if not len(x):
            return x.copy()
        x_adv = self.perturb(
            model, x, np.asarray(y, np.int64), mask, epsilon, rng or np.random.default_rng(0)
        )
        if x_adv.shape != x.shape or not np.all(np.isfinite(x_adv)):
            raise AttackError(f"{self.name}: the attack gave windows that are not finite or of another shape")
        return project_linf(x_adv, x, epsilon, mask)

    @abstractmethod
    def perturb(
        self,
        model: AttackModel,
        x: np.ndarray,
        y: np.ndarray,
        mask: np.ndarray,
        epsilon: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Attacked windows; ``mask`` (n, time, 1) floats, ``epsilon`` broadcasts to ``x``."""

    def describe(self) -> dict[str, Any]:
        """What a report row says of the attack."""
        return {"steps": self.steps, "step_size": None, "restarts": self.restarts, "gradient": self.gradient}
