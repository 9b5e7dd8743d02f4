"""SAP as ops inside a compiled training step: the engine's step written out, no host in between.

The engine (``gradient``) loops in Python and looks at every step, which an evaluation wants and a training step
cannot do. This has the same arithmetic and gives the same windows; a test holds the two together. Records whose
gradient is zero simply stay where they are.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.attacks.gradient import smooth
from trainer.attacks.sap import average_kernel
from trainer.defenses.base import cross_entropy, logits_of
from trainer.gradients import input_gradient


def sap(
    model: keras.Model,
    x: Any,
    valid: Any,
    target: Any,
    epsilon: Any,
    *,
    steps: int,
    smooth_steps: int,
    step_share: float,
) -> Any:
    """Attacked windows (n, time, channel) around ``x``; no gradient flows through them.

    Args:
        x: windows as the model takes them, preprocessing done.
        valid: (n, time, 1), 0 where a sample may not move.
        target: (n, class) labels or soft labels whose cross-entropy is raised.
        epsilon: (n, 1, 1) budget, input units.
        steps: t, plain sign steps; smooth_steps: t', sign steps on the smoothed perturbation.
        step_share: alpha as a share of epsilon.
    """
    taps = average_kernel()

    def advance(delta: Any, kernel: Any) -> Any:
        _, gradient = input_gradient(
            lambda d: cross_entropy(target, logits_of(model(x + smooth(d, kernel) * valid, training=False))),
            delta,
        )
        moved = delta + step_share * epsilon * ops.sign(gradient * valid)
        return ops.clip(moved, -epsilon, epsilon) * valid

    delta = ops.zeros_like(x)
    for _ in range(steps):
        delta = advance(delta, None)
    for _ in range(smooth_steps):
        delta = advance(delta, taps)
    return x + ops.stop_gradient(smooth(delta, taps if smooth_steps else None) * valid)
