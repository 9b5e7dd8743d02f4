"""Backward pass differentiable approximation (Athalye and others 2018), as a wrapper round any gradient attack.

The thermometer's true gradient is zero almost everywhere. Forward stays the hard code; backward takes a smooth
stand-in. No single stand-in is the strongest for every record, so several are tried and the worst counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.attacks.base import Attack
from trainer.models.wrap import AttackModel


def candidates(
    attack: Attack,
    model: AttackModel,
    x: np.ndarray,
    y: np.ndarray,
    valid: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """(gradient's name, attacked windows) for every surrogate worth trying on this model.

    The names are "exact" for a model without a thermometer and "bpda:<surrogate>" with one; an attack without
    gradients gives one candidate named "none".
    """
    rng = rng or np.random.default_rng(0)
    if attack.gradient == "none":
        yield "none", attack.run(model, x, y, valid, rng)
        return
    for name in model.surrogates:
        with model.surrogate(name):
            yield ("exact" if name is None else f"bpda:{name}"), attack.run(model, x, y, valid, rng)
