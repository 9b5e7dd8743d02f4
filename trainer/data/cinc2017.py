"""The PhysioNet/CinC Challenge 2017 records: single-lead ECG at 300 Hz, four classes.

Source: G. D. Clifford and others, "AF classification from a short single lead ECG recording: the
PhysioNet/Computing in Cardiology Challenge 2017", 2017 (data: PhysioNet, ODC-By 1.0). The raw integers are
microvolts (the headers say 1,000 per mV). Reads the archive's zip or its unpacked folder, as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.data.base import Dataset, DataSpec
from trainer.errors import DataError

LABELS = ("normal", "af", "other", "noise")
REFERENCE = {"N": 0, "A": 1, "O": 2, "~": 3}
SPEC = DataSpec("cinc2017", LABELS, "uV", 300.0, 9000, ("ecg",))


def load(path: str | Path) -> Dataset:
    """All labelled records of the zip or folder at ``path``, sorted by name.

    Raises:
        DataError: no record, a record without a label, or a label outside N, A, O, ~ (names the record).
    """
    from firmware_bridge.errors import FirmwareBridgeError
    from firmware_bridge.recordings import open_recordings

    try:
        recordings = open_recordings(Path(path))
        labels = recordings.labels
        names = sorted(recordings.names)
        if not names:
            raise DataError(f"{path}: no records; give the challenge's zip or its unpacked folder")
        signals: list[np.ndarray] = []
        y = np.empty(len(names), np.int64)
        for i, name in enumerate(names):
            if name not in labels:
                raise DataError(
                    f"{path}: record {name} has no line in its REFERENCE file; add it or remove the record"
                )
            if labels[name] not in REFERENCE:
                raise DataError(
                    f"{path}: record {name} has the label {labels[name]!r}; known are {', '.join(REFERENCE)}"
                )
            y[i] = REFERENCE[labels[name]]
            signals.append(_to_rate(recordings.read(name)))
    except FirmwareBridgeError as error:
        raise DataError(str(error)) from error
    return Dataset(signals, y, tuple(names), SPEC)
