"""The PhysioNet/CinC Challenge 2017 records: single-lead ECG at 300 Hz, four classes.

Source: G. D. Clifford and others, "AF classification from a short single lead ECG recording: the
PhysioNet/Computing in Cardiology Challenge 2017", 2017 (data: PhysioNet, ODC-By 1.0). The raw integers are
microvolts (the headers say 1,000 per mV). Reads the archive's zip or its unpacked folder, as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.pipeline.resample import Resampler
from firmware_bridge.errors import FirmwareBridgeError
from firmware_bridge.recordings import Recording, open_recordings
from trainer.data.base import Dataset, DataSpec
from trainer.errors import DataError

LABELS = ("normal", "af", "other", "noise")
REFERENCE = {"N": 0, "A": 1, "O": 2, "~": 3}
SPEC = DataSpec("cinc2017", LABELS, "uV", 300.0, 9000, ("ecg",))


def load(path: str | Path, *, lead: str | None = None) -> Dataset:
    """All labelled records of the zip or folder at ``path``, sorted by name, in microvolts at 300 Hz.

    Args:
        lead: the channel to take where records have several; the only one, or the one called ECG, if None.

    Raises:
        DataError: no record, a record without a label, a label outside N, A, O, ~, a header that contradicts its
            samples, or several leads and none chosen; the text names the record.
    """
    try:
        recordings = open_recordings(Path(path))
        labels, names = recordings.labels, sorted(recordings.names)
        y = np.empty(len(names), np.int64)
        for i, name in enumerate(names):
            if name not in labels:
                raise DataError(
                    f"{path}: record {name} has no line in its REFERENCE file; add it or remove the record"
                )
            if labels[name] not in REFERENCE:
                known = ", ".join(REFERENCE)
                raise DataError(f"{path}: record {name} has the label {labels[name]!r}; known are {known}")
            y[i] = REFERENCE[labels[name]]
        signals = [_signal(recordings.read(name), lead, path) for name in names]
    except FirmwareBridgeError as error:
        raise DataError(str(error)) from error
    return Dataset(signals, y, tuple(names), SPEC)


def _signal(recording: Recording, lead: str | None, path: str | Path) -> np.ndarray:
    """(time, 1): int16 microvolts as stored where header and rate are the challenge's own, else float32."""
    where = f"{path}: record {recording.name}"
    channels = [channel.name for channel in recording.channels]
    wanted = [i for i, name in enumerate(channels) if name.lower() == (lead or "ecg").lower()]
    if len(channels) == 1 and lead is None:
        wanted = [0]
    if len(wanted) != 1:
        raise DataError(f"{where} has the leads {', '.join(channels)}; choose one by its name")
    at = wanted[0]
    channel = recording.channels[at]
    if channel.unit != "uV":
        raise DataError(f"{where} is in {channel.unit!r}, not in a voltage; give ECG in mV or uV")
    digital = recording.digital
    plain = (
        digital is not None and digital.dtype == np.int16 and channel.scale == 1.0 and channel.offset == 0.0
    )
    if plain and recording.invalid is None and recording.rate_hz == SPEC.rate_hz:
        assert digital is not None
        return digital[:, at : at + 1]
    values = np.nan_to_num(recording.physical[:, at : at + 1], nan=0.0)
    if recording.rate_hz == SPEC.rate_hz:
        return values
    resampler = Resampler(recording.rate_hz, SPEC.rate_hz)
    return np.concatenate([resampler.push(values), resampler.flush()])
