"""Training windows cut from records: random placement, crop, gain and sign; numpy, explicit generator.

Random placement and cropping matter on CinC 2017, where a record's length alone tells the classes apart a
little: a net that sees records always centred learns the padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.base import Dataset


@dataclass(frozen=True)
class Augment:
    """How a training window is drawn. ``gain`` is the standard deviation of the log gain."""

    place: bool = True
    crop: float = 0.5
    crop_min: float = 0.5
    gain: float = 0.2
    sign: float = 0.5
    noise: float = 0.0
    warp: float = 0.0


def draw(
    data: Dataset, index: np.ndarray, augment: Augment, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One random window for each record in ``index``: x (n, time, channel) float32 and valid (n, time) bool.

    A crop never goes below ``crop_min`` of the record, and never touches the label.
    """
    length, channels = data.spec.window_samples, len(data.spec.channels)
    x = np.zeros((len(index), length, channels), np.float32)
    valid = np.zeros((len(index), length), bool)
    for row, i in enumerate(index):
        signal = data.signals[i]
        if augment.warp:
            signal = warped(signal, augment.warp, rng)
        n = len(signal)
        if rng.random() < augment.crop:
            n = max(1, int(n * rng.uniform(augment.crop_min, 1.0)))
        n = min(n, length)
        start = int(rng.integers(0, len(signal) - n + 1)) if augment.place else 0
        left = int(rng.integers(0, length - n + 1)) if augment.place else (length - n) // 2
        factor = np.exp(rng.normal(0.0, augment.gain)) * (-1.0 if rng.random() < augment.sign else 1.0)
        x[row, left : left + n] = signal[start : start + n] * np.float32(factor)
        valid[row, left : left + n] = True
    if augment.noise:
        x += rng.normal(0.0, augment.noise, x.shape).astype(np.float32) * valid[..., None]
    return x, valid


def warped(signal: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """``signal`` (time, channel) read at a smoothly varying speed, at least 1 - ``strength`` of the even one.

    The clock is the even one plus a sum of three sines that leaves both ends in place, so length and ends stay.
    """
    n = len(signal)
    t = np.linspace(0.0, 1.0, n)
    waves = np.arange(1, 4)
    # a sine of k half-waves changes the speed by pi k times its amplitude: the shares sum to at most 1
    amplitude = strength * rng.uniform(-1, 1, 3) / (3 * np.pi * waves)
    clock = t + (amplitude[:, None] * np.sin(np.pi * waves[:, None] * t)).sum(0)
    return np.stack([np.interp(clock, t, c) for c in signal.T], axis=1).astype(np.float32)


def mixed(share: float, rng: np.random.Generator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """``share`` of the rows of each array (n, ...) mixed with another row: windows and labels of a batch alike.

    Source: H. Zhang and others, "mixup: beyond empirical risk minimization", 2018, with weights uniform in [0.5, 1].
    """
    n = len(arrays[0])
    keep = np.where(rng.random(n) < share, rng.uniform(0.5, 1.0, n), 1.0).astype(np.float32)
    other = rng.permutation(n)

    def mix(a: np.ndarray) -> np.ndarray:
        weight = keep.reshape(-1, *(1,) * (a.ndim - 1))
        return weight * a + (1 - weight) * a[other]

    return tuple(mix(a) for a in arrays)


def class_sampler(
    y: np.ndarray, weights: dict[int, float], count: int, rng: np.random.Generator
) -> np.ndarray:
    """``count`` indices into ``y``: each record drawn in proportion to its class's weight.

    Draws without replacement first within whole passes, so that every record of weight 1 is seen about once
    an epoch: a record of weight w is listed floor(w) times, and once more with probability w - floor(w).
    """
    per_record = np.array([weights.get(int(label), 1.0) for label in y])
    listed: list[np.ndarray] = []
    total = 0
    while total < count:
        repeats = np.floor(per_record + rng.random(len(y))).astype(int)
        indices = np.repeat(np.arange(len(y)), repeats)
        rng.shuffle(indices)
        listed.append(indices)
        total += len(indices)
    return np.concatenate(listed)[:count]
