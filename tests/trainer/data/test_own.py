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
            units=["mV"],
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
        "uV",
        ("left", "right"),
        4,
    )
    assert data.signals[0].dtype == np.float32
    np.testing.assert_array_equal(data.signals[1], 1000 * np.stack([X[1], -X[1]], axis=1))


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
        ({"y": [0, 1]}, "none of the arrays"),
        ({"x": X}, "no array 'y'"),
        ({"x": X, "y": [0, 1]}, "2 labels"),
        ({"x": X, "y": [0, 0, 0, 0]}, "two classes are needed"),
        ({"x": X[:2], "y": [0, 1]}, "2 records; at least 3"),
        ({"x": X, "y": [0, 1, 0, 1], "names": ["a", "b", "a", "c"]}, "'a' occurs twice"),
        ({"x": X, "y": [0, 1, 0, 1], "names": ["a"]}, "1 names for 4 records"),
        ({"x": X, "y": [0, 1, 0, 1], "rate_hz": 0.0}, "rate_hz must be one positive number"),
        ({"x": X, "y": [0, 1, 0, 1], "window_samples": "long"}, "window_samples is 'long'"),
        ({"x": X, "y": [0, 1, 0, 1], "channels": ["a", "b"]}, "each of the 1 channels"),
        ({"x": X, "y": ["a", "b", "c", "a"], "labels": ["a", "b"]}, "record mine:2 has the label 'c'"),
        ({"x": np.full((4, 6), np.inf), "y": [0, 1, 0, 1]}, "record mine:0: sample 0 is infinite"),
        ({"x": np.full((4, 6), np.nan), "y": [0, 1, 0, 1]}, "record mine:0: no value"),
        ({"x": np.stack([X, X], 2), "y": [0, 1, 0, 1], "units": ["A", "V"]}, "takes one unit"),
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


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"\x93NUMPY\x01\x00"])
def test_not_an_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz"):
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
                "off/a.csv": "left,right\n0,0\n0,nan\n0,8\n",
                "dataset.toml": 'rate_hz = 100\nunits = "mV"\nlabels = ["on", "off"]\n',
            },
        )
    )
    assert data.names == ("off/a", "on/a", "on/b")
    assert data.y.tolist() == [1, 0, 0]
    spec = data.spec
    assert (spec.name, spec.rate_hz, spec.units) == ("set", 100.0, "uV")
    assert (spec.channels, spec.window_samples) == (("left", "right"), 3)
    assert data.signals[0][:, 1].tolist() == [0, 4000, 8000]


def test_csv_units_and_rate_in_the_files(tmp_path: Path) -> None:
    text = "time,ecg [mV]\n0.00,1\n0.01,2\n0.02,3\n"
    data = own.load(folder_of(tmp_path, {"on/a.csv": text, "on/b.csv": text, "off/a.csv": text}))
    assert (data.spec.rate_hz, data.spec.units, data.spec.channels) == (100.0, "uV", ("ecg",))
    assert data.signals[0][:, 0].tolist() == [1000, 2000, 3000]


GOOD = {"on/b.csv": "v\n1\n2\n", "on/c.csv": "v\n1\n2\n", "off/a.csv": "v\n1\n2\n"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"on/a.csv": "v\n1\n2,3\n"}, "on/a"),
        ({"on/a.csv": "v\n1\nx\n"}, "on/a"),
        ({"on/a.csv": ""}, "on/a.csv has no rows"),
        ({"on/a.csv": "v,w\n1,2\n"}, "record on/a: channels v .*, w"),
        ({"on/a.csv": "u\n1\n"}, "record on/a: channels u"),
        ({"on/a.csv": "# rate_hz: 7\nv\n1\n2\n"}, "record on/a: 7 Hz"),
        ({"a.csv": "v\n1\n2\n"}, "a lies in no class folder"),
        ({"dataset.toml": "rate = 3\n"}, "unknown key 'rate'"),
        ({"dataset.toml": "rate_hz = = 3\n"}, "line 1"),
        ({"dataset.toml": "rate_hz = -3\n"}, "rate_hz is -3"),
    ],
)
def test_csv_folder_refused(tmp_path: Path, files: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        own.load(folder_of(tmp_path, GOOD | files))


def test_folder_without_recordings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recordings in it"):
        own.load(folder_of(tmp_path, {"on/a.txt": "1\n"}))
