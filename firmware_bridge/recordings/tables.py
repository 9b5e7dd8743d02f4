"""Recordings as text tables: CSV files and the UCR archive's .tsv."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import MAX_CHANNELS, Channel
from firmware_bridge.recordings.base import Entry, Recording
from firmware_bridge.recordings.files import Files
from firmware_bridge.units import Float32Array, clean_name, clean_unit, microvolts

_TIME = re.compile(r"(?:t|time|timestamp|seconds|elapsed)(?:[_ (\[]*(s|ms|us)[)\]]*)?", re.IGNORECASE)
_UNIT = re.compile(r"(.*?)\s*[(\[](.+)[)\]]\s*")
_SUFFIX_UNIT = re.compile(r"(.+)_(uv|mv|nv)", re.IGNORECASE)
_RATE = re.compile(r"#\s*(?:rate_hz|rate|fs)\s*[:=]\s*([0-9.eE+-]+)", re.IGNORECASE)
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_DEFAULT_RATE_HZ = 1.0


def _text(files: Files, name: str) -> str:
    try:
        return files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError(f"{files.source}: {name} is not UTF-8 text (byte {error.start})") from error


def ucr_entries(files: Files, name: str, rate_hz: float | None) -> tuple[list[Entry], dict[str, str]]:
    """One record for each row of a UCR file: the first column is the label, NaN at the end is padding.

    The labels are read when a record is, so the second value is empty.
    """
    stem = PurePosixPath(name).with_suffix("").as_posix()
    where = f"{files.source}: {name}"
    # Counted in the text, not in the bytes: they differ in what ends a line and in what is blank.
    rows = sum(1 for line in _text(files, name).splitlines() if line.strip())
    if not rows:
        raise RecordingError(f"{where} has no rows")

    @lru_cache(maxsize=1)
    def table() -> npt.NDArray[np.float64]:
        return _ucr_table(_text(files, name), where)

    def reader(row: int) -> Callable[[], Recording]:
        return lambda: _ucr_record(table()[row], f"{stem}:{row}", rate_hz or _DEFAULT_RATE_HZ)

    return [Entry(f"{stem}:{row}", reader(row)) for row in range(rows)], {}


def _ucr_table(text: str, where: str) -> npt.NDArray[np.float64]:
    rows: list[npt.NDArray[np.float64]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = np.array(line.split(), dtype=np.float64)
        except ValueError as error:
            raise RecordingError(f"{where}, line {number}: {error}") from error
        if len(row) < 2 or not math.isfinite(row[0]):
            raise RecordingError(f"{where}, line {number}: needs a label and at least one value")
        if rows and len(row) != len(rows[0]):
            raise RecordingError(
                f"{where}, line {number}: {len(row)} columns, the lines before have {len(rows[0])}; "
                "pad short series with NaN as the archive does"
            )
        rows.append(row)
    return np.stack(rows)


def _ucr_record(row: npt.NDArray[np.float64], name: str, rate_hz: float) -> Recording:
    label = int(row[0]) if row[0] == int(row[0]) else row[0]
    values = row[1:]
    given = np.flatnonzero(~np.isnan(values))
    values = values[: given[-1] + 1] if len(given) else values[:0]
    analog = values.astype(np.float32).reshape(-1, 1)
    return Recording(name, rate_hz, (Channel("value", "1"),), analog=analog, label=str(label))


def read_csv(files: Files, name: str, record: str, rate_hz: float | None) -> Recording:
    """A CSV file as one record: columns are channels, a time column or ``# rate_hz: 300`` gives the rate.

    A header may give units: ``ecg [uV]``, ``ecg (mV)``, ``ecg_uv``.
    """
    where = f"{files.source}: {name}"
    text = _text(files, name)
    lines = text.splitlines()
    stated = next((match for match in map(_RATE.match, lines) if match), None)
    content = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not content:
        raise RecordingError(f"{where} has no rows")
    delimiter = next((d for d in (",", ";", "\t") if d in content[0]), None)
    head = [field.strip() for field in content[0].split(delimiter)]
    has_header = not all(_is_number(field) for field in head)
    body = content[1:] if has_header else content
    if not body:
        raise RecordingError(f"{where} has a header and no rows")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            table = np.loadtxt(io.StringIO("\n".join(body)), delimiter=delimiter, ndmin=2, comments=None)
    except ValueError as error:
        raise RecordingError(f"{where}: {error} (rows counted after the header)") from error
    names = head if has_header and len(head) == table.shape[1] else [f"ch{i}" for i in range(table.shape[1])]
    time = _TIME.fullmatch(names[0]) if has_header and table.shape[1] > 1 else None
    try:
        rate = rate_hz or (float(stated[1]) if stated else None)
    except ValueError as error:
        raise RecordingError(f"{where}: {error} in {stated[0] if stated else ''!r}") from error
    if time is not None:
        rate = rate or _rate_from(table[:, 0] * _SECONDS[(time[1] or "s").lower()], where)
        names, table = names[1:], table[:, 1:]
    if not 0 < table.shape[1] <= MAX_CHANNELS:
        raise RecordingError(f"{where}: {table.shape[1]} columns of values, must be 1 to {MAX_CHANNELS}")
    if rate is not None and not (0 < rate < math.inf):
        raise RecordingError(f"{where}: rate of {rate} Hz")
    channels, analog = _columns(names, table)
    return Recording(record, rate or _DEFAULT_RATE_HZ, channels, analog=analog)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _rate_from(seconds: npt.NDArray[np.float64], where: str) -> float:
    steps = np.diff(seconds)
    step = float(np.median(steps)) if len(steps) else math.nan
    if not step > 0:
        raise RecordingError(f"{where}: the time column does not rise")
    # A column of rounded times still gives the rate that was meant: 0.003 and 0.004 average to 300 Hz.
    mean = float(seconds[-1] - seconds[0]) / len(steps)
    rate = 1.0 / (mean if abs(mean / step - 1) < 0.5 else step)
    return float(round(rate)) if rate > 1 and abs(rate - round(rate)) < 0.01 * rate else rate


def _columns(names: list[str], table: npt.NDArray[np.float64]) -> tuple[tuple[Channel, ...], Float32Array]:
    channels, analog = [], np.empty(table.shape, dtype=np.float32)
    for index, name in enumerate(names):
        match = _UNIT.fullmatch(name) or _SUFFIX_UNIT.fullmatch(name)
        label, unit = (match[1], match[2]) if match else (name, "1")
        unit, factor = microvolts(unit)
        channels.append(Channel(clean_name(label, index), clean_unit(unit)))
        analog[:, index] = table[:, index] * factor
    return unique_names(channels), analog


def unique_names(channels: list[Channel]) -> tuple[Channel, ...]:
    """The channels, each renamed ``ch<index>`` if two share a name."""
    if len({channel.name for channel in channels}) == len(channels):
        return tuple(channels)
    return tuple(Channel(f"ch{i}", c.unit, c.scale, c.offset) for i, c in enumerate(channels))
