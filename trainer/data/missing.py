"""Missing values: a tail of them ends a record early, those inside are drawn over with a straight line.

The UCR archive fills the rows of unequal-length sets with NaN at the end, and marks lost samples with NaN
inside (its "Missing_value_and_variable_length_datasets_adjusted" folder describes both). Own data follows the
same habit.
"""

from __future__ import annotations

import numpy as np

from trainer.errors import DataError


def repair(series: np.ndarray, where: str) -> tuple[np.ndarray, int]:
    """``series`` (time, channel) without its missing values, and how many values were interpolated.

    Samples missing in every channel at the end are dropped. Every other NaN becomes the linear interpolation
    of its neighbours in the same channel (the nearest value at the start or end of the record).

    Raises:
        DataError: an infinite value, or a channel with no value at all; the message starts with ``where``.
    """
    if np.isinf(series).any():
        sample = int(np.flatnonzero(np.isinf(series).any(axis=1))[0])
        raise DataError(f"{where}: sample {sample} is infinite; write NaN where a value is missing")
    missing = np.isnan(series)
    if not missing.any():
        return series, 0
    present = np.flatnonzero(~missing.all(axis=1))
    if not len(present):
        raise DataError(f"{where}: no value at all; remove the record")
    series, missing = series[: present[-1] + 1].copy(), missing[: present[-1] + 1]
    time = np.arange(len(series))
    for channel in range(series.shape[1]):
        gaps = missing[:, channel]
        if gaps.all():
            raise DataError(
                f"{where}: channel {channel} has no value at all; remove the record or the channel"
            )
        if gaps.any():
            series[gaps, channel] = np.interp(time[gaps], time[~gaps], series[~gaps, channel])
    return series, int(missing.sum())


def interpolation_note(file: str, counts: list[int]) -> tuple[str, ...]:
    """One sentence that tells how much was interpolated, or none when nothing was."""
    touched = sum(1 for count in counts if count)
    if not touched:
        return ()
    return (f"{file}: {sum(counts)} missing values in {touched} of {len(counts)} records were interpolated",)
