"""Own data: an .npz, or a folder of CSV files for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.data import own
from trainer.errors import DataError

X = np.arange(24, dtype=np.float64).reshape(4, 6)


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def test_npz_with_every_fact(tmp_path: Path) -> None:
    data = own.load(
        save(
            tmp_path,
            x=np.stack([X, -X], axis=2),
            y=["on", "off", "on", "off"],
            names=["a", "b", "c", "d"],
            rate_hz=50.0,
            units="mA",
            channels=["left", "right"],
            labels=["on", "off"],
            window_samples=4,
        )
    )
    assert data.names == ("a", "b", "c", "d")
    assert data.y.tolist() == [0, 1, 0, 1]
    spec = data.spec
    assert (spec.rate_hz, spec.units, spec.channels, spec.window_samples) == (
        50.0,
        "mA",
        ("left", "right"),
        4,
    )
    assert data.signals[0].dtype == np.float32
    np.testing.assert_array_equal(data.signals[1], np.stack([X[1], -X[1]], axis=1))


def test_npz_needs_only_x_and_y(tmp_path: Path) -> None:
    data = own.load(save(tmp_path, x=X, y=[10, 2, 10, 2]))
    assert data.names == ("mine:0", "mine:1", "mine:2", "mine:3")
    assert data.spec.labels == ("2", "10")
    assert (data.spec.rate_hz, data.spec.units, data.spec.window_samples) == (1.0, "1", 6)


def test_npz_tail_of_nan_is_a_shorter_record(tmp_path: Path) -> None:
    x = X.copy()
    x[1, 4:] = np.nan
    x[2, 1] = np.nan
    data, notes = own.load_with_notes(save(tmp_path, x=x, y=[0, 1, 0, 1]))
    assert [len(signal) for signal in data.signals] == [6, 4, 6, 6]
    assert data.signals[2][1, 0] == 13
    assert notes == ("mine.npz: 1 missing values in 1 of 4 records were interpolated",)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"y": [0, 1]}, "no array 'x'"),
        ({"x": X}, "no array 'y'"),
        ({"x": X[0], "y": [0]}, "must be numbers of shape"),
        ({"x": X, "y": [0, 1]}, r"one label a record, shape \(4,\)"),
        ({"x": X, "y": [0, 0, 0, 0]}, "two classes are needed"),
        ({"x": X[:2], "y": [0, 1]}, "2 records; at least 3"),
        ({"x": X, "y": [0, 1, 0, 1], "names": ["a", "b", "a", "c"]}, "'a' occurs twice"),
        ({"x": X, "y": [0, 1, 0, 1], "names": ["a"]}, "1 names for 4 records"),
        ({"x": X, "y": [0, 1, 0, 1], "rate_hz": 0.0}, "rate_hz is 0.0"),
        ({"x": X, "y": [0, 1, 0, 1], "window_samples": "long"}, "window_samples is 'long'"),
        ({"x": X, "y": [0, 1, 0, 1], "channels": ["a", "b"]}, "2 channel names for 1 channels"),
        ({"x": X, "y": ["a", "b", "c", "a"], "labels": ["a", "b"]}, "record 2 has the label 'c'"),
        ({"x": np.full((4, 6), np.inf), "y": [0, 1, 0, 1]}, r"record 0 \(mine:0\): sample 0 is infinite"),
        ({"x": np.full((4, 6), np.nan), "y": [0, 1, 0, 1]}, "record 0 .* no value"),
    ],
)
def test_npz_refused(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        own.load(save(tmp_path, **arrays))
    assert "mine.npz" in str(caught.value)


def test_npz_of_objects_is_refused_without_running_them(tmp_path: Path) -> None:
    path = save(tmp_path, x=np.array([[1], [2, 3]], dtype=object), y=[0, 1])
    with pytest.raises(DataError, match="instead of storing objects"):
        own.load(path)


def test_not_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(DataError, match=r"mine\.npz: not a readable \.npz"):
        own.load(path)
    with path.open("wb") as file:
        np.save(file, X)
    with pytest.raises(DataError, match=r"mine\.npz: not a readable \.npz"):
        own.load(path)


def folder_of(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "set"


def test_csv_folder(tmp_path: Path) -> None:
    data = own.load(
        folder_of(
            tmp_path,
            {
                "on/a.csv": "left,right\n1,2\n3,4\n",
                "on/b.csv": "left,right\n1,2\n3,4\n5,6\n",
                "off/a.csv": "left,right\n0,0\n0,\n0,8\n",
                "dataset.toml": 'rate_hz = 100\nunits = "mV"\nlabels = ["on", "off"]\n',
            },
        )
    )
    assert data.names == ("off/a", "on/a", "on/b")
    assert data.y.tolist() == [1, 0, 0]
    spec = data.spec
    assert (spec.name, spec.rate_hz, spec.units, spec.channels, spec.window_samples) == (
        "set", 100.0, "mV", ("left", "right"), 3,
    )  # fmt: skip
    assert data.signals[0][:, 1].tolist() == [0, 4, 8]


@pytest.mark.parametrize("text", ["1;2\n3;4\n", "1\t2\n3\t4\n", "1 2\n3 4\n", "\ufeff1,2\n3,4\n"])
def test_csv_separators(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="utf-8")
    values, columns = own.read_csv(path)
    assert values.tolist() == [[1, 2], [3, 4]]
    assert columns == ("channel_0", "channel_1")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"on/a.csv": "1\n2,3\n"}, "row 2 has 2 columns instead of 1"),
        ({"on/a.csv": "v\n1\nx\n"}, "row 3: 'x' is not a row of numbers"),
        ({"on/a.csv": ""}, "no samples"),
        ({"on/a.csv": "1\n", "on/b.csv": "1,2\n"}, "2 columns"),
        ({"on/a.csv": "u\n1\n", "on/b.csv": "v\n1\n"}, "columns v"),
        ({"on/a.csv": "1\n", "dataset.toml": "rate = 3\n"}, "unknown key 'rate'"),
        ({"on/a.csv": "1\n", "dataset.toml": "rate_hz = = 3\n"}, "line 1"),
        ({"on/a.txt": "1\n"}, "no CLASS/RECORD.csv"),
    ],
)
def test_csv_folder_refused(tmp_path: Path, files: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        own.load(folder_of(tmp_path, files))
