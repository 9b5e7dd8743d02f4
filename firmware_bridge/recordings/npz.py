"""Recordings in numpy archives.

One record: ``digital`` (integers) or ``values`` of shape (n,) or (n, channel), with optional ``rate_hz``,
``channels``, ``units``, ``scale``, ``offset``. Many: ``x`` of shape (record, n) or (record, n, channel), with
optional ``y`` (labels) and the same rest. ``fs`` is read as ``rate_hz``; ``signal`` and ``data`` as ``values``.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import MAX_CHANNELS, Channel
from firmware_bridge.recordings.base import Entry, Recording
from firmware_bridge.recordings.files import MAX_FILE_BYTES, Files
from firmware_bridge.recordings.tables import unique_names
from firmware_bridge.units import clean_name, clean_unit, microvolts, wire_exact

_KNOWN = (
    "x", "y", "digital", "values", "signal", "data", "rate_hz", "fs", "channels", "units", "scale", "offset", "names"
)  # fmt: skip


def load_arrays(raw: bytes, where: str) -> dict[str, npt.NDArray[Any]]:
    """The known arrays of a .npz; others are not touched, pickles are refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MAX_FILE_BYTES:
            raise RecordingError(
                f"{where}: unpacks to {size} bytes, more than the {MAX_FILE_BYTES} that are read"
            )
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in _KNOWN if key in archive.files}
    except RecordingError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds on damaged files
        raise RecordingError(f"{where}: not a numpy archive that can be read ({error})") from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of a member that does not begin as an array
            raise RecordingError(f"{where}: {key} is not an array")
    return arrays


def _scalar(arrays: Mapping[str, npt.NDArray[Any]], where: str) -> float | None:
    array = arrays.get("rate_hz", arrays.get("fs"))
    if array is None:
        return None
    if array.size != 1 or array.dtype.kind not in "iuf" or not 0 < float(array.reshape(())) < math.inf:
        raise RecordingError(f"{where}: rate_hz must be one positive number")
    return float(array.reshape(()))


def _per_channel(
    arrays: Mapping[str, npt.NDArray[Any]], key: str, kinds: str, count: int, where: str
) -> list[Any]:
    array = np.atleast_1d(arrays[key])
    if array.shape not in {(count,), (1,)} or array.dtype.kind not in kinds:
        raise RecordingError(f"{where}: {key} must hold one value for each of the {count} channels")
    return list(np.broadcast_to(array, (count,)).tolist())


def _channels(
    arrays: Mapping[str, npt.NDArray[Any]], count: int, where: str
) -> tuple[list[Channel], list[float]]:
    names, units = [f"ch{i}" for i in range(count)], ["1"] * count
    scales, offsets = [1.0] * count, [0.0] * count
    if "channels" in arrays:
        names = _per_channel(arrays, "channels", "U", count, where)
    if "units" in arrays:
        units = _per_channel(arrays, "units", "U", count, where)
    if "scale" in arrays:
        scales = _per_channel(arrays, "scale", "iuf", count, where)
    if "offset" in arrays:
        offsets = _per_channel(arrays, "offset", "iuf", count, where)
    channels, factors = [], []
    for i in range(count):
        unit, factor = microvolts(str(units[i]))
        if not (math.isfinite(scales[i]) and math.isfinite(offsets[i]) and scales[i]):
            raise RecordingError(f"{where}: scale and offset must be finite, and scale not 0")
        scale, offset = wire_exact(scales[i] * factor), wire_exact(offsets[i] * factor)
        channels.append(Channel(clean_name(str(names[i]), i), clean_unit(unit), scale, offset))
        factors.append(factor)
    return list(unique_names(channels)), factors


def npz_entries(files: Files, name: str, rate_hz: float | None) -> tuple[list[Entry], dict[str, str]]:
    """The records of one archive, ``<stem>`` or ``<stem>:<row>``, and their labels."""
    where = f"{files.source}: {name}"
    stem = PurePosixPath(name).with_suffix("").as_posix()
    arrays = load_arrays(files.read(name), where)
    rate = rate_hz or _scalar(arrays, where) or 1.0
    key = next((k for k in ("digital", "values", "signal", "data", "x") if k in arrays), None)
    if key is None:
        raise RecordingError(f"{where}: has none of the arrays digital, values, x")
    data = arrays[key]
    if data.dtype.kind not in "iuf":
        raise RecordingError(f"{where}: {key} is {data.dtype}, must be numbers")
    many = key == "x" and data.ndim in (2, 3)
    batch = data if many else data[None, ...]
    if batch.ndim == 2:
        batch = batch[:, :, None]
    if batch.ndim != 3 or not 0 < batch.shape[2] <= MAX_CHANNELS:
        raise RecordingError(
            f"{where}: {key} of shape {data.shape} is not (n, channel) with 1 to 16 channels"
        )
    channels, factors = _channels(arrays, batch.shape[2], where)
    labels = [str(item) for item in np.atleast_1d(arrays["y"])] if "y" in arrays else []
    if labels and len(labels) != len(batch):
        raise RecordingError(f"{where}: {len(labels)} labels in y for {len(batch)} records")
    names = [f"{stem}:{row}" for row in range(len(batch))] if many else [stem]

    def reader(row: int) -> Callable[[], Recording]:
        return lambda: _record(names[row], rate, channels, factors, batch[row])

    return [Entry(n, reader(row)) for row, n in enumerate(names)], dict(zip(names, labels, strict=False))


def _record(
    name: str, rate_hz: float, channels: list[Channel], factors: list[float], data: npt.NDArray[Any]
) -> Recording:
    if data.dtype.kind in "iu" and data.dtype.itemsize <= 4 and data.dtype != np.uint32:
        return Recording(name, rate_hz, tuple(channels), digital=data)
    plain = tuple(Channel(c.name, c.unit) for c in channels)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and so no value
        analog = (data * np.array(factors)).astype(np.float32)
    return Recording(name, rate_hz, plain, analog=analog)
