"""What every target is made of."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.bundle import InputSpec
from edge.bundle.arrays import write_arrays
from edge.errors import BlockError
from edge.pipeline.windows import Windower
from edge.types import SampleBlock

SPEC = InputSpec(("ecg",), "uV", 100.0, 64, 16)


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes; `modules` are those whose branches guide a fuzzer."""

    run: Callable[[bytes], None]
    corpus: Callable[[], Sequence[bytes]]
    modules: tuple[str, ...]
    max_bytes: int = 4096


def as_file(data: bytes) -> Path:
    """The bytes as a file; one name in each process, in memory where there is such a folder."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    path = Path(folder) / f"wavewall-fuzz-{os.getpid()}"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def through_windows(all_blocks: Sequence[SampleBlock]) -> None:
    """Blocks go through the windowing, which takes them or says why not."""
    windower = Windower(SPEC)
    for block in all_blocks[:50]:
        assert block.values.dtype == np.float32
        assert block.values.shape[1] == len(block.channels) == len(block.units)
        try:
            for window in windower.push(block):
                assert window.values.shape == (64, 1)
                assert bool(np.isfinite(window.values[window.valid]).all())
        except BlockError:
            return


def npz_corpus() -> list[bytes]:
    """Archives of arrays, as recordings and as what they are."""
    return [
        write_arrays({"values": np.arange(90.0), "rate_hz": np.float64(100)}),
        write_arrays(
            {"x": np.arange(40, dtype=np.int16).reshape(4, 10), "y": np.arange(4), "fs": np.float32(50)}
        ),
        write_arrays(
            {"digital": np.zeros((5, 2), np.int32), "scale": np.array([2.0, 0.5]), "offset": np.array([0.0])}
        ),
    ]
