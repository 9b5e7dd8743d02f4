"""Rhythm and shape of a window's beats as a list of numbers, differentiable in the window.

What cardiologists look at and what the strongest entries of the PhysioNet/CinC 2017 challenge counted: how intervals
scatter, how far beats resemble each other, what lies before the R peak. Several series are drawn from
``models.beats.Beats`` (``SERIES``), each is summed up alike (``SUMMARY``), and some numbers more (``MORE``) are about
what follows what. Shares are of soft comparisons, so that an attack finds a gradient. ``NAMES`` lists all.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.models import beats as finder
from trainer.models.beats import BEFORE, FLOOR_UV, Beats
from trainer.models.layers import PACKAGE

FAR = 1e4  # below every number that is sorted
SOFT = 0.01  # of comparisons, as a share of what is compared
# series of one number a beat (interval, step, two seconds); relative: over the median interval
SERIES = (
    "interval",  # s from beat to beat
    "relative",  # the same, relative
    "step",  # from interval to interval, relative, without its sign
    "rough",  # mean step over eight beats
    "alike",  # correlation of a beat's wave with the usual wave
    "height",  # uV of a beat
    "p_rest",  # what the usual wave leaves before the R peak, over the usual height
    "p_alike",  # correlation of what lies before the R peak with the usual
    "energy",  # log of the largest energy of two seconds
    "peaked",  # fourth moment of two seconds over their squared second
)
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
SUMMARY = ("mean", "std", "p0", "p10", "p50", "p90", "p100", "cv", "lag")
SHARES = (
    ("relative", -1.0, 0.85),
    ("relative", 1.0, 1.15),
    ("relative", 1.0, 1.4),
    ("step", 1.0, 0.05),
    ("step", 1.0, 0.1),
    ("alike", -1.0, 0.8),
    ("alike", -1.0, 0.6),
)
MORE = (
    "beats",
    *(f"{name}_{'under' if sign < 0 else 'over'}_{limit:g}" for name, sign, limit in SHARES),
    *("short_then_long", "short_odd", "short_unlike"),
    *("usual_height", "width_half", "width_fifth", "p_max", "p_min", "p_at", "t_max", "t_min", "t_at"),
    *("rest_mean", "rest_rms"),
    *(f"wave_{i}" for i in range(16)),
)
NAMES = (*(f"{series}_{kind}" for kind in SUMMARY for series in SERIES), *MORE)
QRS, P, T, WIDE = (slice(BEFORE - 5, BEFORE + 6), slice(5, 23), slice(40, 80), slice(BEFORE - 13, BEFORE + 14))


@keras.saving.register_keras_serializable(PACKAGE)
class Rhythm(keras.layers.Layer):
    """(n, time, 1) in uV -> (n, len(``NAMES``)). Of the first ``beats`` beats; 0 where there are too few of them."""

    def __init__(self, beats: int = 96, *, rate_hz: float = 300.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beats, self.rate_hz = beats, rate_hz
        finder.stride_of(rate_hz)  # another rate is told when the net is built

    def build(self, shape: tuple[int | None, ...]) -> None:
        needed = max(finder.BLOCK_S, (self.beats + finder.SPARE) / finder.RATE_HZ)
        if shape[-1] != 1 or (shape[1] or 0) < needed * self.rate_hz:
            raise ValueError(f"beats are looked for in windows of one channel and {needed:g} s at least")

    def call(self, x: Any) -> Any:
        found = finder.find(x, self.beats, self.rate_hz)
        series, masks, more = _series(found)
        number = ops.sum(masks, -1)
        summary = _summary(series, masks, number)
        at = np.array([SERIES.index(name) for name, _, _ in SHARES])
        sign = np.array([s for _, s, _ in SHARES], np.float32)[:, None]
        limit = np.array([m for _, _, m in SHARES], np.float32)[:, None]
        picked, there = ops.take(series, at, 1), ops.take(masks, at, 1)
        over = ops.sigmoid((picked - limit) * (sign / SOFT)) * there
        shares = ops.sum(over, -1) / (ops.take(number, at, 1) + 1e-3)
        count = ops.sum(found.there, -1, keepdims=True)
        return ops.concatenate([summary, count, shares, *more], -1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], len(NAMES))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beats": self.beats, "rate_hz": self.rate_hz}


def _summary(v: Any, mask: Any, number: Any) -> Any:
    """(n, kind x series) ``SUMMARY`` of each of v (n, series, k); ``number`` (n, series) of them are there."""
    count = number + 1e-3
    mean = ops.sum(v * mask, -1) / count
    centred = (v - mean[..., None]) * mask
    total = ops.sum(ops.square(centred), -1)
    std = ops.sqrt(total / count + 1e-8)
    lag = ops.sum(centred[..., 1:] * centred[..., :-1], -1) / (total + 1e-4)
    quantiles = _quantiles(v, mask, number, QUANTILES)
    cv = std / (ops.abs(mean) + 1e-2)
    rest = ops.stack([mean, std], 1), quantiles, ops.stack([cv, lag], 1)
    return ops.reshape(ops.concatenate(rest, 1), (-1, len(SUMMARY) * len(SERIES)))


def _quantiles(v: Any, mask: Any, number: Any, shares: tuple[float, ...]) -> Any:
    """(n, share, series); between two values, in proportion."""
    # largest first; what is not there comes last
    ordered = ops.top_k(v * mask - FAR * (1.0 - mask), v.shape[-1])[0]
    there = ops.minimum(number, 1.0)
    upside = np.array([1.0 - s for s in shares], np.float32)[:, None]
    at = upside * ops.maximum(number - 1.0, 0.0)[:, None]
    distance = ops.abs(at[..., None] - np.arange(v.shape[-1], dtype=np.float32))
    weight = ops.maximum(1.0 - distance, 0.0)
    return ops.sum(ops.maximum(ordered, -FAR / 2)[:, None] * weight, -1) * there[:, None]


def _over(v: Any, limit: float, softness: float = SOFT) -> Any:
    """1 where v is over the limit, 0 where it is under, in between softly."""
    return ops.sigmoid((v - limit) * (1.0 / softness))


def _series(b: Beats) -> tuple[Any, Any, list[Any]]:
    """(series (n, series, beat), masks alike, columns (n, some) of ``MORE`` behind its shares)."""
    there, beats = b.there, b.there.shape[1]

    def wide(v: Any) -> Any:
        return ops.pad(v, ((0, 0), (0, beats - v.shape[1])))

    pair = there[:, 1:] * there[:, :-1]
    interval = (b.seconds[:, 1:] - b.seconds[:, :-1]) * pair
    pairs = ops.sum(pair, -1, keepdims=True)
    median = _quantiles(interval[:, None], pair[:, None], pairs, (0.5,))[:, 0]
    relative = interval / (median + 1e-2)
    both = pair[:, 1:] * pair[:, :-1]
    step = ops.abs(relative[:, 1:] - relative[:, :-1]) * both
    run = ops.average_pool(ops.stack([step, both], -1), 7, 1, "valid")
    whole = ops.cast(run[..., 1] > 0.99, "float32")

    count = ops.sum(there, -1, keepdims=True) + 1e-3
    unit = b.waves / (ops.sqrt(ops.sum(ops.square(b.waves), -1, keepdims=True)) + 1.0)
    mean = ops.sum(unit, 1, keepdims=True) / count[..., None]
    others = ops.sum(unit * mean, -1)
    # the usual wave: beats count by how far they resemble the mean one
    weight = ops.square(ops.maximum(others, 0.0)) + 1e-6 * there + 1e-9
    usual = ops.sum(b.waves * weight[..., None], 1) / ops.sum(weight, 1)[:, None]
    alike = _alike(b.waves, usual[:, None])
    peak = usual[:, QRS]
    up = ops.cast(ops.max(peak, -1, keepdims=True) + ops.min(peak, -1, keepdims=True) >= 0, "float32")
    height = ops.max(ops.abs(peak), -1, keepdims=True) + 10.0
    u = usual * (2.0 * up - 1.0) / height
    own = ops.max(ops.abs(b.waves[:, :, QRS]), -1)
    before, p = b.waves[:, :, P], usual[:, None, P]
    p_rest = ops.sqrt(ops.mean(ops.square(before - p), -1) + 1.0) / height
    p_alike = _alike(_levelled(before), _levelled(p))

    energy = ops.log(b.blocks + FLOOR_UV)
    square = ops.square(b.band)[..., None]
    second = ops.average_pool(square, 200, 100, "valid")[..., 0]
    fourth = ops.average_pool(ops.square(square), 200, 100, "valid")[..., 0]
    peaked = fourth / (ops.square(second) + 10.0)
    on = ops.cast(b.blocks > FLOOR_UV, "float32")
    loud = ops.cast(second > 1.0, "float32")

    series = (interval, relative, step, run[..., 0], alike, own, p_rest, p_alike, energy, peaked)
    masks = (pair, pair, both, whole, there, there, there, there, on, loud)
    more = [
        _sequences(relative, pair, alike, count),
        ops.log(height),
        _wave(u),
        _rest(b, usual, height, count),
        u[:, ::5],
    ]
    return ops.stack([wide(s) for s in series], 1), ops.stack([wide(m) for m in masks], 1), more




def _levelled(v: Any) -> Any:
    return v - ops.mean(v, -1, keepdims=True)


def _alike(a: Any, b: Any) -> Any:
    """Correlation of a (n, beat, k) with b (n, 1, k), both without their means."""
    size = ops.sqrt(ops.sum(ops.square(a), -1) + 1e-2) * ops.sqrt(ops.sum(ops.square(b), -1) + 1e-2)
    return ops.sum(a * b, -1) / size


def _sequences(r: Any, pair: Any, alike: Any, count: Any) -> Any:
    """(n, 3): shares of short then long, of short and odd; how unlike the usual wave a beat after a short one is."""
    short, long = _over(-r, -0.87) * pair, _over(r, 1.05) * pair
    after = alike[:, 1:]
    some = [
        ops.sum(short[:, :-1] * long[:, 1:], -1) / count[:, 0],
        ops.sum(short * _over(-after, -0.85), -1) / count[:, 0],
        ops.max(short * (1.0 - after), -1),
    ]
    return ops.stack(some, -1)


def _wave(u: Any) -> Any:
    """(n, 8) of the usual wave over its height: widths, and what lies before and after the R peak."""
    wide = ops.abs(u[:, WIDE])
    columns = [ops.sum(_over(wide, 0.5, 0.03), -1), ops.sum(_over(wide, 0.2, 0.03), -1)]
    for part in (u[:, P], u[:, T]):
        place = np.linspace(0, 1, part.shape[-1], dtype=np.float32)
        where = ops.sum(ops.softmax(part * 20.0, -1) * place, -1)
        columns += [ops.max(part, -1), ops.min(part, -1), where]
    return ops.stack(columns, -1)


def _rest(b: Beats, usual: Any, height: Any, count: Any) -> Any:
    """(n, 2): what the usual wave leaves of the beats, over its height: mean and root mean square."""
    rest = (b.waves - usual[:, None]) * b.there[..., None]
    both = ops.stack([ops.mean(ops.abs(rest), (1, 2)), ops.mean(ops.square(rest), (1, 2))], -1)
    both = both * (b.there.shape[1] / count)
    return ops.concatenate([both[:, :1] / height, ops.sqrt(both[:, 1:] + 1e-6) / height], -1)
