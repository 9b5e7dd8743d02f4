"""What the wire costs in Python: ``python -m benchmarks.wire --json F``.

Decoded MB/s for each frame size and chunk, against a plain byte-by-byte decoder in the same run, and how much
delta packing saves on real ECG; where the cross-compiler and QEMU are installed, also what the C library takes on
a Cortex-M3. Processor time of the best of several runs, so that a busy machine changes little.

MIN is the nearest peer. Its Python decoder is not on PyPI: `--min PATH/TO/min/host/min.py` measures it in the same
run; without it our own receiver of MIN's frame format (min_format) stands for it, which is the faster of the two.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import min_format, wire_board, wire_min
from benchmarks.goals import Figure, report
from firmware_bridge import codec
from firmware_bridge.auth import CounterStore, Guard, Signer
from firmware_bridge.clock import DeviceClock
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.errors import FirmwareBridgeError
from firmware_bridge.messages import Channel, Hello, Int16Array, Samples
from firmware_bridge.recordings import RecordingSet, open_recordings

DECODE_MB_S, PACKING, CLOCK_MS = 4.0, 1.8, 2.0
# Samples of one channel that make a frame of 63 bytes and of about 512.
SIZES = {"63 B frames": 21, "512 B frames": 244}
CHUNKS = (512, 4096, 65536)
STREAM_BYTES = 1_000_000
KEY = bytes(range(16))
PEER = (
    "MIN's own decoder is not in this run (not on PyPI; --min FILE measures it): our receiver stands for it"
)
HELLO = Hello("bench", "", 300.0, (Channel("ecg", "uV"),), 1)


def ecg() -> tuple[list[Int16Array], str]:
    """Real records where the data is there, else the demo's synthetic one; and which."""
    root = Path(__file__).resolve().parents[1]
    archive = Path(os.environ.get("WAVEWALL_DATA", root.parent / "shared" / "data")) / "cinc2017-training.zip"
    if archive.exists():
        records = open_recordings(archive)
        # Spread over the archive; the first twenty alone would be one corner of it.
        return _digital(
            records, list(records.names)[:: max(1, len(records) // 20)]
        ), "20 records of CinC 2017"
    records = open_recordings(root / "edge" / "demo" / "data" / "recording.npz")
    return _digital(records, list(records.names)), "the demo's synthetic record"


def _digital(records: RecordingSet, names: list[str]) -> list[Int16Array]:
    return [records.read(name).to_int16()[0][:, :1] for name in names]


def stream(signal: Int16Array, samples: int, *, pack: bool = False, tagger: Signer | None = None) -> bytes:
    """SAMPLES frames of about STREAM_BYTES."""
    out: list[bytes] = []
    size = seq = 0
    while size < STREAM_BYTES:
        at = seq % (len(signal) - samples)
        message = Samples(seq, seq * 3333, signal[at : at + samples])
        out.append(codec.encode(message, pack=pack, tagger=tagger))
        size += len(out[-1])
        seq += samples
    return b"".join(out)


def plain_decoder(data: bytes) -> int:
    """What a first version looks like: COBS byte by byte, then struct, giving the same objects. Frames decoded."""
    out: list[Samples] = []
    body = bytearray()
    left, zero = 0, False
    for byte in data:
        if byte == 0:
            if len(body) >= 6 and zlib.crc32(body[:-4]) == struct.unpack_from("<I", body, len(body) - 4)[0]:
                seq, when, flags, channels, count, lead_off = struct.unpack_from("<IIBBBH", body, 2)
                values = np.array(struct.unpack_from(f"<{count * channels}h", body, 15), np.int16)
                out.append(Samples(seq, when, values.reshape(count, channels), bool(flags & 1), lead_off))
            body = bytearray()
            left, zero = 0, False
        elif left == 0:
            if zero:
                body.append(0)
            left, zero = byte - 1, byte != 255
        else:
            body.append(byte)
            left -= 1
    return len(out)


def ours(data: bytes, chunk: int) -> int:
    """Frames decoded by FrameDecoder, fed in chunks."""
    decoder = FrameDecoder("binary")
    for at in range(0, len(data), chunk):
        decoder.feed(data[at : at + chunk])
    return decoder.counters.frames


def guarded(data: bytes) -> int:
    """Frames decoded and their tags checked."""
    guard = Guard({"bench": KEY}, CounterStore())
    decoder = FrameDecoder("binary", guard=guard)
    decoder.feed(data)
    return decoder.counters.frames


def mb_per_s(data: bytes, decode: Callable[[bytes], int], runs: int) -> float:
    """Of the best run. Every frame must have come through."""
    expected = data.count(0)
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        frames = decode(data)
        best = min(best, time.process_time() - began)
        if frames != expected:
            raise FirmwareBridgeError(f"decoded {frames} of {expected} frames")
    return len(data) / best / 1e6


def min_format_figures(signal: Int16Array) -> list[Figure]:
    """The same samples in MIN's frame format, through our own byte-at-a-time receiver of it."""
    out = []
    for name, samples in wire_min.SIZES.items():
        payloads = wire_min.payloads(signal, samples)
        data = b"".join(min_format.encode(1, payload) for payload in payloads)
        receiver, began = min_format.Receiver(), time.process_time()
        got = receiver.feed(data)
        speed = len(data) / (time.process_time() - began) / 1e6
        if got != payloads:
            raise FirmwareBridgeError(f"{len(got)} of {len(payloads)} frames in MIN's format came through")
        out.append(
            Figure(f"{name} (format)", speed, "MB/s", None, "our receiver of MIN's format, same samples")
        )
    return out


def against_min(path: Path, signal: Int16Array) -> list[Figure]:
    """The same samples through MIN's decoder."""
    module, out = wire_min.load(path), []
    for name, samples in wire_min.SIZES.items():
        payloads = wire_min.payloads(signal, samples)
        data = wire_min.stream(module, payloads)
        began = time.process_time()
        got = wire_min.decode(module, data)
        speed = len(data) / (time.process_time() - began) / 1e6
        if got != payloads:
            raise FirmwareBridgeError(f"MIN decoded {len(got)} of {len(payloads)} frames")
        out.append(Figure(name, speed, "MB/s", None, "MIN's own Python decoder, same samples, same run"))
    return out


def packing(records: list[Int16Array], samples: int) -> float:
    """Bytes on the wire without packing, for each byte with it."""
    plain = packed = 0
    for digital in records:
        for at in range(0, len(digital) - samples, samples):
            message = Samples(at, at * 3333, digital[at : at + samples])
            plain += len(codec.encode(message))
            packed += len(codec.encode(message, pack=True))
    return plain / packed


def clock_error_ms(seeds: int = 20) -> float:
    """Largest error of the clock fit after a minute, with 10 ms of jitter and 50 ppm of drift."""
    worst = 0.0
    for seed in range(seeds):
        draw, clock = np.random.default_rng(seed), DeviceClock()
        drift = 50e-6 if seed % 2 else -50e-6
        for number in range(int(70 * 300 / 32)):
            true_s = (number * 32 + 31) / 300
            device_us = clock.unwrap(round(true_s * 1e6 * (1 + drift)) % (1 << 32))
            clock.observe(device_us, true_s + draw.uniform(0, 0.010))
            if true_s > 60:
                worst = max(worst, abs(clock.gateway_s(device_us) - true_s) * 1e3)
    return worst


def figures(runs: int, min_file: Path | None = None) -> list[Figure]:
    """Measure everything."""
    records, source = ecg()
    signal = np.concatenate(records)
    out = min_format_figures(signal) if min_file is None else against_min(min_file, signal)
    for name, samples in SIZES.items():
        data = stream(signal, samples)
        plain = mb_per_s(data, plain_decoder, 1)
        for chunk in CHUNKS:
            speed = mb_per_s(data, lambda d, c=chunk: ours(d, c), runs)  # type: ignore[misc]
            note = f"{speed / plain:.1f} times a plain loop"
            out.append(Figure(f"{name}, {chunk} B reads", speed, "MB/s", DECODE_MB_S, note, at_least=True))
        out.append(Figure(f"{name}, plain loop", plain, "MB/s", None, "byte by byte, same objects, same run"))
    packed = stream(signal, 32, pack=True)
    out.append(
        Figure("packed frames", mb_per_s(packed, lambda d: ours(d, 65536), runs), "MB/s", None, "32 samples")
    )
    signer = Signer(KEY, 1)
    tagged = codec.encode(HELLO, tagger=signer) + stream(signal, 21, tagger=signer)
    out.append(
        Figure("tagged frames", mb_per_s(tagged, guarded, 1), "MB/s", None, "21 samples, tags checked")
    )
    out.append(Figure("packing, 32 samples", packing(records, 32), "x", PACKING, source, at_least=True))
    out.append(Figure("packing, 244 samples", packing(records, 244), "x", None, source))
    out.append(
        Figure("clock error after a minute", clock_error_ms(), "ms", CLOCK_MS, "10 ms jitter, 50 ppm drift")
    )
    return out


def main() -> int:
    """Measure, print beside the goals, write JSON; 1 when a goal is missed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--runs", type=int, default=5, help="the best of so many is told")
    parser.add_argument("--min", type=Path, metavar="FILE", help="MIN's host/min.py, to measure against it")
    arguments = parser.parse_args()
    try:
        measured = figures(arguments.runs, arguments.min) + wire_board.figures()
    except (RuntimeError, FirmwareBridgeError) as error:
        print(f"benchmarks.wire: {error}", file=sys.stderr)
        return 2
    code = report(measured, {"benchmark": "wire"}, arguments.json)
    if arguments.min is None:
        print(PEER)
    print("wire: " + ", ".join(f"{f.name} {f.value:.3g} {f.unit}" for f in measured))
    return code


if __name__ == "__main__":
    sys.exit(main())
