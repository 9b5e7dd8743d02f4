"""One door to every loader: a path in, records with their split out."""

from __future__ import annotations

import difflib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data import cinc2017, own, ucr
from trainer.data.base import Dataset, DataSpec
from trainer.data.splits import SPLITS, part_of
from trainer.errors import DataError

KINDS = ("cinc2017", "ucr", "own")


@dataclass(frozen=True)
class LoadedData:
    """All records of a source and the part that each belongs to ("train", "val" or "test")."""

    kind: str
    records: Dataset
    parts: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> DataSpec:
        return self.records.spec

    def part(self, which: str) -> Dataset:
        """The records of a split, in the order of the source; "all" is every record, "train+val" joins two.

        Raises:
            DataError: unknown split.
        """
        wanted = which.split("+")
        for name in wanted:
            if name not in SPLITS:
                raise DataError(f"unknown split {name!r}; choose one of {', '.join(SPLITS)}")
        if "all" in wanted:
            return self.records
        return self.records.take(np.flatnonzero([part in wanted for part in self.parts]))


def load_data(path: str | Path, kind: str | None = None, name: str | None = None) -> LoadedData:
    """Load what is at ``path``; ``kind`` is detected when not given, ``name`` picks a dataset of an archive.

    UCR keeps its TRAIN and TEST, validation drawn from TRAIN; everything else is split by the record's name.

    Raises:
        DataError: nothing there, a kind that cannot be told, or what the loader refuses.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise DataError(f"unknown kind of data {kind!r}; choose one of {', '.join(KINDS)}")
    if not path.exists():
        raise DataError(_absent(path))
    kind = kind or detect_kind(path)
    if kind == "ucr":
        return _load_ucr(path, name)
    notes: tuple[str, ...] = ()
    if kind == "cinc2017":
        records = cinc2017.load(path)
    else:
        records, notes = own.load_with_notes(path)
    return LoadedData(kind, records, tuple(part_of(record) for record in records.names), notes)


def training_parts(kind: str, path: str | Path, name: str = "") -> tuple[Dataset, Dataset]:
    """(training, validation) records of the source at ``path``.

    Raises:
        DataError: as :func:`load_data`, or a source whose validation part is empty.
    """
    data = load_data(path, kind, name or None)
    training, validation = data.part("train"), data.part("val")
    if not len(training) or not len(validation):
        raise DataError(
            f"{path}: {len(training)} training and {len(validation)} validation records after the split by "
            "name; "
            "more records are needed"
        )
    return training, validation


def detect_kind(path: Path) -> str:
    """Which loader fits the file or folder at ``path``.

    Raises:
        DataError: none does.
    """
    if path.is_file():
        if path.suffix == ".npz":
            return "own"
        if path.suffix == ".tsv":
            return "ucr"
        if zipfile.is_zipfile(path):
            return "cinc2017"
        if path.suffix == ".zip":
            raise DataError(f"{path}: not a ZIP file; fetch it again")
    elif ucr.is_dataset(path) or ucr.datasets_in(path):
        return "ucr"
    elif any(path.glob("*.hea")) or any(path.glob("*/*.hea")):
        return "cinc2017"
    elif any(path.glob("*/*.csv")):
        return "own"
    raise DataError(
        f"{path}: not data that is known here; give a UCR dataset folder (NAME_TRAIN.tsv and "
        "NAME_TEST.tsv), the CinC "
        "2017 zip or folder, an .npz, or a folder with one folder of CSV files per class"
    )


def _load_ucr(path: Path, name: str | None) -> LoadedData:
    if path.is_file():  # one of the two files stands for its folder
        path = path.parent
    if not ucr.is_dataset(path):
        known = ucr.datasets_in(path)
        if not known:
            raise DataError(f"{path}: no *_TRAIN.tsv; give a UCR dataset folder")
        if not name:
            raise DataError(
                f"{path}: an archive of {len(known)} datasets; name one, for example {path / known[0]}"
            )
        if name not in known:
            raise DataError(f"{path}: no dataset {name!r}; {_nearest(name, known)}")
        path = path / name
    elif name and not (path / f"{name}_TRAIN.tsv").exists():
        found = next(path.glob("*_T*.tsv")).name
        raise DataError(
            f"{path}: holds {found}, not {name}; give the folder of {name} or the archive above it"
        )
    train, test, notes = ucr.load_with_notes(path)
    records = train.joined(test)
    validation = ucr.validation_mask(train.y, train.names)
    parts = tuple("val" if chosen else "train" for chosen in validation) + ("test",) * len(test)
    return LoadedData("ucr", records, parts, notes)


def _absent(path: Path) -> str:
    if path.parent.is_dir():
        names = [child.name for child in path.parent.iterdir()]
        return f"{path}: no such file or folder; {_nearest(path.name, names)}"
    return f"{path}: no such file or folder"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "see what is beside it"
