"""MIN's Python decoder in the same run, where its file is at hand: https://github.com/min-protocol/min, host/min.py.

It is not on PyPI, so it is given by path. Its frames hold at most 255 bytes.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

from firmware_bridge import payloads as put
from firmware_bridge.messages import Int16Array, Samples

# Samples of one channel whose SAMPLES payload is as long as that of our 63-byte frame, and the longest.
SIZES = {"MIN, 64 B frames": 21, "MIN, 263 B frames": 121}
CHUNK = 4096


def load(path: Path) -> ModuleType:
    """The module. Raises RuntimeError where the file is not it."""
    spec = importlib.util.spec_from_file_location("min_protocol", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RuntimeError(f"--min {path}: give the path of MIN's host/min.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RuntimeError(f"--min {path}: {type(error).__name__}: {error}") from error
    if not hasattr(module, "MINTransport"):
        raise RuntimeError(f"--min {path}: has no MINTransport; give MIN's host/min.py")
    return module


def in_memory(module: ModuleType) -> Any:
    """A transport whose line is `incoming` and `outgoing`."""

    class InMemory(module.MINTransport):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.incoming: deque[bytes] = deque()
            self.outgoing = bytearray()
            super().__init__()

        def _now_ms(self) -> int:
            return 0

        def _serial_write(self, data: bytes) -> None:
            self.outgoing += data

        def _serial_any(self) -> bool:
            return bool(self.incoming)

        def _serial_read_all(self) -> bytes:
            return self.incoming.popleft() if self.incoming else b""

        def _serial_close(self) -> None:
            self.incoming.clear()

    return InMemory()


def payloads(signal: Int16Array, samples: int) -> list[bytes]:
    """SAMPLES payloads of ``samples`` each, 200,000 samples in all."""
    return [
        put.put_samples(Samples(at, at * 3333, signal[at : at + samples]), pack=False)
        for at in range(0, 200_000, samples)
    ]


def stream(module: ModuleType, payloads: list[bytes]) -> bytes:
    """The payloads as MIN puts them on the wire."""
    sender = in_memory(module)
    for payload in payloads:
        sender.send_frame(1, payload)
    return bytes(sender.outgoing)


def decode(module: ModuleType, data: bytes) -> list[bytes]:
    """The payloads that MIN's decoder finds, fed as our own is with reads of 4096 bytes."""
    receiver, out = in_memory(module), []
    receiver.incoming.extend(data[at : at + CHUNK] for at in range(0, len(data), CHUNK))
    while receiver.incoming:
        out += [frame.payload for frame in receiver.poll()]
    return out
