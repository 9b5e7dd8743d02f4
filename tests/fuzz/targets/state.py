"""What an agent keeps on its disk, and windows from other machines."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from edge.cluster import window as window_message
from edge.cluster.window import Cut, WindowError
from edge.delivery.diskspool import _parsed
from edge.delivery.diskstore import DiskStore
from edge.recorder.record import HEAD, MARK, Decoder, Encoder, Mark, RecordError, _sealed, read_mark
from edge.recorder.segments import read_records
from edge.types import SampleBlock, Window
from tests.fuzz.targets.base import Target, as_file, through_windows


def recorder(data: bytes) -> None:
    """A segment of the flight recorder; where the first byte is odd, the rest as payloads behind right checksums."""
    if data[:1] and data[0] & 1:
        parts = data[1:].split(b"\xff\x00")
        data = b"".join(_sealed(1 + at % 3, at, part) for at, part in enumerate(parts))
    else:
        data = data[1:]
    damaged: list[int] = []
    decoder, taken = Decoder(), 0
    for raw in read_records(data, damaged.append):
        taken += HEAD.size + len(raw.payload)
        try:
            if raw.kind == MARK:
                read_mark(raw.payload)
            else:
                through_windows([decoder.block(raw.number, raw.payload).block])
        except RecordError as error:
            assert str(error)
    assert taken + sum(damaged) == len(data)


def _recorder_corpus() -> list[bytes]:
    block = SampleBlock("s1", "e@100", 0, 1.8e9, 100.0, ("ecg",), ("uV",), np.zeros((80, 1), np.float32))
    encoder = Encoder()
    whole = encoder.block(1, block, aligned=False, origin=0, arrival=1.8e9) + encoder.mark(2, Mark(1, 1))
    payload = bytes(next(iter(read_records(whole))).payload)
    return [b"\0" + whole, b"\1" + payload, b"\1" + payload + b"\xff\x00" + payload[:40], b"\0" + whole[:-3]]


def spool(data: bytes) -> None:
    """The SQLite file in which results wait; where the first byte is odd, only the -wal beside a sound file."""
    with tempfile.TemporaryDirectory(dir=as_file(b"").parent) as name:
        folder = Path(name)
        if data[:1] and data[0] & 1:
            DiskStore(folder).close()
            (folder / "spool.db-wal").write_bytes(data[1:])
        else:
            (folder / "spool.db").write_bytes(data[1:])
        store = DiskStore(folder)
        try:
            store.counts(0)
            for _, _, body in store.load(0, -1, 1 << 60, 10):
                _parsed(body)
        finally:
            store.close()


@lru_cache(maxsize=1)
def _spool_corpus() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        DiskStore(folder).close()
        return [b"\0" + (folder / "spool.db").read_bytes(), b"\1" + bytes(32), b"\0SQLite format 3\0"]


def window(data: bytes) -> None:
    """A complete window from another gateway."""
    try:
        cut = window_message.decode(data)
    except WindowError as error:
        assert str(error)
        return
    again = window_message.decode(window_message.encode(cut))
    assert np.array_equal(again.window.values, cut.window.values)
    assert np.array_equal(again.window.valid, cut.window.valid)
    plain = [replace(each, window=replace(each.window, values=None, valid=None)) for each in (again, cut)]
    assert plain[0] == plain[1]


def _window_corpus() -> list[bytes]:
    values, valid = np.arange(64, dtype=np.float32).reshape(-1, 1), np.ones(64, bool)
    made = Window("s1", "e", 0, 1.8e9, 100.0, values, valid)
    holes = replace(made, values=values + 0.5, valid=np.arange(64) > 3, missing=4)
    return [window_message.encode(Cut(each, 3, "b")) for each in (made, holes)]


TARGETS: dict[str, Target] = {
    "recorder": Target(recorder, _recorder_corpus, ("edge.recorder", "edge.pipeline.windows")),
    "spool": Target(spool, _spool_corpus, ("edge.delivery",), 1 << 15),
    "window": Target(window, _window_corpus, ("edge.cluster.window",), 1024),
}  # fmt: skip
