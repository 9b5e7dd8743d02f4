"""A user's own labelled recordings: one .npz file, or a folder with one folder of recordings per class.

``.npz``: ``x`` (n, time) or (n, time, channel) and ``y`` (n,), text or whole numbers; optional ``rate_hz``,
``units`` and ``channels`` as ``firmware_bridge.recordings`` reads them, ``names`` (n,) (what the split goes
by), ``labels`` (the order of the classes) and ``window_samples``. Fill shorter records with NaN at the end.

Folder: ``CLASS/RECORD.csv`` (or another kind that ``firmware_bridge.recordings`` reads), and an optional
``dataset.toml`` beside the class folders with ``rate_hz`` and ``units`` where the files do not say,
``labels`` and ``window_samples``.

Without a rate, one sample a second is assumed and the units are "1"; voltages of any size become uV.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from firmware_bridge.errors import FirmwareBridgeError
from firmware_bridge.recordings import Recording, open_recordings
from firmware_bridge.units import microvolts
from trainer.data.base import Dataset, DataSpec
from trainer.data.missing import interpolation_note, repair
from trainer.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MIN_RECORDS = 3  # a record to train on, one to validate, one to test
FACTS_FILE = "dataset.toml"
FACTS = ("rate_hz", "units", "labels", "window_samples")


class _Records(NamedTuple):
    recordings: list[Recording]
    labels: list[str]
    names: list[str]


def load(path: str | Path) -> Dataset:
    """Every record of the .npz file or the folder of class folders at ``path``.

    Raises:
        DataError: unreadable, records that do not fit together, a missing or single class, or fewer than
            three records (names the file and the record).
    """
    return load_with_notes(path)[0]


def load_with_notes(path: str | Path) -> tuple[Dataset, tuple[str, ...]]:
    """As :func:`load`, with sentences about interpolated values as a second result."""
    path = Path(path)
    return _load_folder(path) if path.is_dir() else _load_npz(path)


def _load_npz(path: Path) -> tuple[Dataset, tuple[str, ...]]:
    try:
        found = open_recordings(path)
        recordings = list(found)
    except FirmwareBridgeError as error:
        raise DataError(f"{error}; fill shorter records with NaN instead of storing objects") from error
    with np.load(path, allow_pickle=False) as file:
        extra = {key: file[key] for key in ("y", "names", "labels", "window_samples") if key in file.files}
    if "y" not in extra:
        raise DataError(f"{path}: no array 'y'; it needs x (n, time[, channel]) and y (n,)")
    names = [str(name) for name in extra["names"].ravel()] if "names" in extra else list(found.names)
    labels = [_label_text(label) for label in extra["y"].ravel().tolist()]
    for key, values in (("names", names), ("labels in y", labels)):
        if len(values) != len(recordings):
            raise DataError(f"{path}: {len(values)} {key} for {len(recordings)} records")
    facts: dict[str, Any] = {key: extra[key].tolist() for key in ("labels", "window_samples") if key in extra}
    return _build(path, path.stem, _Records(recordings, labels, names), facts)


def _load_folder(folder: Path) -> tuple[Dataset, tuple[str, ...]]:
    facts = _read_facts(folder / FACTS_FILE)
    rate_hz = _positive(folder / FACTS_FILE, "rate_hz", facts["rate_hz"]) if "rate_hz" in facts else None
    try:
        found = open_recordings(folder, rate_hz=rate_hz)
        names = sorted(found.names)
        recordings = [found.read(name) for name in names]
    except FirmwareBridgeError as error:
        raise DataError(str(error)) from error
    labels = [PurePosixPath(name).parent.name for name in names]
    for name, label in zip(names, labels, strict=True):
        if not label:
            raise DataError(
                f"{folder}: {name} lies in no class folder; put each class in a folder of its name"
            )
    return _build(folder, folder.name, _Records(recordings, labels, names), facts)


def _label_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_facts(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        facts: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    unknown = sorted(set(facts) - set(FACTS))
    if unknown:
        raise DataError(f"{file}: unknown key {unknown[0]!r}; known are {', '.join(FACTS)}")
    return facts


def _build(
    source: Path, name: str, records: _Records, facts: Mapping[str, Any]
) -> tuple[Dataset, tuple[str, ...]]:
    names = records.names
    if len(names) < MIN_RECORDS:
        raise DataError(f"{source}: {len(names)} records; at least {MIN_RECORDS} are needed")
    if len(set(names)) != len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise DataError(f"{source}: the record name {twice!r} occurs twice; the split goes by name")
    known = _labels(source, records, facts.get("labels"))
    units, factor = _units(source, records, facts.get("units"))
    first = records.recordings[0]
    series, counts = [], []
    for record, recording in zip(names, records.recordings, strict=True):
        _check_alike(f"{source}: record {record}", recording, first)
        values, count = repair(recording.physical * factor, f"{source}: record {record}")
        series.append(values.astype(np.float32))
        counts.append(count)
    longest = max(len(values) for values in series)
    spec = DataSpec(
        name,
        known,
        units,
        first.rate_hz,
        int(_positive(source, "window_samples", facts.get("window_samples", longest))),
        tuple(channel.name for channel in first.channels),
    )
    index = {label: i for i, label in enumerate(known)}
    y = np.array([index[label] for label in records.labels], np.int64)
    return Dataset(series, y, tuple(names), spec), interpolation_note(source.name, counts)


def _check_alike(where: str, recording: Recording, first: Recording) -> None:
    if not len(recording):
        raise DataError(f"{where}: no samples; remove it")
    if recording.rate_hz != first.rate_hz:
        raise DataError(
            f"{where}: {recording.rate_hz:g} Hz, {first.name} has {first.rate_hz:g} Hz; resample one of them"
        )
    names, wanted = (tuple((c.name, c.unit) for c in r.channels) for r in (recording, first))
    if names != wanted:
        shown, expected = (", ".join(f"{n} [{u}]" for n, u in pairs) for pairs in (names, wanted))
        raise DataError(
            f"{where}: channels {shown}; {first.name} has {expected}; every record needs the same"
        )


def _units(source: Path, records: _Records, given: Any) -> tuple[str, float]:
    """The one unit of all channels, and the factor into it where only the facts file tells the unit."""
    units = sorted({channel.unit for channel in records.recordings[0].channels})
    if len(units) > 1:
        raise DataError(f"{source}: channels in {', '.join(units)}; a model takes one unit")
    if given is None or units[0] != "1":
        return units[0], 1.0
    return microvolts(str(given))


def _labels(source: Path, records: _Records, wanted: Any) -> tuple[str, ...]:
    distinct = set(records.labels)
    if len(distinct) < 2:
        raise DataError(
            f"{source}: every record has the label {records.labels[0]!r}; two classes are needed to learn"
        )
    if wanted is None:
        try:
            return tuple(sorted(distinct, key=float))
        except ValueError:
            return tuple(sorted(distinct))
    known = tuple(_label_text(value) for value in wanted)
    for name, label in zip(records.names, records.labels, strict=True):
        if label not in known:
            raise DataError(
                f"{source}: record {name} has the label {label!r}; 'labels' lists {', '.join(known)}"
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
