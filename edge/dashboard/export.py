"""A stretch of a stream as a WFDB record in a zip, so that any ECG tool can open what somebody saw."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.errors import EdgeError
from edge.live.signal import Run
from edge.names import to_name
from edge.types import rfc3339
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording

MAX_SAMPLES = 4_000_000  # an hour at 1 kHz; as floats 16 MB a channel


class NothingToExport(EdgeError):  # noqa: N818 - an answer, not a fault
    """There are no samples in what was asked for, or too many."""


def recording(found: Sequence[Run], name: str) -> Recording:
    """Runs of one rate and channel set as one record; what is missing between them becomes "no value".

    Runs of another rate or other channels than the last one's are left out. Raises NothingToExport.
    """
    if not found:
        raise NothingToExport("no samples of this stream are held for that time")
    last = found[-1]
    same = [r for r in found if r.rate_hz == last.rate_hz and r.channels == last.channels and r.units == last.units]
    t0 = same[0].t0
    at = [round((r.t0 - t0) * last.rate_hz) for r in same]
    total = max(a + len(r.values) for a, r in zip(at, same, strict=True))
    if not 0 < total <= MAX_SAMPLES:
        raise NothingToExport(f"that is {total} samples; ask for at most {MAX_SAMPLES}")
    values = np.full((total, len(last.channels)), np.nan, np.float32)
    for start, run in zip(at, same, strict=True):
        if start >= 0:
            values[start : start + len(run.values)] = run.values
    channels = tuple(Channel(c, u) for c, u in zip(last.channels, last.units, strict=True))
    return Recording(to_name(name, "stream"), last.rate_hz, channels, analog=values)


def wfdb_zip(found: Sequence[Run], name: str) -> tuple[str, bytes]:
    """(file name, zip) of header and samples. Raises NothingToExport."""
    made = recording(found, name)
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="wavewall-export-") as folder:
        files = write_recording(made, Path(folder) / f"{made.name}.hea")
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                text = file.read_bytes()
                if file.suffix == ".hea":
                    text += f"# stream {made.name}, first sample {rfc3339(found[0].t0)}\n".encode()
                archive.writestr(file.name, text)
    return f"{made.name}.zip", buffer.getvalue()
