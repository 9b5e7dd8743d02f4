"""The demo's agents: `edge-agent run`, each in a process of its own, as a user would start it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.demo.broker import HOST, Broker

STOP_S = 6.0  # an agent promises to be done 5 s after SIGTERM


@dataclass(frozen=True)
class AgentProcess:
    """A running agent. `node` is its name on the broker."""

    node: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """The end of what it said on standard error, for an error message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def config_text(node: str, bundle: str, port: str, broker: Broker) -> str:
    """The agent's configuration file. JSON's strings are TOML's, too."""
    quote = json.dumps
    key = "path" if bundle.endswith(".bundle") else "name"
    return f"""\
[node]
id = {quote(node)}

[mqtt]
host = {quote(HOST)}
port = {broker.port}
version = {quote(broker.version)}

[bundle]
{key} = {quote(bundle)}

[[source]]
kind = "serial"
port = {quote(port)}

[[sink]]
kind = "mqtt"
"""


@contextmanager
def agents(
    bundles: dict[str, str], ports: list[str], broker: Broker, folder: Path
) -> Iterator[list[AgentProcess]]:
    """One agent for each node -> bundle, on the port of the same place; asked to stop at the end."""
    running: list[AgentProcess] = []
    try:
        for (node, bundle), port in zip(bundles.items(), ports, strict=True):
            config, log = folder / f"{node}.toml", folder / f"{node}.log"
            config.write_text(config_text(node, bundle, port, broker), encoding="utf-8")
            command = [sys.executable, "-m", "edge.cli", "run", str(config)]
            with log.open("wb") as output:
                # A session of its own: Ctrl-C is for the demo, which then stops its agents properly.
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
            running.append(AgentProcess(node, process, log))
        yield running
    finally:
        for agent in running:
            agent.process.terminate()
        for agent in running:
            try:
                agent.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                agent.process.kill()
                agent.process.wait()
