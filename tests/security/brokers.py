"""mosquitto with a configuration of the test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.integration.rig import wait_for


class Mosquitto:
    """A real broker; `text` is its whole configuration, `port` the one to wait for."""

    def __init__(self, folder: Path, port: int, text: str) -> None:
        self.port = port
        self._config, self._log = folder / "mosquitto.conf", folder / "mosquitto.log"
        # As root it would become a user who cannot read the test's folder.
        self._config.write_text(text + ("user root\n" if os.geteuid() == 0 else ""))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
        assert program, "mosquitto is not installed; run: make deps"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(self._config)], stdout=log, stderr=log)
        wait_for(self._listens, "the broker")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
