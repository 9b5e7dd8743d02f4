"""What the soak runs: a real broker, a proxy that cuts the network, the agent as a process, a small disk of its own."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for(ready: Callable[[], Any], what: str, timeout_s: float = 300.0) -> None:
    until = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.05)


class Broker:
    """mosquitto with persistence."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
        if program is None:
            raise RuntimeError("mosquitto is not installed; run: make deps")
        self._program, self._config, self.port = program, folder / "broker.conf", free_port()
        self._log = folder / "broker.log"
        lines = [
            f"listener {self.port} {HOST}",
            "allow_anonymous true",
            "max_queued_messages 0",  # of no number: outages last as long as they last
            "persistence true",
            f"persistence_location {folder}/",
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._config)], stdout=log, stderr=log)
        wait_for(self._listens, "the broker")

    def stop(self) -> None:
        """SIGTERM, so that it saves its sessions."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def freeze(self, seconds: float) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


class Proxy:
    """TCP between agent and broker. mode: "pass"; "cut": closed and refused; "stall": open, and nothing passes."""

    def __init__(self, target: int) -> None:
        self._target, self.mode = target, "pass"
        self._server = socket.create_server((HOST, 0))
        self.port = int(self._server.getsockname()[1])
        self._stop = threading.Event()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def close(self) -> None:
        self._stop.set()
        self._server.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.mode == "cut":
                client.close()
                continue
            try:
                broker = socket.create_connection((HOST, self._target), 5)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._pump, args=(client, broker), daemon=True).start()

    def _pump(self, client: socket.socket, broker: socket.socket) -> None:
        other = {client: broker, broker: client}
        with client, broker, contextlib.suppress(OSError):
            while not self._stop.is_set() and self.mode != "cut":
                if self.mode == "stall":
                    time.sleep(0.1)
                    continue
                for ready in select.select([client, broker], [], [], 0.25)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    other[ready].sendall(data)


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
