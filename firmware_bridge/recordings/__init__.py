"""Recorded signals from any file that people have: the one place that reads and writes them.

WFDB (.hea with .dat or MATLAB v4 .mat), EDF, CSV, npz and UCR .tsv, single, in a folder, or in a zip such as
PhysioNet's. Records are read when asked for; opening a zip of thousands only reads its table of contents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from firmware_bridge.errors import RecordingError
from firmware_bridge.recordings.base import Entry, Recording, RecordingSet
from firmware_bridge.recordings.edf import read_edf
from firmware_bridge.recordings.files import Files, Folder, Zip
from firmware_bridge.recordings.npz import npz_entries
from firmware_bridge.recordings.tables import read_csv, ucr_entries
from firmware_bridge.recordings.wfdb_format import read_record
from firmware_bridge.recordings.write import write_recording

__all__ = ["Entry", "Recording", "RecordingSet", "open_recordings", "write_recording"]

_REFERENCE = re.compile(r"(?:REFERENCE(?:-v(\d+))?|labels)\.csv")
_MAX_LABEL = 32


def open_recordings(
    path: str | Path, *, rate_hz: float | None = None, known_labels: Collection[str] | None = None
) -> RecordingSet:
    """The records in a file, a folder or a zip.

    Args:
        path: also a WFDB record's name without ``.hea``.
        rate_hz: for formats that do not say (UCR; CSV and npz without a rate): else 1.0.
        known_labels: labels that a reference file may use; others are an error that names the line.

    Raises:
        RecordingError: nothing there, nothing readable in it, or a reference file that is malformed.
    """
    path = Path(path)
    files = _files(path)
    labels: dict[str, str] = {}
    entries: list[Entry] = []
    names = files.names
    has_header = any(name.endswith(".hea") for name in names)
    for name in names:
        found, given = _entries(files, name, rate_hz, has_header)
        entries += found
        labels |= given
    if not entries:
        kinds = ".hea, .edf, .csv, .npz or .tsv"
        raise RecordingError(f"{path}: no recordings in it ({kinds})")
    labels |= _reference(files, known_labels)
    if known_labels is not None:
        for record, label in labels.items():
            if label not in known_labels:
                raise RecordingError(f"{path}: label {label!r} of {record} is none of {sorted(known_labels)}")
    return RecordingSet(str(path), _ordered(files, entries), labels)


def _files(path: Path) -> Files:
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        if path.with_name(path.name + ".hea").is_file():
            path = path.with_name(path.name + ".hea")
        else:
            raise RecordingError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return Zip(path)
    if suffix in (".mat", ".dat"):
        header = path.with_suffix(".hea")
        if not header.is_file():
            raise RecordingError(f"{path}: its header {header.name} is missing")
        path = header
    if path.suffix.lower() not in (".hea", ".csv", ".npz", ".tsv", ".edf"):
        raise RecordingError(
            f"{path}: not a kind of recording that is read (.hea, .edf, .csv, .npz, .tsv, .zip)"
        )
    references = [other.name for other in path.parent.glob("REFERENCE*.csv")] if path.suffix == ".hea" else []
    return Folder(path.parent, [path.name, *references])


def _entries(
    files: Files, name: str, rate_hz: float | None, has_header: bool
) -> tuple[list[Entry], dict[str, str]]:
    pure = PurePosixPath(name)
    suffix, record = pure.suffix.lower(), pure.with_suffix("").as_posix()
    read: Callable[[], Recording]
    if suffix == ".hea":

        def read() -> Recording:
            return read_record(files, name, record)
    elif suffix == ".edf":

        def read() -> Recording:
            return read_edf(files, name, record)
    elif suffix == ".csv" and not _REFERENCE.fullmatch(pure.name) and not has_header:
        # Beside WFDB records, a CSV file is some table about them.
        def read() -> Recording:
            return read_csv(files, name, record, rate_hz)
    elif suffix == ".npz":
        return npz_entries(files, name, rate_hz)
    elif suffix == ".tsv":
        return ucr_entries(files, name, rate_hz)
    else:
        return [], {}
    return [Entry(record, read)], {}


def _reference(files: Files, known: Collection[str] | None) -> dict[str, str]:
    """Labels from REFERENCE.csv, its newest version, or labels.csv: lines of ``name,label``."""
    versions = []
    for name in files.names:
        match = _REFERENCE.fullmatch(PurePosixPath(name).name)
        if match:
            versions.append((int(match[1] or 0), name))
    if not versions:
        return {}
    _, name = max(versions)
    labels: dict[str, str] = {}
    parent = PurePosixPath(name).parent
    for number, line in enumerate(files.read(name).decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or (
            number == 1 and line.lower().replace(" ", "").startswith(("name,", "record,"))
        ):
            continue
        where = f"{files.source}: {name}, line {number}"
        record, separator, label = (part.strip() for part in line.partition(","))
        if not separator or not record or not label or "," in label or len(label) > _MAX_LABEL:
            raise RecordingError(f"{where}: {line[:60]!r} is not a record's name and its label")
        if known is not None and label not in known:
            raise RecordingError(f"{where}: label {label!r} of {record} is none of {sorted(known)}")
        labels[(parent / record).as_posix()] = label
    return labels


def _ordered(files: Files, entries: list[Entry]) -> list[Entry]:
    """In the order of RECORDS where there is one; what it does not list comes after."""
    listing = next((name for name in files.names if PurePosixPath(name).name == "RECORDS"), None)
    if listing is None:
        return entries
    parent = PurePosixPath(listing).parent
    lines = files.read(listing).decode("utf-8", "replace").split()
    rank = {(parent / line).as_posix(): i for i, line in enumerate(lines)}
    return sorted(entries, key=lambda entry: rank.get(entry.name, len(rank)))
