"""A real mosquitto with persistence that can be stopped, started again and frozen: for benchmarks and tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HOST = "127.0.0.1"
START_S = 30.0


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """One broker on a port of its own. Not started yet.

    Args:
        folder: takes its configuration, sessions and log.
        more: lines for its configuration; anybody may come in where there are none.
        queued: messages that it keeps for a client that is away; 0 is no limit.
    """

    def __init__(self, folder: Path, *more: str, queued: int = 100_000) -> None:
        program = shutil.which("mosquitto", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
        if program is None:
            raise RuntimeError("mosquitto is not installed; run: make deps")
        self._program, self.port = program, free_port()
        self._config, self._log = folder / "broker.conf", folder / "broker.log"
        lines = [
            f"listener {self.port} {HOST}",
            f"max_queued_messages {queued}",
            "persistence true",
            f"persistence_location {folder}/",
            # mosquitto gives up root for a user who cannot write into the folder.
            *(["user root"] if os.geteuid() == 0 else []),
            *(more or ["allow_anonymous true"]),
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens. Raises RuntimeError with what it said where it ends instead."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._config)], stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"mosquitto does not listen: {self.log()[-500:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, so that it saves its sessions."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def freeze(self, seconds: float) -> None:
        """It keeps its connections and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0
