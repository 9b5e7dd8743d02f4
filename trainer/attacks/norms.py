"""Balls and masks, pure numpy. Budgets broadcast: one number, one a record, one a channel, in physical units."""

from __future__ import annotations

import numpy as np

from trainer.errors import AttackError


def budget(epsilon: float | np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """``epsilon`` as (n, 1 or time, 1 or channel) float32: a number, (n,), or anything that broadcasts.

    Raises:
        AttackError: negative, not finite, or of a shape that does not fit.
    """
    e = np.asarray(epsilon, np.float32)
    if not np.all(np.isfinite(e)) or np.any(e < 0):
        raise AttackError(f"epsilon must be a number of at least 0, not {epsilon!r}")
    if e.ndim == 1 and len(e) == shape[0]:
        e = e[:, None, None]
    try:
        fits = np.broadcast_shapes(e.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise AttackError(f"epsilon of shape {e.shape} does not fit windows of shape {shape}")
    return np.broadcast_to(e, np.broadcast_shapes(e.shape, (shape[0], 1, 1))).astype(np.float32)


def project_linf(x_adv: np.ndarray, x: np.ndarray, epsilon: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The nearest window within ``epsilon`` of ``x`` at every sample, equal to ``x`` where ``mask`` is 0."""
    return np.asarray(x + np.clip(x_adv - x, -epsilon, epsilon) * mask, np.float32)


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
