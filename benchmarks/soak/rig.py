"""What the soak runs: a real broker, a proxy that cuts the network, the agent as a process, a small disk of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_for(ready: Callable[[], Any], what: str, timeout_s: float = 300.0) -> None:
    until = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.05)


class Disk:
    """A small file system for the agent's folder: a loop file, else a tmpfs, else a plain folder that is never full."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.path, self._image, self.kind = folder / "disk", folder / "disk.img", "folder"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        if _quiet("mkfs.ext4", "-q", self._image) and _quiet("mount", "-o", "loop", self._image, self.path):
            self.kind = "ext4 in a loop file"
        elif _quiet("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.path):
            self.kind = "tmpfs"

    @property
    def can_fill(self) -> bool:
        return self.kind != "folder"

    def fill(self) -> None:
        """Until nothing more fits."""
        with (self.path / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"\0" * size):
                        pass

    def free(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)

    def used_bytes(self) -> int:
        used = 0
        for path in self.path.rglob("*"):
            with contextlib.suppress(OSError):  # the agent removes files, too
                used += path.stat().st_size if path.is_file() and path.name != "filler" else 0
        return used

    def close(self) -> None:
        if self.can_fill:
            _quiet("umount", self.path)


def _quiet(*command: object) -> bool:
    try:
        words = [str(word) for word in command]
        return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Agent:
    """`edge-agent run`, and what the kernel says of it."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self._words, self._log = words, folder / "agent.log"
        self.starts, self.exits = 0, 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        said = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge.cli", "run", *self._words], stdout=subprocess.DEVNULL, stderr=log
            )
        self.starts += 1
        wait_for(lambda: b"ready in" in self._log.read_bytes()[said:] or not self.alive, "the agent")

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def sample(self) -> dict[str, float] | None:
        """Resident bytes, descriptors, threads, CPU seconds."""
        assert self._process is not None
        root = Path(f"/proc/{self._process.pid}")
        try:
            stat = (root / "stat").read_text().rpartition(")")[2].split()
            return {
                "rss_mb": int((root / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
                "descriptors": len(list((root / "fd").iterdir())),
                "threads": int(stat[17]),
                "cpu_s": (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
            }
        except (OSError, IndexError):
            return None
