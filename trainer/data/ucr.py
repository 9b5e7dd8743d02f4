"""Datasets of the UCR Time Series Archive: ``NAME/NAME_TRAIN.tsv`` and ``NAME/NAME_TEST.tsv``.

Source: H. A. Dau and others, "The UCR Time Series Archive", IEEE/CAA Journal of Automatica Sinica 6 (2019).
One row is one series: the label first, then the values, separated by tabs. Most sets are z-normalised by
their authors, so units are those of the file ("1") and the rate, which the archive does not give, counts one
sample a second. TRAIN and TEST stay as the archive has them; validation records are drawn from TRAIN by
:func:`validation_mask`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data.base import Dataset, DataSpec
from trainer.data.missing import interpolation_note, repair
from trainer.errors import DataError

log = logging.getLogger(__name__)

UNITS, RATE_HZ = "1", 1.0
VALIDATION_SHARE = (
    0.2  # a tenth of TRAIN, the rule for single-archive data, would often be one series a class
)
MIN_TRAIN_SERIES = 3  # two to tell classes apart, one to validate on


@dataclass(frozen=True)
class Table:
    """One .tsv file.

    ``series[i]`` is (time_i, 1) float32; ``lines`` are line numbers from 1; ``interpolated[i]`` counts
    values.
    """

    file: Path
    series: list[np.ndarray]
    labels: list[str]
    lines: list[int]
    interpolated: list[int]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(record_name(self.file, row) for row in range(len(self.labels)))


def record_name(file: Path, row: int) -> str:
    """The name of a row (counted from 0), the same that ``firmware_bridge.recordings`` gives it."""
    return f"{file.stem}:{row}"


def is_dataset(folder: Path) -> bool:
    """Whether ``folder`` holds a NAME_TRAIN.tsv or a NAME_TEST.tsv."""
    return any(folder.glob("*_TRAIN.tsv")) or any(folder.glob("*_TEST.tsv"))


def datasets_in(archive: Path) -> list[str]:
    """Names of the dataset folders directly below ``archive``, sorted."""
    return sorted(child.name for child in archive.iterdir() if child.is_dir() and is_dataset(child))


def load(path: str | Path, name: str | None = None) -> tuple[Dataset, Dataset]:
    """TRAIN and TEST of the dataset folder ``path``, or of dataset ``name`` in the archive ``path``.

    ``spec.labels`` are the labels of TRAIN as the file writes them, numbers in their order;
    ``window_samples`` is the longest series of both parts. Interpolated values are counted and told on the
    log.

    Raises:
        DataError: a part is missing, rows are ragged, a value is no number, TRAIN has one class or fewer than
            three series, or TEST has a label that TRAIN lacks (names file and row).
    """
    train, test, notes = load_with_notes(path, name)
    for note in notes:
        log.warning("%s", note)
    return train, test


def load_with_notes(path: str | Path, name: str | None = None) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    """As :func:`load`, with the sentences about interpolated values as a third result."""
    folder = Path(path) if name is None else Path(path) / name
    tables = [read_table(_part_file(folder, part)) for part in ("TRAIN", "TEST")]
    labels = _label_order(tables[0])
    if len(tables[0].labels) < MIN_TRAIN_SERIES:
        raise DataError(
            f"{tables[0].file}: {len(tables[0].labels)} series; training needs at least {MIN_TRAIN_SERIES}"
        )
    if len(labels) < 2:
        raise DataError(
            f"{tables[0].file}: every row has the label {labels[0]!r}; two classes are needed to learn"
        )
    window = max(len(series) for table in tables for series in table.series)
    spec = DataSpec(folder.name or tables[0].file.stem[: -len("_TRAIN")], labels, UNITS, RATE_HZ, window)
    notes = tuple(
        note for table in tables for note in interpolation_note(table.file.name, table.interpolated)
    )
    train, test = (_dataset(table, spec) for table in tables)
    return train, test, notes


def read_table(file: Path) -> Table:
    """Every row of one .tsv file.

    Raises:
        DataError: unreadable, empty, ragged, or a value that is no number (names file, row and column, both
            from 1).
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    rows = [(number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise DataError(f"{file}: no rows; each row is a label and its values, separated by tabs")
    width = len(rows[0][1])
    if width < 2:
        raise DataError(
            f"{file}: row {rows[0][0]} has no values; columns are separated by tabs, the label is first"
        )
    series, labels, interpolated = [], [], []
    for number, cells in rows:
        if len(cells) != width:
            raise DataError(
                f"{file}: row {number} has {len(cells)} columns, row {rows[0][0]} has {width}; "
                "fill shorter series with NaN at the end"
            )
        labels.append(_label(cells[0], file, number))
        values, count = repair(_numbers(cells[1:], file, number)[:, None], f"{file}: row {number}")
        series.append(values.astype(np.float32))
        interpolated.append(count)
    return Table(file, series, labels, [number for number, _ in rows], interpolated)


def validation_mask(y: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Which TRAIN records validate: (n,) bool, a fifth of each class, those whose names hash lowest (sha256).

    Drawn by name so that every run and tool agrees, and per class because many sets have a handful of series.
    A class of three or more gives at least one; when every class is smaller than that, the largest gives one.
    """
    order = np.array(
        [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in names], np.uint64
    )
    mask = np.zeros(len(y), bool)
    classes, counts = np.unique(y, return_counts=True)
    for label, count in zip(classes, counts, strict=True):
        take = max(1, round(count * VALIDATION_SHARE)) if count >= 3 else 0
        members = np.flatnonzero(y == label)
        mask[members[np.argsort(order[members])[:take]]] = True
    if not mask.any():
        members = np.flatnonzero(y == classes[np.argmax(counts)])
        mask[members[np.argmin(order[members])]] = True
    return mask


def _part_file(folder: Path, part: str) -> Path:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; give a dataset folder with its NAME_TRAIN.tsv and NAME_TEST.tsv"
        )
    found = sorted(folder.glob(f"*_{part}.tsv"))
    if not found:
        raise DataError(f"{folder}: no *_{part}.tsv; a UCR dataset has a TRAIN and a TEST file")
    if len(found) > 1:
        raise DataError(
            f"{folder}: several *_{part}.tsv ({', '.join(f.name for f in found)}); keep one dataset a folder"
        )
    return found[0]


def _label(cell: str, file: Path, row: int) -> str:
    """Labels of any kind as text; whole numbers lose their decimals, since both ``1`` and ``1.0000000e+00``
    occur.
    """
    text = cell.strip()
    if not text or text.lower() == "nan":
        raise DataError(f"{file}: row {row} has no label in its first column")
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def _numbers(cells: list[str], file: Path, row: int) -> np.ndarray:
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        pass
    values = np.empty(len(cells))
    for column, cell in enumerate(cells):
        try:
            values[column] = float(cell) if cell.strip() not in ("", "?") else np.nan
        except ValueError:
            raise DataError(f"{file}: row {row}, column {column + 2}: {cell[:20]!r} is no number") from None
    return values


def _label_order(train: Table) -> tuple[str, ...]:
    distinct = set(train.labels)
    try:
        return tuple(sorted(distinct, key=float))
    except ValueError:
        return tuple(sorted(distinct))


def _dataset(table: Table, spec: DataSpec) -> Dataset:
    index = {label: i for i, label in enumerate(spec.labels)}
    y = np.empty(len(table.labels), np.int64)
    for row, label in enumerate(table.labels):
        if label not in index:
            raise DataError(
                f"{table.file}: row {table.lines[row]} has the label {label!r}, which TRAIN lacks; known are "
                f"{', '.join(spec.labels)}"
            )
        y[row] = index[label]
    return Dataset(table.series, y, table.names, spec)
