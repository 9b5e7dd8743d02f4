"""One door to every loader, the split that comes with it, and the facts told about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data import info, ucr
from trainer.data.registry import load_data, training_parts
from trainer.data.splits import part_of
from trainer.errors import DataError


def npz(folder: Path, n: int = 60) -> Path:
    path = folder / "mine.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(n, 8)), y=np.arange(n) % 2, rate_hz=4.0, units="V")
    return path


def toy(folder: Path, name: str = "Toy", rows: int = 20) -> Path:
    (folder / name).mkdir(parents=True)
    for part in ("TRAIN", "TEST"):
        lines = [f"{i % 2}\t{i}\t{i + 1}\t{i - 1}\n" for i in range(rows)]
        (folder / name / f"{name}_{part}.tsv").write_text("".join(lines))
    return folder / name


def test_kind_is_detected(tmp_path: Path) -> None:
    assert load_data(npz(tmp_path)).kind == "own"
    assert load_data(toy(tmp_path)).kind == "ucr"
    assert load_data(tmp_path / "Toy" / "Toy_TEST.tsv").kind == "ucr"
    for label in ("a", "b"):
        (tmp_path / "csv" / label).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "csv" / label / f"{i}.csv").write_text("1\n2\n")
    assert load_data(tmp_path / "csv").kind == "own"


def test_ucr_keeps_test_and_draws_validation_from_train(tmp_path: Path) -> None:
    data = load_data(toy(tmp_path))
    assert [len(data.part(p)) for p in ("train", "val", "test", "all", "train+val")] == [16, 4, 20, 40, 20]
    train = data.part("train+val")
    assert all("_TRAIN" in name for name in train.names)
    assert all("_TEST" in name for name in data.part("test").names)
    np.testing.assert_array_equal(
        [name in data.part("val").names for name in train.names], ucr.validation_mask(train.y, train.names)
    )


def test_other_data_is_split_by_the_sha256_of_the_name(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path))
    for part in ("train", "val", "test"):
        assert data.part(part).names == tuple(n for n in data.records.names if part_of(n) == part)
    training, validation = training_parts("own", tmp_path / "mine.npz")
    assert set(training.names).isdisjoint(validation.names)


def test_split_of_known_names() -> None:
    # sha256("A00001") and so on, as a number, modulo 10: fixed for ever, every published figure rests on it
    import hashlib

    for name in ("A00001", "A04321", "Coffee_TEST:3"):
        last = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10
        assert part_of(name) == {0: "test", 1: "val"}.get(last, "train")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: p / "nothing", "no such file or folder"),
        (lambda p: npz(p).with_name("mime.npz"), "did you mean mine.npz"),
        (lambda p: toy(p / "archive").parent, "an archive of 1 datasets; name one"),
        (lambda p: p, "not data that is known here"),
    ],
)
def test_refused(tmp_path: Path, make: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        load_data(make(tmp_path))  # type: ignore[operator]


def test_a_zip_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "training.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"training\.zip: not a ZIP file"):
        load_data(tmp_path / "training.zip")


def test_archive_dataset_by_name_suggests_the_nearest(tmp_path: Path) -> None:
    toy(tmp_path / "archive", "Coffee")
    assert load_data(tmp_path / "archive", name="Coffee").spec.name == "Coffee"
    with pytest.raises(DataError, match="did you mean Coffee"):
        load_data(tmp_path / "archive", name="Coffe")


def test_another_dataset_than_the_one_named_is_refused(tmp_path: Path) -> None:
    folder = toy(tmp_path, "Coffee")
    assert load_data(folder, name="Coffee").spec.name == "Coffee"
    with pytest.raises(DataError, match=r"holds Coffee_T.*\.tsv, not CBF"):
        load_data(folder, name="CBF")


def test_unknown_split_and_kind(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path))
    with pytest.raises(DataError, match="unknown split 'dev'"):
        data.part("dev")
    with pytest.raises(DataError, match="unknown kind"):
        load_data(tmp_path / "mine.npz", "hdf5")


def test_training_without_validation_records_is_refused(tmp_path: Path) -> None:
    names = [n for n in (f"r{i}" for i in range(99)) if part_of(n) == "train"][:4]
    np.savez(tmp_path / "few.npz", x=np.ones((4, 3)), y=[0, 1, 0, 1], names=names)
    with pytest.raises(DataError, match="0 validation records"):
        training_parts("own", tmp_path / "few.npz")


def test_facts(tmp_path: Path) -> None:
    facts = info.facts_of(load_data(npz(tmp_path)))
    assert facts.records == 60
    assert sum(facts.parts.values()) == 60
    assert facts.constant_answer_accuracy == 0.5
    assert sum(sum(c.values()) for c in facts.classes.values()) == 60
    text = info.render(facts)
    assert "8 samples at 4 Hz (2 s)" in text
    assert "a constant answer scores 0.500" in text


def test_facts_of_an_archive_tell_what_cannot_be_read(tmp_path: Path) -> None:
    toy(tmp_path, "Good")
    bad = toy(tmp_path, "Ragged")
    with (bad / "Ragged_TRAIN.tsv").open("a") as file:
        file.write("1\t2\n")
    good, ragged = info.describe(tmp_path)
    assert isinstance(good, info.Facts)
    assert isinstance(ragged, DataError)
    assert "row 21" in str(ragged)


COUNTS = {  # train, test, classes, length: H. A. Dau and others, the archive's DataSummary.csv
    "Adiac": (390, 391, 37, 176),
    "ArrowHead": (36, 175, 3, 251),
    "Beef": (30, 30, 5, 470),
    "BeetleFly": (20, 20, 2, 512),
    "BirdChicken": (20, 20, 2, 512),
    "CBF": (30, 900, 3, 128),
    "Car": (60, 60, 4, 577),
    "Coffee": (28, 28, 2, 286),
    "FiftyWords": (450, 455, 50, 270),
    "SmallKitchenAppliances": (375, 375, 3, 720),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_ten_datasets_of_paper_1(ucr_folder: Path, name: str) -> None:
    data = load_data(ucr_folder, name=name)
    train, test, classes, length = COUNTS[name]
    assert (len(data.part("train+val")), len(data.part("test"))) == (train, test)
    assert (len(data.spec.labels), data.spec.window_samples) == (classes, length)
    assert data.notes == ()
    validation = data.part("val")
    assert 0.1 * train < len(validation) < 0.3 * train
