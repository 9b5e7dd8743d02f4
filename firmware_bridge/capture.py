"""Keep what comes over a port: bytes with their times (replayed to the byte), or samples as a recording.

The raw file: the line ``wavewall raw 1``, then for each chunk its time in µs since the start (u64), its length
(u32) and its bytes, little-endian. A file that was cut short is read up to the last whole chunk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from firmware_bridge.blocks import Block
from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import Channel, CsvSamples, Decoded, Int16Array
from firmware_bridge.receiver import Receiver
from firmware_bridge.recordings import Recording
from firmware_bridge.units import Float32Array

_MAGIC = b"wavewall raw 1\n"
_CHUNK = struct.Struct("<QI")
MAX_CHUNK_BYTES = 1 << 20
# 256 MB of int16: ten days of one channel at 300 Hz. More belongs into raw files.
MAX_SAMPLES = 1 << 27
_INVALID = -(1 << 15)


class RawWriter:
    """Appends chunks to a raw file."""

    def __init__(self, path: str | Path) -> None:
        try:
            self._file = Path(path).open("xb")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise RecordingError(f"{path}: cannot create: {error.strerror or error}") from error
        self._file.write(_MAGIC)

    def write(self, since_start_s: float, data: bytes) -> None:
        """Keep ``data``, which came ``since_start_s`` seconds after the start."""
        for at in range(0, len(data), MAX_CHUNK_BYTES):
            part = data[at : at + MAX_CHUNK_BYTES]
            self._file.write(_CHUNK.pack(round(since_start_s * 1e6), len(part)) + part)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_raw(path: str | Path) -> Iterator[tuple[float, bytes]]:
    """Chunks of a raw file with their times in seconds since the start.

    Raises:
        RecordingError: not such a file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise RecordingError(
                    f"{path}: not a raw capture (made by `firmware-bridge record PORT FILE.raw`)"
                )
            while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
                time_us, size = _CHUNK.unpack(head)
                if size > MAX_CHUNK_BYTES:
                    raise RecordingError(f"{path}: a chunk of {size} bytes; the file is damaged")
                data = file.read(size)
                if len(data) < size:
                    return
                yield time_us * 1e-6, data
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error


def is_raw(path: str | Path) -> bool:
    """Whether the file is a raw capture."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class Recorder:
    """Collects decoded messages into recordings, one for each epoch; missing samples stay missing.

    Args:
        name: of the recordings; the second epoch is ``<name>_2``.
        csv_rate_hz: rate of the CSV dialect, which does not say.
    """

    def __init__(self, name: str, csv_rate_hz: float | None = None) -> None:
        self._name, self._csv_rate_hz = name, csv_rate_hz
        self._receiver = Receiver(resend=False)
        self._blocks: list[Block] = []
        self._rows: list[CsvSamples] = []
        self._samples = 0
        self._finished = 0

    @property
    def full(self) -> bool:
        """No more is taken: the cap is reached."""
        return self._samples >= MAX_SAMPLES

    def push(self, item: Decoded, now_s: float) -> list[Recording]:
        """Take a message; recordings that are complete now."""
        out: list[Recording] = []
        if self.full:
            return out
        if isinstance(item, CsvSamples):
            if self._rows and item.columns != self._rows[0].columns:
                out += self.finish()
            self._rows.append(item)
            self._samples += item.values.size
            return out
        for block in self._receiver.push(item, now_s):
            if self._blocks and block.epoch != self._blocks[0].epoch:
                out += self.finish()
            self._blocks.append(block)
            self._samples += block.samples.values.size
            if block.samples.end:
                out += self.finish()
        return out

    def finish(self) -> list[Recording]:
        """The recording so far, if there is any."""
        blocks, self._blocks = self._blocks, []
        rows, self._rows = self._rows, []
        self._samples = 0
        if not any(len(block.samples.values) for block in blocks) and not rows:
            return []
        self._finished += 1
        name = self._name if self._finished == 1 else f"{self._name}_{self._finished}"
        return [_from_rows(rows, name, self._csv_rate_hz) if rows else _from_blocks(blocks, name)]


def _from_rows(rows: list[CsvSamples], name: str, rate_hz: float | None) -> Recording:
    if rate_hz is None:
        raise RecordingError("lines of numbers say no rate: give it with --rate")
    analog: Float32Array = np.concatenate([part.values for part in rows]).astype(np.float32)
    return Recording(name, rate_hz, tuple(Channel(column, "1") for column in rows[0].columns), analog=analog)


def _from_blocks(blocks: list[Block], name: str) -> Recording:
    hello = blocks[0].hello
    first = blocks[0].first_index
    end = max(block.first_index + len(block.samples.values) for block in blocks)
    if end - first > MAX_SAMPLES // len(hello.channels):
        raise RecordingError(
            f"{name}: spans {end - first} samples with its gaps, more than fit one recording"
        )
    digital: Int16Array = np.full((end - first, len(hello.channels)), _INVALID, dtype=np.int16)
    for block in blocks:
        at = block.first_index - first
        # The lowest integer means "missing" in the file; a saturated sample is one step above.
        digital[at : at + len(block.samples.values)] = np.maximum(block.samples.values, _INVALID + 1)
    return Recording(name, hello.rate_hz, hello.channels, digital=digital, invalid=_INVALID)
