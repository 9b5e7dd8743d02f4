"""UCR folders: what loads, what is refused and with which words, and where validation comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data import ucr
from trainer.errors import DataError


def write(folder: Path, train: str, test: str | None = "1\t1\t2\t3\n2\t4\t5\t6\n", name: str = "Toy") -> Path:
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_TRAIN.tsv").write_text(train)
    if test is not None:
        (folder / f"{name}_TEST.tsv").write_text(test)
    return folder


TRAIN = "1\t1.5\t2\t3\n2\t4\t5\t6\n1\t7\t8\t9\n2\t1\t1\t1\n"


def test_rows_become_records_with_labels_values_and_names(tmp_path: Path) -> None:
    train, test = ucr.load(write(tmp_path, TRAIN))
    assert train.names == ("Toy_TRAIN:0", "Toy_TRAIN:1", "Toy_TRAIN:2", "Toy_TRAIN:3")
    assert train.y.tolist() == [0, 1, 0, 1]
    assert train.spec.labels == ("1", "2")
    np.testing.assert_array_equal(train.signals[0], np.float32([[1.5], [2], [3]]))
    assert len(test) == 2
    assert test.spec == train.spec


def test_a_dataset_of_an_archive_loads_by_name(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, name="Alpha")
    write(tmp_path, TRAIN, name="Beta")
    assert ucr.datasets_in(tmp_path) == ["Alpha", "Beta"]
    assert ucr.load(tmp_path, "Beta")[0].spec.name == "Beta"


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (("-1", "1", "10"), ("-1", "1", "10")),
        (("1.0000000e+00", "2", "10.0"), ("1", "2", "10")),
        (("wake", "sleep", "rem"), ("rem", "sleep", "wake")),
        (("0.5", "1", "2"), ("0.5", "1", "2")),
    ],
)
def test_labels_of_any_kind_in_the_order_of_their_numbers(
    tmp_path: Path, column: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    rows = "".join(f"{label}\t1\t2\n" for label in column)
    train, _ = ucr.load(write(tmp_path, rows, f"{column[0]}\t1\t2\n"))
    assert train.spec.labels == labels


def test_a_missing_tail_shortens_and_inner_gaps_are_interpolated_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, "1\t0\tNaN\t4\t5\n2\t1\t2\tNaN\tnan\n1\tNaN\t3\t3\t3\n", "1\t1\t2\t3\t4\n")
    train, _ = ucr.load(folder)
    assert [len(signal) for signal in train.signals] == [4, 2, 4]
    assert train.signals[0][:, 0].tolist() == [0, 2, 4, 5]
    assert train.signals[2][:, 0].tolist() == [3, 3, 3, 3]
    assert train.spec.window_samples == 4
    assert "2 missing values in 2 of 3 records were interpolated" in caplog.text


def test_unequal_lengths_are_padded_on_both_sides(tmp_path: Path) -> None:
    train, _ = ucr.load(
        write(tmp_path, "1\t1\t1\t1\t1\n2\t2\t2\tNaN\tNaN\n1\t1\t1\t1\t1\n", "1\t1\t1\t1\t1\n")
    )
    windows = train.windows()
    assert windows.x[1, :, 0].tolist() == [0, 2, 2, 0]
    assert windows.valid[1].tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ("1\t1\t2\n1\t3\t4\n1\t3\t4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "'1'", "two classes"]),
        ("1\t1\t2\n2\t3\t4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "2 series", "at least 3"]),
        ("1\t1\t2\n2\t3\n1\t3\t4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "row 2", "2 columns", "NaN"]),
        (TRAIN, "1\t1\t2\t3\n2\t1\t2\n", ["Toy_TEST.tsv", "row 2", "3 columns"]),
        (TRAIN, "\n1\t1\t2\t3\n3\t1\t2\t3\n", ["Toy_TEST.tsv", "row 3", "'3'", "TRAIN lacks"]),
        ("1\t1\tx\n2\t3\t4\n1\t3\t4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "row 1", "column 3", "'x'"]),
        ("1\t1\tinf\n2\t3\t4\n1\t3\t4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "row 1", "infinite"]),
        ("1\tNaN\tNaN\n2\t3\t4\n1\t3\t4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "row 1", "no value"]),
        ("\t1\t2\n2\t3\t4\n1\t3\t4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "row 1", "no label"]),
        ("1 1 2\n2 3 4\n", "1\t1\t2\n", ["Toy_TRAIN.tsv", "row 1", "separated by tabs"]),
        ("", "1\t1\t2\n", ["Toy_TRAIN.tsv", "no rows"]),
    ],
)
def test_refused_with_file_and_row(tmp_path: Path, train: str, test: str, told: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        ucr.load(write(tmp_path, train, test))
    for words in told:
        assert words in str(caught.value)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*_TEST.tsv"):
        ucr.load(write(tmp_path, TRAIN, None))
    (tmp_path / "Toy" / "Toy_TEST.tsv").write_text("1\t1\t2\t3\n")
    (tmp_path / "Toy" / "Toy_TRAIN.tsv").unlink()
    with pytest.raises(DataError, match=r"no \*_TRAIN.tsv"):
        ucr.load(tmp_path / "Toy")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, TRAIN)
    (folder / "Toy_TRAIN.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="cannot be read"):
        ucr.load(folder)


def test_validation_takes_a_fifth_of_each_class_by_name_alone() -> None:
    y = np.repeat([0, 1, 2], [50, 10, 2])
    names = [f"X_TRAIN:{i}" for i in range(len(y))]
    mask = ucr.validation_mask(y, names)
    assert np.bincount(y[mask], minlength=3).tolist() == [10, 2, 0]
    order = np.random.default_rng(0).permutation(len(y))
    np.testing.assert_array_equal(ucr.validation_mask(y[order], [names[i] for i in order]), mask[order])


def test_validation_of_tiny_classes_still_has_one_record() -> None:
    mask = ucr.validation_mask(np.array([0, 0, 1]), ["a", "b", "c"])
    assert mask.sum() == 1
    assert mask[:2].any()
