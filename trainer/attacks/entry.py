"""This trainer's attacks for ``edge-agent attack``, found by the entry-point group ``wavewall.attacks``.

An entry is a function ``(bundle, signal, epsilon, seed) -> attacked``: the bundle's file, a signal (time, channel)
float32 at the bundle's rate and in its units, the largest change of a sample, and the seed of every random choice.
It gives an attacked signal of the same shape.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

StreamAttack = Callable[[str, np.ndarray, float, int], np.ndarray]
_MODELS: dict[str, object] = {}


def __getattr__(name: str) -> StreamAttack:
    """The attack of that name in the registry, on a stream."""
    if name.startswith("_"):
        raise AttributeError(name)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from trainer.attacks import registry

    if name not in registry.ATTACKS:
        raise AttributeError(f"no attack is called {name!r}")

    def attack(bundle: str, signal: np.ndarray, epsilon: float, seed: int) -> np.ndarray:
        from trainer.attacks.streaming import blockwise
        from trainer.evaluate.subject import Subject, open_subject

        subject = _MODELS.get(bundle)
        if not isinstance(subject, Subject):
            subject = _MODELS[bundle] = open_subject(bundle)
        made = registry.make(name, epsilon=epsilon)
        length = subject.spec.window_samples
        return blockwise(made, subject.twin, signal, length, np.random.default_rng(seed))

    return attack
