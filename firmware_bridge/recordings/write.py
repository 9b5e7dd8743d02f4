"""Write a recording as WFDB (format 16), npz or CSV, so that any tool can read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import Channel
from firmware_bridge.recordings.base import Recording

_INVALID = -(1 << 15)


def write_recording(recording: Recording, path: str | Path) -> list[Path]:
    """Write by the suffix of ``path``: .hea (WFDB, with a .dat beside it), .npz or .csv.

    Returns:
        The files written. Each is complete or not there: a temporary file is renamed.
    """
    path = Path(path)
    writers = {".hea": _wfdb, ".npz": _npz, ".csv": _csv}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise RecordingError(f"{path}: recordings are written as .hea, .npz or .csv")
    try:
        return writer(recording, path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot write: {error.strerror or error}") from error


def _replace(path: Path, content: bytes) -> Path:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    return path


def _wfdb(recording: Recording, path: Path) -> list[Path]:
    digital, channels, valid = recording.to_int16()
    values = np.where(valid, np.maximum(digital, _INVALID + 1), _INVALID).astype("<i2")
    data = path.with_suffix(".dat")
    lines = [f"{path.stem} {len(channels)} {recording.rate_hz:.12g} {len(recording)}"]
    for index, channel in enumerate(channels):
        column = values[:, index]
        first = int(column[0]) if len(column) else 0
        checksum = int(column.astype(np.int64).sum()) & 0xFFFF
        checksum -= (checksum & 0x8000) << 1
        lines.append(f"{data.name} 16 {_gain(channel)} 16 0 {first} {checksum} 0 {channel.name}")
    if recording.label is not None:
        lines.append(f"# label: {recording.label}")
    # The header comes last: a reader that sees it finds the samples.
    return [_replace(data, values.tobytes()), _replace(path, ("\n".join(lines) + "\n").encode())][::-1]


def _gain(channel: Channel) -> str:
    """Steps per unit, baseline and unit. The baseline is whole: an offset may move by half a step."""
    baseline = round(-channel.offset / channel.scale)
    if abs(baseline) >= 1 << 31:
        raise RecordingError(f"channel {channel.name}: offset {channel.offset} cannot be written as WFDB")
    return f"{1.0 / channel.scale:.12g}({baseline})/{channel.unit.replace(' ', '_') or '1'}"


def _npz(recording: Recording, path: Path) -> list[Path]:
    channels = recording.channels
    key = "values" if recording.digital is None else "digital"
    data = recording.physical if recording.digital is None else recording.digital
    part = path.with_name(path.name + ".part")
    arrays = {
        key: np.asarray(data),
        "rate_hz": np.array(recording.rate_hz),
        "channels": np.array([channel.name for channel in channels]),
        "units": np.array([channel.unit for channel in channels]),
        "scale": np.array([channel.scale for channel in channels]),
        "offset": np.array([channel.offset for channel in channels]),
    }
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for flags
    part.replace(path)
    return [path]


def _csv(recording: Recording, path: Path) -> list[Path]:
    head = [f"# rate_hz: {recording.rate_hz!r}", ",".join(f"{c.name} [{c.unit}]" for c in recording.channels)]
    rows = [",".join(map(repr, row)) for row in recording.physical.astype(float).tolist()]
    return [_replace(path, ("\n".join(head + rows) + "\n").encode())]
