"""A user's own labelled recordings: one .npz file, or a folder with one folder of CSV files per class.

``.npz``: ``x`` (n, time) or (n, time, channel) and ``y`` (n,), text or whole numbers; optional ``names``
(n,), ``rate_hz``, ``units``, ``channels``, ``labels`` (the order of the classes) and ``window_samples``. Fill
shorter records with NaN at the end.

Folder: ``CLASS/RECORD.csv``, one row a sample, one column a channel, an optional header with the channels'
names; an optional ``dataset.toml`` beside the class folders gives ``rate_hz``, ``units``, ``labels`` and
``window_samples``.

Without a rate, one sample a second is assumed and the units are "1".
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.data.base import Dataset, DataSpec
from trainer.data.missing import interpolation_note, repair
from trainer.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MIN_RECORDS = 3  # a record to train on, one to validate, one to test
FACTS_FILE = "dataset.toml"
FACTS = ("rate_hz", "units", "labels", "window_samples", "channels")


class _Records(NamedTuple):
    series: list[np.ndarray]
    labels: list[str]
    names: list[str]


def load(path: str | Path) -> Dataset:
    """Every record of the .npz file or the folder of CSV folders at ``path``.

    Raises:
        DataError: unreadable, a wrong shape, a missing or single class, fewer than three records (names file
            and row).
    """
    return load_with_notes(path)[0]


def load_with_notes(path: str | Path) -> tuple[Dataset, tuple[str, ...]]:
    """As :func:`load`, with sentences about interpolated values as a second result."""
    path = Path(path)
    return _load_folder(path) if path.is_dir() else _load_npz(path)


def _load_npz(path: Path) -> tuple[Dataset, tuple[str, ...]]:
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array, as np.save writes it")
        with file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: not a readable .npz of plain arrays: {error}; fill shorter records with NaN instead of "
            "storing objects"
        ) from error
    for key in ("x", "y"):
        if key not in arrays:
            raise DataError(f"{path}: no array {key!r}; it needs x (n, time[, channel]) and y (n,)")
    x, y = arrays["x"], arrays["y"]
    if x.ndim not in (2, 3) or x.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: x is {x.dtype} {x.shape}; it must be numbers of shape (n, time) or (n, time, channel)"
        )
    if y.shape != (len(x),) or y.dtype.kind not in "fiuUSb":
        raise DataError(f"{path}: y is {y.dtype} {y.shape}; it must be one label a record, shape ({len(x)},)")
    given = arrays["names"].tolist() if "names" in arrays else [f"{path.stem}:{i}" for i in range(len(x))]
    names = [str(name) for name in given]
    if len(names) != len(x):
        raise DataError(f"{path}: {len(names)} names for {len(x)} records")
    x = x[..., None] if x.ndim == 2 else x
    facts = {key: arrays[key].tolist() for key in FACTS if key in arrays}
    series, counts = [], []
    for i, values in enumerate(x):
        fixed, count = repair(np.asarray(values, np.float64), f"{path}: record {i} ({names[i]})")
        series.append(fixed.astype(np.float32))
        counts.append(count)
    labels = [_label_text(value) for value in y.tolist()]
    return _build(path, path.stem, _Records(series, labels, names), facts), interpolation_note(
        path.name, counts
    )


def _load_folder(folder: Path) -> tuple[Dataset, tuple[str, ...]]:
    facts = _read_facts(folder / FACTS_FILE)
    files = sorted(file for file in folder.glob("*/*.csv") if file.is_file())
    if not files:
        raise DataError(
            f"{folder}: no CLASS/RECORD.csv below it; put the CSV files of each class in a folder of its name"
        )
    series, labels, names, counts = [], [], [], []
    header: tuple[str, ...] | None = None
    for file in files:
        values, columns = read_csv(file)
        if header is None:
            header = columns
        elif len(columns) != len(header):
            raise DataError(
                f"{file}: {len(columns)} columns, {files[0]} has {len(header)}; every record needs the same"
            )
        elif columns != header:
            raise DataError(f"{file}: columns {', '.join(columns)}, {files[0]} has {', '.join(header)}")
        fixed, count = repair(values, str(file))
        series.append(fixed.astype(np.float32))
        counts.append(count)
        labels.append(file.parent.name)
        names.append(f"{file.parent.name}/{file.stem}")
    facts.setdefault("channels", list(header or ()))
    return _build(folder, folder.name, _Records(series, labels, names), facts), interpolation_note(
        folder.name, counts
    )


def read_csv(file: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """(time, channel) float64 and the channels' names of one CSV file; an empty cell is a missing value.

    Raises:
        DataError: unreadable, empty, ragged, or a cell that is no number (names the row, from 1).
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    rows = [(number, _cells(line)) for number, line in enumerate(lines, 1) if line.strip()]
    columns: tuple[str, ...] = ()
    if rows and not _all_numbers(rows[0][1]):
        columns = tuple(cell.strip().strip('"') for cell in rows.pop(0)[1])
    if not rows:
        raise DataError(f"{file}: no samples; one row a sample, one column a channel")
    width = len(columns) or len(rows[0][1])
    values = np.empty((len(rows), width))
    for i, (number, cells) in enumerate(rows):
        if len(cells) != width:
            raise DataError(f"{file}: row {number} has {len(cells)} columns instead of {width}")
        try:
            values[i] = [float(cell) if cell.strip() else np.nan for cell in cells]
        except ValueError:
            raise DataError(
                f"{file}: row {number}: {','.join(cells)[:40]!r} is not a row of numbers"
            ) from None
    return values, columns or _channel_names(width)


