"""Attacks on a stream whose windows start where the attacker does not know.

``blockwise`` cuts the stream into blocks of the window's length from a start of its own and attacks each one as if it
were a window; the device's windows lie across two of them. It sees each block whole before it alters it, which is
more than a wire allows: an upper bound on what such an attack does in real time. ``universal`` needs no look at the
signal at all (see ``trainer.attacks.universal``).
"""

from __future__ import annotations

import numpy as np

from trainer.attacks import bpda
from trainer.attacks.base import Attack
from trainer.attacks.pgd import wrong_margin
from trainer.models.wrap import AttackModel


def blockwise(
    attack: Attack, model: AttackModel, signal: np.ndarray, length: int, rng: np.random.Generator
) -> np.ndarray:
    """The attacked stream, float32, of the shape of ``signal`` (time, channel) in the model's units.

    Each block is moved away from what the model says of it; of several surrogates the one of the largest margin
    counts. Blocks at both ends are partly empty, and masked there.

    Raises:
        AttackError: as the attack.
    """
    signal = np.ascontiguousarray(signal, np.float32)
    before = int(rng.integers(0, length))
    count = -(-(before + len(signal)) // length)
    frame = np.zeros((count * length, signal.shape[1]), np.float32)
    valid = np.zeros(count * length, bool)
    frame[before : before + len(signal)] = signal
    valid[before : before + len(signal)] = True
    x, mask = frame.reshape(count, length, -1), valid.reshape(count, length)
    y = model.predict(x, mask).argmax(-1)
    worst, worst_margin = x, np.full(count, -np.inf)
    for _, candidate in bpda.candidates(attack, model, x, y, mask, rng):
        margin = wrong_margin(model.predict(candidate, mask), y)
        worst = np.where((margin > worst_margin)[:, None, None], candidate, worst)
        worst_margin = np.maximum(margin, worst_margin)
    return np.asarray(worst.reshape(frame.shape)[before : before + len(signal)], np.float32)


def play(waveform: np.ndarray, epsilon: float, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The stream with a waveform (period, channel) of -1 to 1 on it, from a random phase on."""
    at = (int(rng.integers(0, len(waveform))) + np.arange(len(signal))) % len(waveform)
    return np.asarray(signal + epsilon * waveform[at], np.float32)
