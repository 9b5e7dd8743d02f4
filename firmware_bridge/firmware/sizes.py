"""Prints what the library and the examples take, and fails above the caps. Called by the Makefile here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# The smallest boards that one would use have 16 kB of flash and 2 kB of RAM; the sender may take a quarter.
CODE_CAP = 4096
RAM_CAP = 600
# An Arduino Uno: Serial, the core and the stack need the rest.
UNO_FLASH_CAP = 32256
UNO_RAM_CAP = 1700

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(static\)')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def sections(size_tool: str, elf: Path) -> tuple[int, int, int]:
    """Bytes of code and constants, of initialised data, and of zeroed data."""
    shown = subprocess.run([size_tool, str(elf)], check=True, capture_output=True, text=True).stdout
    text, data, bss = (int(field) for field in shown.splitlines()[1].split()[:3])
    return text, data, bss


def deepest_stack(folder: Path, start: str) -> int:
    """Bytes of stack of the deepest chain of calls from ``start``, from gcc's -fcallgraph-info=su.

    Raises:
        ValueError: a recursion, or a frame whose size is not known when compiling.
    """
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for file in sorted(folder.glob("*.ci")):
        content = file.read_text(encoding="utf-8")
        if "(dynamic" in content:
            raise ValueError(f"{file.name}: a stack frame of unknown size")
        frames |= {name: int(size) for name, size in _NODE.findall(content)}
        for caller, callee in _EDGE.findall(content):
            calls.setdefault(caller, set()).add(callee)

    def depth(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ValueError(f"recursion through {name}")
        below = [depth(callee, (*above, name)) for callee in calls.get(name, ())]
        return frames.get(name, 0) + max(below, default=0)

    return depth(start, ())


def main(folder: Path) -> int:
    text, data, bss = sections("arm-none-eabi-size", folder / "footprint.elf")
    stack = deepest_stack(folder / "footprint", "footprint")
    ram = data + bss + stack
    uno = sections("avr-size", folder / "arduino-ecg.elf")
    meter = sections("avr-size", folder / "arduino-meter.elf")
    board = sections("arm-none-eabi-size", folder / "cortex-m.elf")
    checks = [
        ("encoder and framing, Cortex-M3, code", text + data, CODE_CAP),
        (f"  RAM with 32-sample blocks ({data + bss} static + {stack} stack)", ram, RAM_CAP),
        ("arduino-ecg on an Uno, flash", uno[0] + uno[1], UNO_FLASH_CAP),
        ("  static RAM", uno[1] + uno[2], UNO_RAM_CAP),
        ("arduino-meter on an Uno, flash", meter[0] + meter[1], UNO_FLASH_CAP),
        ("  static RAM", meter[1] + meter[2], UNO_RAM_CAP),
    ]
    lines = [f"{what:58} {size:6} B  cap {cap:6}{'  TOO LARGE' * (size > cap)}" for what, size, cap in checks]
    lines.append(f"{'cortex-m example, flash with 36,000 B of ECG':58} {board[0] + board[1]:6} B")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if any(size > cap for _, size, cap in checks) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
