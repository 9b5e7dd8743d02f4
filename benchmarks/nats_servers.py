"""Three nats-servers on the loopback, for the cluster's benchmark and tests: start, kill -9, start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
START_S = 20.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Servers:
    """`count` servers with JetStream and MQTT in one cluster; their files lie in `folder`."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        program = shutil.which("nats-server", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        if program is None:
            raise RuntimeError("nats-server is not installed; run: make deps")
        self._program, self._folder = program, folder
        ports = free_ports(4 * count)
        self.clients, self.mqtt = ports[:count], ports[count : 2 * count]
        self._routes, self.leaves = ports[2 * count : 3 * count], ports[3 * count :]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        for at in range(count):
            self._config(at).write_text(self._text(at))

    @property
    def urls(self) -> str:
        """For --cluster-servers."""
        return "+".join(f"nats://{HOST}:{port}" for port in self.clients)

    def start(self, at: int | None = None) -> None:
        """One server, or all."""
        for each in range(len(self.clients)) if at is None else (at,):
            with (self._folder / f"nats-{each}.log").open("ab") as log:
                self._processes[each] = subprocess.Popen(
                    [self._program, "-c", str(self._config(each))], stdout=log, stderr=log
                )
        for each in range(len(self.clients)) if at is None else (at,):
            self._wait(each)

    def kill(self, at: int) -> None:
        """kill -9: no farewell, nothing flushed."""
        process = self._processes[at]
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        self._processes[at] = None

    def stop(self) -> None:
        for process in self._processes:
            if process is not None:
                process.terminate()
        for process in self._processes:
            if process is not None:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process is not None]

    def _config(self, at: int) -> Path:
        return self._folder / f"nats-{at}.conf"

    def _text(self, at: int) -> str:
        routes = ", ".join(f'"nats-route://{HOST}:{port}"' for port in self._routes)
        cluster = (
            f"cluster {{ name: wavewall, listen: {HOST}:{self._routes[at]}, routes: [{routes}] }}\n"
            if len(self.clients) > 1
            else ""
        )
        return (
            f"server_name: n{at}\nlisten: {HOST}:{self.clients[at]}\n"
            f'jetstream {{ store_dir: "{self._folder}/js-{at}", max_mem: 64MB, max_file: 4GB }}\n'
            f"mqtt {{ listen: {HOST}:{self.mqtt[at]} }}\n"
            f"leafnodes {{ listen: {HOST}:{self.leaves[at]} }}\n" + cluster
        )

    def _wait(self, at: int) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            process = self._processes[at]
            if process is not None and process.poll() is not None:
                raise RuntimeError((self._folder / f"nats-{at}.log").read_text()[-400:])
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.mqtt[at])) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"nats-server does not listen after {START_S:g} s")


class Leaf(Servers):
    """A server on a gateway: MQTT for its cutter, everything else goes to the servers that it is a leaf of."""

    def __init__(self, folder: Path, hub: Servers) -> None:
        self._hub = hub
        super().__init__(folder, 1)

    def _config(self, at: int) -> Path:
        return self._folder / "leaf.conf"

    def _text(self, at: int) -> str:
        remotes = ", ".join(f'{{ url: "nats-leaf://{HOST}:{port}" }}' for port in self._hub.leaves)
        return (
            f"server_name: gateway\nlisten: {HOST}:{self.clients[0]}\n"
            f'jetstream {{ store_dir: "{self._folder}/leaf", domain: gateway, max_mem: 64MB, max_file: 1GB }}\n'
            f"mqtt {{ listen: {HOST}:{self.mqtt[0]} }}\nleafnodes {{ remotes: [{remotes}] }}\n"
        )


@contextmanager
def servers(folder: Path, count: int = 3) -> Iterator[Servers]:
    """Running servers, stopped at the end."""
    made = Servers(folder, count)
    try:
        made.start()
        yield made
    finally:
        made.stop()
