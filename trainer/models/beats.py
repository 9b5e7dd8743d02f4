"""Heart beats in a window, found by rule: where they are, how large, and the signal around each.

In the manner of J. Pan and W. J. Tompkins, "A real-time QRS detection algorithm", 1985: band-pass, energy, threshold
against the record's own beats. An attack of 10 uV moves no R peak; what it could do to a beat near a threshold is for
black-box attacks to find, since places carry no gradient. Refined times, amplitudes and waves carry one.

Departures: the threshold is a share of the median of the largest energies of 2 s, not a running estimate, a second
one compares each beat with the mean of its neighbours, and nothing is searched back. In backend-neutral operations that
TFLite has, so that one implementation trains, is attacked and is deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

RATE_HZ = 100.0  # of places and waves
BAND_HZ = (5.0, 25.0)
TAPS_S = 0.8
FLOOR_UV = 5.0  # energies below are no beat in any record
BLOCK_S, BLOCK_SHARE = 2.0, 0.45
NEAR_S = 0.16  # no second beat this close
NEIGHBOURS, NEIGHBOUR_SHARE = 9, 0.5
BEFORE, AFTER = 30, 50  # samples of a wave before its R peak and from it on
SPARE = 32  # beats that the second threshold may take away


@dataclass(frozen=True)
class Beats:
    """The first beats of each window, in order; what a beat is not there for is 0.

    ``seconds`` (n, beat) from the window's start; ``amplitude`` (n, beat) uV of the band; ``waves`` (n, beat, sample)
    uV at ``RATE_HZ``, each without its mean; ``there`` (n, beat) 1.0 where there is a beat; ``band`` (n, time) uV, and
    ``blocks`` (n, block) uV the largest energies of half-overlapping 2 s, largest first.
    """

    seconds: Any
    amplitude: Any
    waves: Any
    there: Any
    band: Any
    blocks: Any


def band_pass() -> np.ndarray:
    """(tap,) linear-phase band-pass of ``BAND_HZ`` at ``RATE_HZ``, exactly 0 for what does not change."""
    from scipy.signal import firwin

    count = 2 * int(TAPS_S * RATE_HZ / 2) + 1
    taps = firwin(count, BAND_HZ, pass_zero=False, fs=RATE_HZ, window="hamming", scale=False)
    return np.asarray(taps - taps.mean(), np.float32)


def stride_of(rate_hz: float) -> int:
    """Samples of a window for one at ``RATE_HZ``.

    Raises:
        ValueError: not a whole number.
    """
    stride = round(rate_hz / RATE_HZ)
    if stride < 1 or abs(stride * RATE_HZ - rate_hz) > 1e-6:
        raise ValueError(f"beats are found at {RATE_HZ:g} Hz, which does not divide {rate_hz:g} Hz")
    return stride


def find(x: Any, beats: int, rate_hz: float) -> Beats:
    """The beats of x (n, time, 1) in uV at ``rate_hz``, a multiple of ``RATE_HZ``.

    Raises:
        ValueError: another rate.
    """
    from trainer.gradients import in_full

    stride = stride_of(rate_hz)
    x = in_full(x)  # places are whole numbers: in bfloat16 they would be others
    slow = ops.average_pool(x, stride, stride, "same")
    band = in_full(ops.conv(slow, band_pass()[:, None, None], padding="same"))
    energy = ops.sqrt(ops.average_pool(ops.square(band), 9, 1, "same") + 1e-6)
    places, there, blocks = _places(energy, beats)
    near = ops.abs(_cut(band[..., 0], places, 8, 9))
    amplitude = ops.max(near, -1)
    weight = ops.square(ops.square(ops.square(near / (amplitude[..., None] + 1.0)))) + 1e-9
    shift = ops.sum(weight * np.arange(-8, 9, dtype=np.float32), -1) / ops.sum(weight, -1)
    seconds = (ops.cast(places, "float32") + shift) / RATE_HZ
    waves = _cut(slow[..., 0], places, BEFORE, AFTER)
    waves = (waves - ops.mean(waves, -1, keepdims=True)) * there[..., None]
    return Beats(seconds * there, amplitude * there, waves, there, band[..., 0], blocks)


def _cut(signal: Any, places: Any, before: int, after: int) -> Any:
    """(n, beat, before + after) of signal (n, time) around the places; zeros beyond its ends."""
    length = signal.shape[1] + before + after
    signal = ops.reshape(ops.pad(signal, ((0, 0), (before, after))), (-1,))
    first = ops.arange(ops.shape(places)[0], dtype="int32")[:, None] * length
    index = (places + first)[..., None] + np.arange(before + after, dtype=np.int32)
    return ops.take(signal, index, axis=0)


def _places(energy: Any, beats: int) -> tuple[Any, Any, Any]:
    """Whole places (n, beat) in order, 1.0 where there is a beat, and the blocks' largest energies."""
    block = round(BLOCK_S * RATE_HZ)
    blocks = ops.max_pool(energy, block, block // 2, "valid")[..., 0]
    count = blocks.shape[-1]
    blocks, _ = ops.top_k(blocks, count)
    middle = ops.floor(ops.sum(ops.cast(blocks > FLOOR_UV, "float32"), -1, keepdims=True) * 0.5)
    here = ops.cast(ops.equal(middle, np.arange(count, dtype=np.float32)), "float32")
    threshold = ops.maximum(BLOCK_SHARE * ops.sum(blocks * here, -1, keepdims=True), FLOOR_UV)
    near = 2 * round(NEAR_S * RATE_HZ) + 1
    peak = ops.cast(ops.equal(energy, ops.max_pool(energy, near, 1, "same")), "float32")[..., 0]
    energy = energy[..., 0]
    # of equal numbers the first comes first, so that the largest of 0 and 1 are the ones in order
    some = beats + SPARE
    there, index = ops.top_k(peak * ops.cast(energy > threshold, "float32"), some)
    height = _pick(energy, index) * there
    beside = ops.average_pool(ops.stack([height, there], -1), NEIGHBOURS, 1, "same")
    least = NEIGHBOUR_SHARE * beside[..., 0] / (beside[..., 1] + 1e-3)
    there, order = ops.top_k(there * ops.cast(height >= least, "float32"), beats)
    return _pick(index, order), there, blocks


def _pick(values: Any, index: Any) -> Any:
    """(n, k) of values (n, m) at index (n, k)."""
    index = ops.cast(index, "int32")
    first = ops.arange(ops.shape(values)[0], dtype="int32")[:, None] * values.shape[1]
    return ops.take(ops.reshape(values, (-1,)), index + first, axis=0)
