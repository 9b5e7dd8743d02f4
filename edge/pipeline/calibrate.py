"""Thresholds for one sensor from its own clean windows: at most a given share of such windows is called suspect.

Conformal quantiles (Vovk and others 2005): with n exchangeable windows, the ceil((n + 1)(1 - share))-th smallest value
is exceeded by the next one with probability of at most `share`. Several measures share one rank, so that it holds
for all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.errors import CalibrationError

__all__ = ["Calibration", "calibrate", "fit", "suspect_share"]

FOLDS = 5
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds by measure; shares of these windows that are suspect before and after, and of windows of recordings
    that the thresholds were not made from (None for fewer than two recordings).
    """

    windows: int
    recordings: int
    before: dict[str, float | None]
    after: dict[str, float]
    share_before: float
    share_after: float
    share_held_out: float | None


def fit(measures: Mapping[str, Values], share: float) -> dict[str, float]:
    """The lowest thresholds, at one rank for all measures, that at most `share` of such windows exceed in any.

    Args:
        measures: name -> (n,) values of clean windows.

    Raises:
        CalibrationError: too few windows for this share.
    """
    n = min((len(values) for values in measures.values()), default=0)
    kept = math.ceil((n + 1) * (1.0 - share))
    if n < 1 or kept > n:
        raise CalibrationError(
            f"{n} windows cannot show a share of {share:g}: give recordings with {math.ceil(1.0 / share) - 1} windows "
            "or more, or allow more false alarms"
        )
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in measures.values()]
    worst = np.sort(np.max(ranks, axis=0))[kept - 1]
    return {name: float(np.sort(values)[worst]) for name, values in measures.items()}


def suspect_share(measures: Mapping[str, Values], thresholds: Mapping[str, float | None]) -> float:
    """Share of windows above any threshold; None switches one off."""
    suspect = np.zeros(len(next(iter(measures.values()))), np.bool_)
    for name, values in measures.items():
        limit = thresholds.get(name)
        if limit is not None:
            suspect |= ~(values <= limit)
    return float(suspect.mean()) if suspect.size else 0.0


def calibrate(
    measures: Mapping[str, Values],
    recording: npt.NDArray[np.int64],
    share: float,
    before: Mapping[str, float | None],
) -> Calibration:
    """Thresholds from all windows, and what they would have done on recordings left out.

    Args:
        measures: name -> (n,) values of clean windows.
        recording: (n,) number of the recording of each window, from 0.
        before: the thresholds in force until now.

    Raises:
        CalibrationError: a share that is none, or too few windows.
    """
    if not 0.0 < share < 1.0:
        raise CalibrationError(f"false alarms are {share:g}; give a share above 0 and below 1, such as 0.01")
    after = fit(measures, share)
    folds = min(FOLDS, len(np.unique(recording)))
    outside: list[float] = []
    if folds > 1:
        for fold in range(folds):
            out = recording % folds == fold
            try:
                limits = fit({name: values[~out] for name, values in measures.items()}, share)
            except CalibrationError:
                outside = []
                break
            held = suspect_share({name: values[out] for name, values in measures.items()}, limits)
            outside.append(held * float(out.sum()))
    return Calibration(
        windows=len(recording),
        recordings=len(np.unique(recording)),
        before={name: before.get(name) for name in measures},
        after=after,
        share_before=suspect_share(measures, before),
        share_after=suspect_share(measures, after),
        share_held_out=sum(outside) / len(recording) if outside else None,
    )
