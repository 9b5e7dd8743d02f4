"""WFDB records: a text header and a signal file. Formats 16 (also inside MATLAB v4 files), 212, 80, 24 and 32.

Source: the WFDB applications guide, header(5) and signal(5). Other formats and multi-segment records go to
the wfdb package where it is installed and the files lie in a folder.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_bridge.errors import FirmwareBridgeError, RecordingError
from firmware_bridge.messages import MAX_CHANNEL_NAME, MAX_CHANNELS, Channel
from firmware_bridge.recordings.base import Recording
from firmware_bridge.recordings.files import Files
from firmware_bridge.units import clean_name, clean_unit, microvolts, wire_exact

_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_GAIN = re.compile(r"([^(/]+)(?:\((-?\d+)\))?(?:/(\S+))?")
_MAT_HEADER = struct.Struct("<5i")
_MAT_INT16 = 30
_DEFAULT_GAIN = 200.0
_DEFAULT_RATE_HZ = 250.0
# The lowest value of each format means "no value".
_INVALID = {16: -(1 << 15), 212: -(1 << 11), 80: -(1 << 7), 24: -(1 << 23), 32: -(1 << 31)}
MAX_HEADER_BYTES = 1 << 20

IntArray = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal line of a header."""

    file: str
    format: int
    offset_bytes: int
    simple: bool
    channel: Channel


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header. ``samples`` is None where it does not say. ``simple`` files can be read here."""

    rate_hz: float
    samples: int | None
    signals: tuple[Signal, ...]
    simple: bool


def parse_header(raw: bytes, where: str) -> Header:
    """Parse the bytes of a .hea file; ``where`` names it in errors."""
    if len(raw) > MAX_HEADER_BYTES:
        raise RecordingError(f"{where}: header of {len(raw)} bytes, at most {MAX_HEADER_BYTES}")
    lines = [line.strip() for line in raw.decode("latin-1").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise RecordingError(f"{where}: header is empty")
    try:
        return _parse_lines(lines, where)
    except (ValueError, IndexError, OverflowError, ZeroDivisionError, FirmwareBridgeError) as error:
        raise RecordingError(f"{where}: header cannot be read: {error}") from error


def _parse_lines(lines: list[str], where: str) -> Header:
    fields = lines[0].split()
    segmented = "/" in fields[0]
    count = int(fields[1])
    rate_hz = float(re.split(r"[/(]", fields[2])[0]) if len(fields) > 2 else _DEFAULT_RATE_HZ
    if not 0 < rate_hz < 1e9:
        raise ValueError(f"rate of {rate_hz} Hz")
    samples = int(fields[3]) if len(fields) > 3 else 0
    if not 0 < count <= MAX_CHANNELS:
        raise ValueError(f"{count} signals, must be 1 to {MAX_CHANNELS}")
    if segmented:
        return Header(rate_hz, samples or None, (), simple=False)
    if len(lines) < 1 + count:
        raise ValueError(f"{count} signals announced, {len(lines) - 1} described")
    signals = tuple(
        _parse_signal(line.split(None, 8), i, where) for i, line in enumerate(lines[1 : 1 + count])
    )
    first = signals[0]
    one_file = all(
        (s.file, s.format, s.offset_bytes) == (first.file, first.format, first.offset_bytes) for s in signals
    )
    simple = one_file and all(s.simple for s in signals)
    return Header(rate_hz, samples or None, _unique(signals), simple)


def _parse_signal(fields: list[str], index: int, where: str) -> Signal:
    file = fields[0]
    if "/" in file or "\\" in file or file.startswith("."):
        raise RecordingError(f"{where}: signal file {file!r} lies outside the record's folder")
    match = _FORMAT.fullmatch(fields[1])
    if match is None:
        raise ValueError(f"format {fields[1]!r}")
    format_ = int(match[1])
    gain, baseline, unit = _DEFAULT_GAIN, None, "mV"
    if len(fields) > 2:
        parts = _GAIN.fullmatch(fields[2])
        if parts is None:
            raise ValueError(f"gain {fields[2]!r}")
        gain = float(parts[1]) or _DEFAULT_GAIN
        baseline = int(parts[2]) if parts[2] else None
        unit = parts[3] or "mV"
    if baseline is None:
        baseline = int(fields[4]) if len(fields) > 4 else 0
    unit, factor = microvolts(unit)
    scale = wire_exact(factor / gain)
    name = fields[8] if len(fields) > 8 else f"ch{index}"
    simple = int(match[2] or 1) == 1 and int(match[3] or 0) == 0 and format_ in _INVALID
    channel = Channel(clean_name(name, index), clean_unit(unit), scale, wire_exact(-baseline * scale))
    return Signal(file, format_, int(match[4] or 0), simple, channel)


def _unique(signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
    names = [s.channel.name for s in signals]
    if len(set(names)) == len(names):
        return signals
    out = []
    for index, s in enumerate(signals):
        c = s.channel
        name = f"{c.name[: MAX_CHANNEL_NAME - 3]}_{index}"
        out.append(
            Signal(s.file, s.format, s.offset_bytes, s.simple, Channel(name, c.unit, c.scale, c.offset))
        )
    return tuple(out)


def _check_mat(raw: bytes, header: Header, where: str) -> None:
    """A MATLAB v4 matrix must be int16 and of the size that the header says."""
    if len(raw) < _MAT_HEADER.size:
        raise RecordingError(f"{where}: {len(raw)} bytes, too short for a MATLAB file")
    kind, rows, columns, imaginary, name_bytes = _MAT_HEADER.unpack_from(raw)
    if kind != _MAT_INT16 or imaginary:
        raise RecordingError(
            f"{where}: MATLAB matrix of type {kind}, only real int16 (type {_MAT_INT16}) is read"
        )
    offset = _MAT_HEADER.size + name_bytes
    if offset != header.signals[0].offset_bytes or rows != len(header.signals):
        raise RecordingError(
            f"{where}: matrix of {rows} x {columns} at byte {offset} is not what the header says"
        )
    if header.samples is not None and columns != header.samples:
        raise RecordingError(f"{where}: {columns} samples, the header says {header.samples}")


def decode_signal(raw: bytes, format_: int, count: int | None, channels: int) -> IntArray:
    """Integers of shape (n, channel) from the bytes of a signal file.

    Raises:
        ValueError: fewer samples than ``count``.
    """
    if format_ == 212:
        flat = _decode_212(raw)
    elif format_ == 24:
        whole = len(raw) // 3 * 3
        low, mid, high = np.frombuffer(raw, np.uint8, whole).reshape(-1, 3).T.astype(np.int32)
        flat = low | mid << 8 | (high - ((high & 0x80) << 1)) << 16
    elif format_ == 80:
        flat = np.frombuffer(raw, np.uint8).astype(np.int16) - np.int16(128)
    else:
        size = format_ // 8
        flat = np.frombuffer(raw, f"<i{size}", len(raw) // size)
    available = len(flat) // channels
    wanted = available if count is None else count
    if available < wanted:
        raise ValueError(f"cut short: {available} of {wanted} samples")
    return flat[: wanted * channels].reshape(wanted, channels)


def _decode_212(raw: bytes) -> IntArray:
    """Pairs of 12-bit values in three bytes."""
    padded = np.frombuffer(raw + bytes(-len(raw) % 3), np.uint8).reshape(-1, 3).astype(np.int16)
    pairs = np.empty((len(padded), 2), dtype=np.int16)
    pairs[:, 0] = padded[:, 0] | (padded[:, 1] & 0x0F) << 8
    pairs[:, 1] = padded[:, 2] | (padded[:, 1] & 0xF0) << 4
    signed = np.where(pairs >= 2048, pairs - 4096, pairs).astype(np.int16)
    # Two bytes at the end hold one value, not two.
    return signed.ravel()[: len(raw) * 2 // 3]


def read_record(files: Files, header_name: str, name: str) -> Recording:
    """Read the record whose header is ``header_name``."""
    where = f"{files.source}: {header_name}"
    header = parse_header(files.read(header_name), where)
    if not header.simple:
        return _by_wfdb(files, header_name, name, where)
    first = header.signals[0]
    path = (PurePosixPath(header_name).parent / first.file).as_posix()
    raw = files.read(path)
    if first.file.endswith(".mat"):
        _check_mat(raw, header, f"{files.source}: {path}")
    try:
        digital = decode_signal(raw[first.offset_bytes :], first.format, header.samples, len(header.signals))
    except ValueError as error:
        raise RecordingError(f"{files.source}: {path}: {error}") from error
    channels = tuple(signal.channel for signal in header.signals)
    return Recording(name, header.rate_hz, channels, digital=digital, invalid=_INVALID[first.format])


def _by_wfdb(files: Files, header_name: str, name: str, where: str) -> Recording:
    path = files.path(header_name)
    if path is None:
        raise RecordingError(f"{where}: this kind of WFDB record is read from a folder only; unpack the zip")
    try:
        import wfdb  # an extra, and slow to import
    except ImportError as error:
        raise RecordingError(f"{where}: needs the wfdb package: pip install 'wavewall[formats]'") from error
    try:
        record = wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=True)
        units = [microvolts(unit or "mV") for unit in record.units]
        values = np.asarray(record.p_signal) * np.array([factor for _, factor in units])
    except Exception as error:  # wfdb raises many kinds on damaged files
        raise RecordingError(f"{where}: wfdb cannot read it: {error}") from error
    channels = tuple(
        Channel(clean_name(label or "", i), clean_unit(unit))
        for i, (label, (unit, _)) in enumerate(zip(record.sig_name, units, strict=True))
    )
    return Recording(name, float(record.fs), channels, analog=values.astype(np.float32))
