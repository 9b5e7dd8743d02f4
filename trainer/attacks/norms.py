"""Balls and masks, pure numpy. Budgets broadcast: one number, one a record, one a channel, in physical units.

A ball is that of the change divided by its budget, sample by sample: L-infinity holds the largest such ratio to 1, L2
the root of the sum of their squares. With one epsilon for all samples both are the usual balls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.errors import AttackError

NORMS = ("linf", "l2")
_TINY, _NONE = 1e-30, 1e-12


@dataclass(frozen=True)
class Ball:
    """Where the change of n windows may lie.

    Args:
        epsilon: broadcasts to (n, time, channel), n rows; window units.
        low, high: limits of the change of each sample, the budget cut to the signal's bounds; broadcast alike.
        mask: (n, time, 1), 0 where a sample may not change.
        norm: of ``NORMS``.
    """

    epsilon: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mask: np.ndarray
    norm: str = "linf"

    @property
    def valid(self) -> np.ndarray:
        """(n, time) bool."""
        return np.asarray(self.mask[..., 0] > 0)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.epsilon, self.low, self.high, self.mask

    def rows(self, index: np.ndarray) -> Ball:
        """The ball of these records."""
        return Ball(*(a[index] for a in self.arrays), norm=self.norm)

    def project(self, delta: np.ndarray) -> np.ndarray:
        """``delta`` (n, time, channel) cut to the limits and the mask and, in L2, scaled onto the ball."""
        cut = np.clip(delta, self.low, self.high) * self.mask
        if self.norm == "l2":
            cut = cut / np.maximum(self.length(cut), 1.0)
        return np.asarray(cut, np.float32)

    def length(self, delta: np.ndarray) -> np.ndarray:
        """(n, 1, 1) norm of ``delta`` in units of the budget; samples without a budget do not count."""
        ratio = np.divide(delta, self.epsilon, out=np.zeros_like(delta), where=self.epsilon > 0)
        if self.norm == "l2":
            # a little longer than it is, so that rounding never leaves the ball
            return np.sqrt(np.square(ratio, dtype=np.float64).sum((1, 2), keepdims=True)) * (1.0 + 1e-6)
        return np.abs(ratio).max((1, 2), keepdims=True)

    def step(self, gradient: np.ndarray, share: float | np.ndarray) -> np.ndarray:
        """The steepest change of size ``share`` of the ball: signs, or in L2 the gradient at unit length."""
        if self.norm == "linf":
            return np.asarray(share * self.epsilon * np.sign(gradient), np.float32)
        scaled = gradient * self.epsilon * self.mask
        size = np.sqrt(np.square(scaled, dtype=np.float64).sum((1, 2), keepdims=True))
        return np.asarray(share * self.epsilon * scaled / np.maximum(size, _TINY), np.float32)

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """A random change: uniform in the L-infinity ball; of random direction and length in that of L2."""
        shape = (len(self.mask), self.mask.shape[1], self.epsilon.shape[2])
        if self.norm == "linf":
            return self.project(rng.uniform(-1, 1, shape).astype(np.float32) * self.epsilon)
        direction = self.step(rng.standard_normal(shape, np.float32), 1.0)
        return self.project(direction * rng.uniform(0, 1, (shape[0], 1, 1)))


def ball(
    x: np.ndarray,
    epsilon: np.ndarray,
    mask: np.ndarray,
    norm: str = "linf",
    bounds: tuple[float, float] | None = None,
) -> Ball:
    """The ball around ``x``. Samples beyond ``bounds`` (low, high; window units) stay where they are or come nearer.

    ``epsilon`` as ``budget`` gives it, ``mask`` as ``check_mask``.
    """
    full = np.broadcast_to(epsilon, (*epsilon.shape[:2], x.shape[2])).astype(np.float32)
    low, high = -full, full
    if bounds is not None:
        low = np.maximum(low, np.minimum(np.float32(bounds[0]) - x, 0))
        high = np.minimum(high, np.maximum(np.float32(bounds[1]) - x, 0))
    return Ball(full, low, high, mask, norm)


def budget(epsilon: float | np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """``epsilon`` as (n, 1 or time, 1 or channel) float32: a number, (n,), or anything that broadcasts.

    A budget under 1e-12, whatever the unit, is none: float32 cannot square and divide by it.

    Raises:
        AttackError: negative, not finite, or of a shape that does not fit.
    """
    e = np.asarray(epsilon, np.float32)
    if not np.all(np.isfinite(e)) or np.any(e < 0):
        raise AttackError(f"epsilon must be a number of at least 0, not {epsilon!r}")
    e = np.where(e < _NONE, np.float32(0), e)
    if e.ndim == 1 and len(e) == shape[0]:
        e = e[:, None, None]
    try:
        fits = np.broadcast_shapes(e.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise AttackError(f"epsilon of shape {e.shape} does not fit windows of shape {shape}")
    return np.broadcast_to(e, np.broadcast_shapes(e.shape, (shape[0], 1, 1))).astype(np.float32)


def linf(x_adv: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(n,) largest absolute change of each window."""
    return np.asarray(np.abs(x_adv - x).reshape(len(x), -1).max(1, initial=0.0), np.float32)


def check_mask(valid: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``valid`` (n, time) as a (n, time, 1) float mask.

    Raises:
        AttackError: another shape.
    """
    if valid.shape != x.shape[:2]:
        raise AttackError(
            f"mask of shape {valid.shape} does not fit windows of shape {x.shape}; it must be {x.shape[:2]}"
        )
    return valid[..., None].astype(np.float32)