def _cells(line: str) -> list[str]:
    for separator in (",", ";", "\t"):
        if separator in line:
            return line.split(separator)
    return line.split()


def _all_numbers(cells: list[str]) -> bool:
    try:
        [float(cell) for cell in cells if cell.strip()]
    except ValueError:
        return False
    return True


def _channel_names(count: int) -> tuple[str, ...]:
    return ("value",) if count == 1 else tuple(f"channel_{i}" for i in range(count))


def _label_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _read_facts(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        facts = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    unknown = sorted(set(facts) - set(FACTS))
    if unknown:
        raise DataError(f"{file}: unknown key {unknown[0]!r}; known are {', '.join(FACTS)}")
    return facts


def _build(source: Path, name: str, records: _Records, facts: Mapping[str, Any]) -> Dataset:
    series, labels, names = records.series, records.labels, records.names
    if len(series) < MIN_RECORDS:
        raise DataError(f"{source}: {len(series)} records; at least {MIN_RECORDS} are needed")
    if len(set(names)) != len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise DataError(
            f"{source}: the record name {twice!r} occurs twice; the split goes by name, so names must differ"
        )
    known = _labels(source, labels, facts.get("labels"))
    if len(known) < 2:
        raise DataError(f"{source}: every record has the label {known[0]!r}; two classes are needed to learn")
    index = {label: i for i, label in enumerate(known)}
    spec = DataSpec(
        name,
        known,
        str(facts.get("units", "1")),
        _positive(source, "rate_hz", facts.get("rate_hz", 1.0)),
        int(_positive(source, "window_samples", facts.get("window_samples", max(len(s) for s in series)))),
        _channels(source, facts.get("channels"), series[0].shape[1]),
    )
    return Dataset(series, np.array([index[label] for label in labels], np.int64), tuple(names), spec)


def _labels(source: Path, labels: list[str], wanted: Any) -> tuple[str, ...]:
    if wanted is None:
        try:
            return tuple(sorted(set(labels), key=float))
        except ValueError:
            return tuple(sorted(set(labels)))
    known = tuple(_label_text(value) for value in wanted)
    for row, label in enumerate(labels):
        if label not in known:
            raise DataError(
                f"{source}: record {row} has the label {label!r}; 'labels' lists {', '.join(known)}"
            )
    return known


def _positive(source: Path, key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not (0 < number < float("inf")):
        raise DataError(f"{source}: {key} is {value!r}; it must be a number above 0")
    return number


def _channels(source: Path, channels: Any, count: int) -> tuple[str, ...]:
    if channels is None:
        return _channel_names(count)
    names = (channels,) if isinstance(channels, str) else tuple(str(channel) for channel in channels)
    if len(names) != count:
        raise DataError(f"{source}: {len(names)} channel names for {count} channels")
    return names
