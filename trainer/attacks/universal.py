"""One waveform for every window (universal perturbation, Moosavi-Dezfooli and others 2017), at any phase.

It needs to know neither the signal nor where the device's windows start, so it can be played on a wire in real time:
the causal attack on a stream. It is learned by sign ascent with momentum (Dong and others 2018) on the mean gradient
of windows that see it at random phases.

Departures from the paper: sign steps on batches in place of one DeepFool step a record; the waveform repeats, and its
phase is unknown, as a live stream has no beginning.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer import gradients
from trainer.attacks.base import Attack
from trainer.attacks.gradient import objective
from trainer.attacks.norms import Ball
from trainer.errors import AttackError
from trainer.models.wrap import AttackModel, padded

BATCH = 32
MOMENTUM = 0.9
PULL = 2.0  # logits past the boundary at which a window no longer pulls


class Universal(Attack):
    """The waveform at a phase of its own for each window; learned on these very windows unless given.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        waveform: (period, channel) of -1 to 1, times epsilon; None learns one.
        period: samples of a learned one; the window's length if None.
        steps: batches to learn from.
        step_share: first step as a share of epsilon; it shrinks to a tenth.
        per_class: a waveform for each class, the same for all its records.
    """

    name = "universal"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        waveform: np.ndarray | None = None,
        period: int | None = None,
        steps: int = 40,
        step_share: float = 0.2,
        per_class: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or step_share <= 0 or (period is not None and period < 1):
            raise ValueError("steps and period must be at least 1 and step_share above 0")
        self.waveform, self.period = waveform, period
        self.steps, self.step_share, self.per_class = steps, step_share, per_class

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        played = np.zeros_like(x)
        # the label stands in for the patient's class, which an attacker of one device may know
        groups = [np.flatnonzero(y == label) for label in np.unique(y)] if self.per_class else [np.arange(len(x))]
        for rows in groups:
            wave, part = self.waveform, ball.rows(rows)
            if wave is None:
                period = self.period or x.shape[1]
                wave = learn(model, x[rows], y[rows], part.mask, part.epsilon, rng, period, self.steps, self.step_share)
            phase = rng.integers(0, len(wave), len(rows))
            played[rows] = part.project(part.epsilon * wave[_index(phase, x.shape[1], len(wave))])
        return x + played

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": self.step_share * float(np.max(self.epsilon))}


def learn(
    model: AttackModel,
    x: np.ndarray,
    y: np.ndarray,
    mask: np.ndarray,
    epsilon: np.ndarray,
    rng: np.random.Generator,
    period: int,
    steps: int,
    step_share: float = 0.2,
) -> np.ndarray:
    """A waveform (period, channel) float32 within -1 to 1 that moves these windows away from ``y`` at any phase.

    Raises:
        AttackError: the gradient is zero for every window of a batch.
    """
    classes = int(model.model.outputs[0].shape[-1])
    target = np.eye(classes, dtype=np.float32)[y]
    every = np.broadcast_to(epsilon, (len(x), *epsilon.shape[1:]))
    size = min(BATCH, len(x))
    step = model.compiled(("universal", period), _gradient(model))
    wave = rng.uniform(-1, 1, (period, x.shape[-1])).astype(np.float32)
    speed = np.zeros_like(wave)
    order = np.concatenate([rng.permutation(len(x)) for _ in range(-(-steps * size // len(x)))])
    for k in range(steps):
        rows = padded(order[k * size : (k + 1) * size], size, x, mask, target, every)
        index = _index(rng.integers(0, period, size), x.shape[1], period)
        pull = np.asarray(step(*(gradients.tensor(a) for a in rows), gradients.tensor(wave), index))
        if not np.any(pull) and not np.any(speed) and np.any(np.asarray(epsilon) > 0):
            raise AttackError(f"{model.name}: the gradient is zero for {size} windows; try another surrogate")
        speed = MOMENTUM * speed + pull / max(float(np.abs(pull).mean()), 1e-30)
        size_now = step_share * (1.0 - 0.9 * k / steps)
        wave = np.clip(wave + size_now * np.sign(speed), -1.0, 1.0).astype(np.float32)
    return wave


def _index(phase: np.ndarray, length: int, period: int) -> np.ndarray:
    """(n, length) positions in the waveform for windows that begin at ``phase`` (n,)."""
    return np.asarray((phase[:, None] + np.arange(length)) % period, np.int32)


def _gradient(model: AttackModel) -> Any:
    from keras import ops

    def step(x: Any, mask: Any, target: Any, epsilon: Any, wave: Any, index: Any) -> Any:
        def loss(w: Any) -> Any:
            # times one, so that what comes back through take is a plain tensor
            window = x + epsilon * ops.take(w * 1.0, index, axis=0) * mask
            margin = objective("margin", model.logits(window, mask), target)
            return -ops.softplus(PULL - margin)

        return gradients.input_gradient(loss, wave)[1]

    return step
