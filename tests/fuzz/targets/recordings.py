"""Recordings in each format."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edge.bundle.archive import read_stored, write_stored
from edge.sources.replay import blocks
from firmware_bridge.errors import RecordingError
from firmware_bridge.recordings import Recording
from firmware_bridge.recordings.base import Entry
from firmware_bridge.recordings.edf import read_edf
from firmware_bridge.recordings.npz import npz_entries
from firmware_bridge.recordings.tables import read_csv, ucr_entries
from firmware_bridge.recordings.wfdb_format import read_record
from tests.fuzz.targets.base import Target, npz_corpus, through_windows


class Memory:
    """Files of a recording, in memory."""

    source = "memory"

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    @property
    def names(self) -> Sequence[str]:
        return list(self._files)

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise RecordingError(f"memory: no {name}")
        return self._files[name]

    def path(self, name: str) -> Path | None:
        return None


def _read(entries: Sequence[Entry]) -> None:
    for entry in entries[:8]:
        made = entry.read()
        assert made.rate_hz > 0
        assert made.physical.dtype == np.float32
        assert made.physical.shape == (len(made), len(made.channels))
        digital, channels, valid = made.to_int16()
        assert digital.shape == valid.shape == made.physical.shape
        assert len(channels) == len(made.channels)
        step, offset = (np.array([getattr(c, name) for c in channels]) for name in ("scale", "offset"))
        room = 0.501 * np.abs(step) + 1e-6 * (np.abs(offset) + np.abs(made.physical))
        assert bool((np.abs(digital * step + offset - made.physical) <= room)[valid & (room < 1e30)].all())
        if len(made) <= 100_000 and made.rate_hz <= 1e5:
            through_windows(list(blocks(made, "s1", 0.0)))


def _recording(read: Callable[[bytes], Sequence[Entry]]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            _read(read(data))
        except RecordingError as error:
            assert str(error)

    return run


def _one(read: Callable[[], Recording]) -> Sequence[Entry]:
    return [Entry("r", read)]


DAT = np.arange(-300, 300, dtype="<i2").tobytes()


def _wfdb_entries(data: bytes) -> Sequence[Entry]:
    files = Memory(
        {"r.hea": data, "r.dat": DAT, "r.mat": struct.pack("<5i", 30, 1, 300, 0, 4) + b"val\0" + DAT}
    )
    return _one(lambda: read_record(files, "r.hea", "r"))


def _wfdb_data(data: bytes) -> Sequence[Entry]:
    """The signal file, for the format that its first byte picks."""
    format_ = (16, 212, 80, 24, 32)[data[0] % 5] if data else 16
    header = f"r 2 300\nr.dat {format_} 200/mV\nr.dat {format_} 200/mV\n".encode()
    return _one(lambda: read_record(Memory({"r.hea": header, "r.dat": data[1:]}), "r.hea", "r"))


def _wfdb_corpus() -> list[bytes]:
    return [
        b"r 1 300 300\nr.dat 16 200/mV 16 0 0 0 0 ECG\n",
        b"r 2 300 150\nr.dat 212 200(10)/mV 11 1024 995 0 0 MLII\nr.dat 212 200/mV 11 1024 0 0 0 V5\n",
        b"r 1 300 300\nr.mat 16+24 1000/mV 16 0 0 0 0 ECG\n# age 7\n",
        b"r/2 2 360/100(5) 1000 0:0:0 1/1/2000\nr_1 500\nr_2 500\n",
        b"r 1 0.5e2\nr.dat 16x2:3+4 1e9(-5)/uV 0 0\n",
    ]


def _edf_entries(data: bytes) -> Sequence[Entry]:
    return _one(lambda: read_edf(Memory({"r.edf": data}), "r.edf", "r"))


def _edf_corpus() -> list[bytes]:
    def text(value: object, size: int) -> bytes:
        return str(value).encode().ljust(size)

    head = (
        text(0, 8)
        + text("X X X X", 80)
        + text("Startdate X X X X", 80)
        + text("01.01.26", 8)
        + text("00.00.00", 8)
    )
    head += text(512, 8) + text("", 44) + text(2, 8) + text(1, 8) + text(1, 4)
    signal = text("ECG", 16) + text("", 80) + text("uV", 8) + text(-3000, 8) + text(3000, 8)
    signal += text(-32768, 8) + text(32767, 8) + text("", 80) + text(100, 8) + text("", 32)
    return [head + signal + np.arange(200, dtype="<i2").tobytes()]


def _csv_entries(data: bytes) -> Sequence[Entry]:
    return _one(lambda: read_csv(Memory({"r.csv": data}), "r.csv", "r", None))


def _ucr_entries(data: bytes) -> Sequence[Entry]:
    return ucr_entries(Memory({"r.tsv": data}), "r.tsv", 100.0)[0]


def _npz_entries(data: bytes) -> Sequence[Entry]:
    return npz_entries(Memory({"r.npz": data}), "r.npz", None)[0]


def _npz_array(data: bytes) -> Sequence[Entry]:
    """One array in an archive that is sound otherwise."""
    return _npz_entries(write_stored({"values.npy": data}))


TARGETS: dict[str, Target] = {
    "wfdb-header": Target(_recording(_wfdb_entries), _wfdb_corpus, ("firmware_bridge.recordings",), 1024),
    "wfdb-signal": Target(
        _recording(_wfdb_data), lambda: [bytes([at]) + DAT for at in range(5)], ("firmware_bridge.recordings",)
    ),
    "edf": Target(_recording(_edf_entries), _edf_corpus, ("firmware_bridge.recordings", "edfio")),
    "csv": Target(
        _recording(_csv_entries),
        lambda: [
            b"ecg [uV],ref (mV)\n1,2\n3,4\n",
            b"# rate_hz: 300\ntime_s;ecg_uv\n0;1\n0.01;2\n0.02;nan\n",
            b"1\n2\n3e5\n-4\n",
        ],
        ("firmware_bridge.recordings",),
    ),
    "ucr": Target(
        _recording(_ucr_entries),
        lambda: [b"1\t0.1\t0.2\tNaN\n-1\t0.5\t0.6\t0.7\n", b"1 2 3\n\n2 3 4\n"],
        ("firmware_bridge.recordings",),
    ),
    "npz-array": Target(
        _recording(_npz_array),
        lambda: [read_stored(archive)[name] for archive in npz_corpus() for name in read_stored(archive)],
        ("firmware_bridge.recordings", "numpy.lib._format_impl"),
        1024,
    ),
    "npz": Target(_recording(_npz_entries), npz_corpus, ("firmware_bridge.recordings",)),
}  # fmt: skip
