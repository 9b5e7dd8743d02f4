"""Where the sources lie, and what builds them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware_bridge" / "firmware"
LIBRARY = FIRMWARE.parent / "c" / "src"
TESTS = Path(__file__).parent
TOOLS = ("make", "gcc", "clang", "arm-none-eabi-gcc", "avr-gcc", "qemu-system-arm")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")


def run(command: Sequence[str], data: bytes = b"", seconds: float = 240.0) -> str:
    """What ``command`` prints; its own words where it fails."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=seconds)
    assert done.returncode == 0, f"{command[0]}: {done.stderr.decode(errors='replace')[-4000:]}"
    return done.stdout.decode()
