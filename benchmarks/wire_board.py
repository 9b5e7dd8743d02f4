"""Instructions that the C library takes for a frame, on an emulated Cortex-M3 (QEMU counts them)."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.goals import Figure
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import Log

TOOLS = ("qemu-system-arm", "arm-none-eabi-gcc", "make")
# With -icount shift=0 an instruction takes 1 ns, and the board's timer runs at 25 MHz.
INSTRUCTIONS_A_TICK = 40
KINDS = 3
PATIENCE_S = 30.0
_LINE = re.compile(r"(\w+) ticks=(\d+) frames=(\d+) bytes=(\d+)")


def figures() -> list[Figure]:
    """Plain, packed and tagged frames of 32 samples; nothing where the tools are not installed."""
    if not all(map(shutil.which, TOOLS)):
        return []
    source = Path(__file__).resolve().parents[1] / "firmware_bridge" / "firmware"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "cycles.elf"
        command = ["make", "-s", "-C", str(source), f"OUT={folder}", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"cannot build the firmware: {done.stderr.strip()[-200:]}")
        return [_figure(text) for text in _run(program)]


def _run(program: Path) -> list[str]:
    """What the board says in its LOGs."""
    machine = ["-M", "mps2-an385", "-kernel", str(program), "-display", "none", "-monitor", "none"]
    process = subprocess.Popen(
        ["qemu-system-arm", *machine, "-serial", "stdio", "-icount", "shift=0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        decoder, said = FrameDecoder("binary"), list[str]()
        deadline = time.monotonic() + PATIENCE_S
        while len(said) < KINDS and time.monotonic() < deadline:
            data = process.stdout.read1(4096)  # type: ignore[attr-defined]
            if not data:
                break
            said += [item.text for item in decoder.feed(data) if isinstance(item, Log)]
    finally:
        process.kill()
        process.communicate()
    if len(said) < KINDS:
        raise RuntimeError(f"the emulated board said {len(said)} of {KINDS} lines")
    return said


def _figure(text: str) -> Figure:
    match = _LINE.fullmatch(text)
    if match is None:
        raise RuntimeError(f"the emulated board said {text!r}")
    ticks, frames, size = (int(match[i]) for i in (2, 3, 4))
    note = f"C on Cortex-M3, 32 samples, {size / frames:.0f} bytes"
    return Figure(f"encode a {match[1]} frame", ticks * INSTRUCTIONS_A_TICK / frames, "instr", None, note)
