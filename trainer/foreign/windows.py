"""Unlabelled windows: every window of every recording, cut as the agent cuts them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.bundle import InputSpec
from edge.errors import EdgeError
from edge.pipeline.windows import Windower
from edge.types import SampleBlock
from firmware_bridge.errors import FirmwareBridgeError
from firmware_bridge.recordings import Recording, open_recordings
from trainer.data.base import Dataset, DataSpec
from trainer.errors import DataError

LEAST = 20
# Training looks at a few thousand windows; more only costs memory (20,000 of 9,000 samples are 0.7 GB).
MOST = 20_000
HELD_OUT = 10  # one window in so many, from whole stretches, is kept for thresholds and agreement


@dataclass(frozen=True)
class Unlabelled:
    """Two data sets without meaning in their labels (all 0): one to train on, one held out."""

    training: Dataset
    held_out: Dataset
    skipped: int


def load(path: str | Path, spec: DataSpec) -> Unlabelled:
    """Windows of the recordings at ``path``: npz with ``x`` (n, time[, channel]) or ``values``, CSV, WFDB, a folder.

    Windows with missing samples are skipped; those of recordings shorter than a window are padded, as the agent does.

    Raises:
        DataError: nothing readable, channels or units that do not fit, or fewer than 20 windows.
    """
    path = Path(path)
    signals: list[np.ndarray] = []
    skipped = 0
    try:
        for recording in open_recordings(path, rate_hz=None if path.suffix == ".hea" else spec.rate_hz):
            found, bad = _windows(recording, spec)
            signals += found
            skipped += bad
            if len(signals) >= MOST:
                break
    except (FirmwareBridgeError, EdgeError) as error:
        raise DataError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    signals = signals[:MOST]
    if len(signals) < LEAST:
        raise DataError(
            f"{path}: {len(signals)} whole windows of {spec.window_samples} samples ({skipped} had gaps); at least "
            f"{LEAST} are needed, some hundreds are better"
        )
    # the last tenth, not every tenth: neighbours of one recording overlap in what they show
    cut = len(signals) - max(2, len(signals) // HELD_OUT)
    return Unlabelled(_dataset(signals[:cut], spec, 0), _dataset(signals[cut:], spec, cut), skipped)


def _dataset(signals: list[np.ndarray], spec: DataSpec, first: int) -> Dataset:
    names = tuple(f"window-{first + i:06d}" for i in range(len(signals)))
    return Dataset(signals, np.zeros(len(signals), np.int64), names, spec)


def _windows(recording: Recording, spec: DataSpec) -> tuple[list[np.ndarray], int]:
    channels = tuple(channel.name for channel in recording.channels)
    units = tuple(channel.unit for channel in recording.channels)
    if set(units) == {"1"}:  # a file without units holds what the spec says
        units = (spec.units,) * len(channels)
    wanted = InputSpec(spec.channels, spec.units, spec.rate_hz, spec.window_samples, spec.window_samples)
    windower = Windower(wanted)
    values = np.ascontiguousarray(recording.physical, np.float32)
    size = max(1, min(len(values), int(windower.max_block_samples * recording.rate_hz / spec.rate_hz)))
    found, bad = [], 0
    for at in range(0, len(values), size):
        part, end = values[at : at + size], at + size >= len(values)
        block = SampleBlock("s", "0", at, 0.0, recording.rate_hz, channels, units, part, end=end)
        for window in windower.push(block):
            if window.missing or window.padded > window.values.shape[0] // 2:
                bad += 1
            else:
                found.append(window.values[window.valid].copy())
    return found, bad


def labelled(data: Dataset, answers: np.ndarray) -> Dataset:
    """The same windows with a classifier's own answers (n,) as their labels."""
    return replace(data, y=np.asarray(answers, np.int64))
