"""Streaming polyphase resampler in numpy: feeding blocks gives, to the bit, what the whole signal gives.

The filter is the windowed-sinc design of scipy.signal.resample_poly: length 20 * max(up, down) + 1, cut-off
1 / max(up, down) of the higher Nyquist rate, Kaiser window with beta 5 (stop band about -50 dB; Kaiser 1974,
Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5). scipy itself is only the tests' oracle: its
import costs 70 MB. Before the first sample and after the last the signal is held, so that an offset makes no step.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edge.types import FloatArray

__all__ = ["Resampler", "design", "ratio"]

# Half the filter's length in periods of the slower rate, as scipy has it.
_HALF_PERIODS = 10
_KAISER_BETA = 5.0
# Limits the filter bank to 20 * 4096 taps (655 kB). Any ratio is met to 2.5e-4; usual ones exactly.
MAX_FACTOR = 4096
_CLOSE = 1e-9
# Values gathered at once, taps times outputs times channels: 2 MB in float64.
_CHUNK_VALUES = 1 << 18


def ratio(rate_in_hz: float, rate_out_hz: float) -> tuple[int, int]:
    """(up, down) in lowest terms, at most MAX_FACTOR each, nearest to rate_out / rate_in. Raises ValueError."""
    if not (0 < rate_in_hz < math.inf and 0 < rate_out_hz < math.inf):
        raise ValueError(f"rates must be above zero, not {rate_in_hz} and {rate_out_hz} Hz")
    exact = Fraction(rate_out_hz) / Fraction(rate_in_hz)
    if not Fraction(1, MAX_FACTOR) <= exact <= MAX_FACTOR:
        raise ValueError(f"{rate_in_hz} to {rate_out_hz} Hz is more than a factor of {MAX_FACTOR}")
    small = min(exact, 1 / exact)  # the larger of the two factors is the one to bound
    for limit in (16, 256, MAX_FACTOR):
        near = small.limit_denominator(limit)
        if abs(near / small - 1) < _CLOSE:
            break
    return (near.numerator, near.denominator) if exact <= 1 else (near.denominator, near.numerator)


@functools.lru_cache(maxsize=16)
def design(up: int, down: int) -> npt.NDArray[np.float64]:
    """Taps at the upsampled rate, float64 (20 * max(up, down) + 1,), with a gain of `up`."""
    longest = max(up, down)
    half = _HALF_PERIODS * longest
    at = np.arange(-half, half + 1, dtype=np.float64)
    taps = np.sinc(at / longest) / longest * np.kaiser(2 * half + 1, _KAISER_BETA)
    taps *= up / taps.sum()
    taps.setflags(write=False)
    return taps


@functools.lru_cache(maxsize=16)
def _bank(up: int, down: int) -> npt.NDArray[np.float64]:
    """The taps by phase: float64 (taps per phase, up); entry [i, p] meets the i-th newest input at phase p."""
    taps = design(up, down)
    per_phase = -(-taps.size // up)
    padded = np.zeros(per_phase * up)
    padded[: taps.size] = taps
    bank = padded.reshape(per_phase, up)
    bank.setflags(write=False)
    return bank


class Resampler:
    """One stream from `rate_in_hz` to `rate_out_hz`; output m lies at input position m * down / up.

    `first_index` numbers the first input sample; outputs are numbered on the same clock, from `next_index` on,
    so where a stream is joined does not move the grid of its outputs.
    """

    def __init__(
        self, rate_in_hz: float, rate_out_hz: float, *, channels: int = 1, first_index: int = 0
    ) -> None:
        self.up, self.down = ratio(rate_in_hz, rate_out_hz)
        self.next_index = -(-first_index * self.up // self.down)
        self._first = first_index
        self._bank = _bank(self.up, self.down)
        self._half = design(self.up, self.down).size // 2
        # Inputs not yet done with; the first of them has number _base.
        self._held: npt.NDArray[np.float64] = np.zeros((0, channels))
        self._base = first_index

    def push(self, values: FloatArray) -> FloatArray:
        """Take float32 (n, channel); give what can be computed, float32 (m, channel), all samples finite."""
        if values.shape[0] == 0:
            return np.zeros((0, self._held.shape[1]), np.float32)
        block = values.astype(np.float64)
        if self._held.shape[0] == 0:
            lead = np.repeat(block[:1], self._bank.shape[0], axis=0)
            self._base -= lead.shape[0]
            self._held = np.concatenate((lead, block))
        else:
            self._held = np.concatenate((self._held, block))
        # The newest input an output needs is (position + half) // up; it must have come.
        newest = self._base + self._held.shape[0] - 1
        last = ((newest + 1) * self.up - 1 - self._half) // self.down
        return self._produce(last)

    def flush(self) -> FloatArray:
        """The rest, as if the last sample went on for ever; the resampler is then at its end."""
        if self._held.shape[0] == 0:
            return np.zeros((0, self._held.shape[1]), np.float32)
        end = self._base + self._held.shape[0]
        tail = np.repeat(self._held[-1:], self._half // self.up + 1, axis=0)
        self._held = np.concatenate((self._held, tail))
        return self._produce(-(-end * self.up // self.down) - 1)

    def _produce(self, last: int) -> FloatArray:
        parts = []
        most = max(1, _CHUNK_VALUES // (self._bank.shape[0] * self._held.shape[1]))
        while self.next_index <= last:
            count = min(most, last + 1 - self.next_index)
            parts.append(self._outputs(self.next_index, count))
            self.next_index += count
        oldest_needed = (self.next_index * self.down + self._half) // self.up - self._bank.shape[0] + 1
        drop = oldest_needed - self._base
        if drop > 0:
            self._held = self._held[drop:].copy()
            self._base += drop
        if not parts:
            return np.zeros((0, self._held.shape[1]), np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _outputs(self, first: int, count: int) -> FloatArray:
        # Python ints: index * down may pass 64 bits on a stream that counts long.
        start = first * self.down + self._half - self._base * self.up
        at = start + np.arange(count, dtype=np.int64) * self.down
        newest, phase = at // self.up, at % self.up
        reach = np.arange(self._bank.shape[0], dtype=np.int64)
        gathered = self._held[newest[None, :] - reach[:, None]]
        gathered *= self._bank[:, phase, None]
        # accumulate adds in order whatever the block sizes are; sum() and matmul choose theirs by shape.
        np.add.accumulate(gathered, axis=0, out=gathered)
        outputs: FloatArray = gathered[-1].astype(np.float32)
        return outputs
