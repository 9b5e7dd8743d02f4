"""Recordings as tables: CSV, the UCR archive's rows and NumPy's npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import open_recordings

SIGNAL = (np.sin(np.arange(900) / 7) * 800).astype(np.int16)


def test_ucr_rows_are_records(tmp_path: Path):
    (tmp_path / "Toy_TEST.tsv").write_text("1\t0.5\t-1.5\t2\n-1\t3\t4\tNaN\n\n")
    records = open_recordings(tmp_path)
    assert list(records.names) == ["Toy_TEST:0", "Toy_TEST:1"]
    first, second = records
    assert (first.label, second.label) == ("1", "-1")
    assert first.physical[:, 0].tolist() == [0.5, -1.5, 2.0]
    assert second.physical[:, 0].tolist() == [3.0, 4.0]
    assert (first.rate_hz, first.channels[0].unit) == (1.0, "1")
    assert records.read("Toy_TEST.tsv:1").name == "Toy_TEST:1"
    assert open_recordings(tmp_path, rate_hz=2.5).read("Toy_TEST:0").rate_hz == 2.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\t2\t3\n1\t2\n", "line 2: 2 columns, the lines before have 3"),
        ("1\t2\n1\tx\n", "line 2"),
        ("1\t2\n1\n", "line 2: needs a label"),
        ("nan\t2\n", "line 1: needs a label"),
    ],
)
def test_ragged_or_wrong_ucr_rows(tmp_path: Path, text: str, says: str):
    (tmp_path / "Toy.tsv").write_text(text)
    with pytest.raises(RecordingError, match=says):
        open_recordings(tmp_path).read("Toy:0")


def test_empty_ucr_file(tmp_path: Path):
    (tmp_path / "Toy.tsv").write_text("\n")
    with pytest.raises(RecordingError, match="has no rows"):
        open_recordings(tmp_path / "Toy.tsv")


@pytest.mark.parametrize(
    ("text", "rate_hz", "channels", "rows"),
    [
        ("1\n2\n", 1.0, [("ch0", "1")], [[1], [2]]),
        (
            "# rate_hz: 250\necg [mV],ref\n1,2\n3,nan\n",
            250.0,
            [("ecg", "uV"), ("ref", "1")],
            [[1000, 2], [3000, None]],
        ),
        ("time,ecg_uv\n0,1\n0.004,2\n0.008,3\n", 250.0, [("ecg", "uV")], [[1], [2], [3]]),
        ("time_ms;a;b\n0;1;2\n2;3;4\n", 500.0, [("a", "1"), ("b", "1")], [[1, 2], [3, 4]]),
        ("0.000 1\n", 1.0, [("ch0", "1"), ("ch1", "1")], [[0, 1]]),
    ],
)
def test_csv(tmp_path: Path, text: str, rate_hz: float, channels: list, rows: list):
    (tmp_path / "r.csv").write_text(text)
    record = open_recordings(tmp_path / "r.csv").read("r")
    assert record.rate_hz == rate_hz
    assert [(c.name, c.unit) for c in record.channels] == channels
    assert [[None if np.isnan(x) else x for x in row] for row in record.physical.tolist()] == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no rows"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "number of columns"),
        ("a\n1\nhello\n", "hello"),
        ("time,a\n1,2\n1,2\n", "does not rise"),
        ("# rate_hz: 1e999\n1\n", "rate of inf"),
        (",".join("1" * 17) + "\n", "17 columns"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, says: str):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(RecordingError, match=says):
        open_recordings(tmp_path / "r.csv").read("r")


def test_csv_that_is_not_text(tmp_path: Path):
    (tmp_path / "r.csv").write_bytes(b"1\n\xff\xfe\n")
    with pytest.raises(RecordingError, match="not UTF-8"):
        open_recordings(tmp_path / "r.csv").read("r")


def test_npz_of_one_and_of_many(tmp_path: Path):
    np.savez(tmp_path / "one.npz", values=SIGNAL / 1000.0, fs=250, units=["mV"], channels=["ecg"])
    one = open_recordings(tmp_path / "one.npz").read("one")
    assert (one.rate_hz, one.channels[0]) == (250.0, Channel("ecg", "uV"))
    assert np.allclose(one.physical[:, 0], SIGNAL)
    np.savez(tmp_path / "many.npz", x=np.zeros((3, 20, 2)), y=["a", "b", "a"], rate_hz=100.0)
    many = open_recordings(tmp_path / "many.npz")
    assert list(many.names) == ["many:0", "many:1", "many:2"]
    assert many.labels["many:1"] == "b"
    assert many.read("many:2").physical.shape == (20, 2)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"other": np.zeros(3)}, "none of the arrays"),
        ({"values": np.array(["a"])}, "must be numbers"),
        ({"values": np.zeros((3, 40))}, "not \\(n, channel\\)"),
        ({"values": np.zeros(3), "rate_hz": -1.0}, "one positive number"),
        ({"values": np.zeros(3), "rate_hz": np.array([1.0, 2.0])}, "one positive number"),
        ({"digital": np.zeros(3, int), "scale": 0.0}, "scale not 0"),
        ({"digital": np.zeros((3, 2), int), "channels": ["a", "b", "c"]}, "one value for each"),
        ({"x": np.zeros((3, 4)), "y": [1, 2]}, "2 labels in y for 3 records"),
        ({"values": np.array([{}], dtype=object)}, "cannot|can be read"),
    ],
)
def test_bad_npz(tmp_path: Path, arrays: dict, says: str):
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(RecordingError, match=says):
        open_recordings(tmp_path / "r.npz")


def test_the_real_ucr_files(ucr_folder: Path):
    records = open_recordings(ucr_folder / "Coffee")
    assert len(records) == 56
    record = records.read("Coffee_TRAIN:0")
    assert record.physical.shape == (286, 1)
    assert record.label == "0"
