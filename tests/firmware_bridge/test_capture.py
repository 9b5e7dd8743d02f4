from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import messages as m
from firmware_bridge.capture import RawWriter, Recorder, is_raw, read_raw
from firmware_bridge.errors import RecordingError

ECG = (m.Channel("ecg", "uV", 2.0),)
HELLO = m.Hello("d", "f", 300.0, ECG, 7)


def block(seq: int, value: int, *, end: bool = False) -> m.Samples:
    return m.Samples(seq, 0, np.full((10, 1), value, np.int16), end)


def test_raw_is_true_to_the_byte(tmp_path: Path):
    path = tmp_path / "x.raw"
    chunks = [(0.0, b"\x00\x01"), (0.5, bytes(range(256))), (1.25, b"end")]
    writer = RawWriter(path)
    for when, data in chunks:
        writer.write(when, data)
    writer.close()
    assert is_raw(path)
    assert list(read_raw(path)) == chunks
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if is_raw(path):
            assert b"".join(data for _, data in read_raw(path)) in b"".join(data for _, data in chunks)
    with pytest.raises(RecordingError, match="cannot create"):
        RawWriter(path)


def test_raw_that_is_none(tmp_path: Path):
    path = tmp_path / "x.raw"
    path.write_bytes(b"something else")
    assert not is_raw(path)
    assert not is_raw(tmp_path)
    with pytest.raises(RecordingError, match="not a raw capture"):
        list(read_raw(path))
    path.write_bytes(b"wavewall raw 1\n" + bytes(8) + b"\xff\xff\xff\xff")
    with pytest.raises(RecordingError, match="damaged"):
        list(read_raw(path))
    with pytest.raises(RecordingError, match="No such file"):
        list(read_raw(tmp_path / "none.raw"))


def test_missing_samples_stay_missing():
    recorder = Recorder("r")
    done = [x for item in (HELLO, block(0, 5), block(30, 6)) for x in recorder.push(item, 0.0)]
    assert done == []
    (recording,) = recorder.finish()
    assert (recording.name, recording.rate_hz, len(recording)) == ("r", 300.0, 40)
    assert np.isnan(recording.physical[10:30]).all()
    assert recording.physical[[0, 30], 0].tolist() == [10.0, 12.0]
    assert recorder.finish() == []


def test_epochs_are_recordings_of_their_own():
    recorder = Recorder("r")
    items = [HELLO, block(0, 1), block(10, 2, end=True), m.Hello("d", "f", 300.0, ECG, 8), block(0, 3)]
    done = [x for item in items for x in recorder.push(item, 0.0)] + recorder.finish()
    assert [(r.name, len(r), r.digital[0, 0]) for r in done] == [("r", 20, 1), ("r_2", 10, 3)]


def test_lines_of_numbers():
    recorder = Recorder("r", 50.0)
    for values in ([[1.0, 2.0]], [[np.nan, 4.0]]):
        recorder.push(m.CsvSamples(np.array(values), ("a", "b")), 0.0)
    (recording,) = recorder.finish()
    assert (recording.rate_hz, [c.name for c in recording.channels]) == (50.0, ["a", "b"])
    assert np.isnan(recording.physical[1, 0])
    recorder = Recorder("r")
    recorder.push(m.CsvSamples(np.zeros((1, 1)), ("a",)), 0.0)
    with pytest.raises(RecordingError, match="--rate"):
        recorder.finish()


def test_a_recording_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("firmware_bridge.capture.MAX_SAMPLES", 15)
    recorder = Recorder("r")
    for item in (HELLO, block(0, 1), block(10, 2), block(20, 3)):
        recorder.push(item, 0.0)
    assert recorder.full
    with pytest.raises(RecordingError, match="more than fit"):
        recorder.finish()
