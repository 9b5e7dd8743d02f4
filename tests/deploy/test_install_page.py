"""docs/install.md: every block marked `run` is run, line for line, in a clean Debian root that boots with systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.roots import Machine, copy, remove
from tests.integration.rig import Broker, wait_for

pytestmark = [pytest.mark.systemd, pytest.mark.package, pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "install.md"


def blocks() -> dict[str, str]:
    """name -> shell script, of every marked block in the page's order."""
    return dict(re.findall(r"<!-- run: (\w+) -->\n```\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S))


@pytest.fixture(scope="module")
def machine(gateway_root: Path, kept: Path, debs: dict[str, Path], wheel: Path) -> Iterator[Machine]:
    """A fresh machine with the downloads in /root, a sudo that is root already, and pip's settings of the host."""
    machine = Machine(copy(gateway_root, kept / "fresh"))
    for path in (debs["amd64"], wheel):
        shutil.copy(path, machine.root / "root")
    sudo = machine.root / "usr" / "local" / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    for name in ("PIP_CERT", "SSL_CERT_FILE"):
        if Path(os.environ.get(name, "/nowhere")).is_file():
            shutil.copy(os.environ[name], machine.root / "etc" / "ssl" / "host.pem")
            (machine.root / "etc" / "pip.conf").write_text("[global]\ncert = /etc/ssl/host.pem\n")
    yield machine.boot()
    machine.stop()
    remove(machine.root)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker on this machine, as the page has it, that also knows the page's user and password."""
    folder = tmp_path_factory.mktemp("broker")
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(folder / "passwords"), "attic", "secret"], check=True)
    broker = Broker(folder, "allow_anonymous true", f"password_file {folder / 'passwords'}")
    broker.start()
    yield broker
    broker.stop()


def run(machine: Machine, name: str, broker: Broker) -> str:
    """One block, as a person would type it: it stops at the first line that fails."""
    block = blocks()[name].replace("localhost:1883", f"localhost:{broker.port}")
    return machine.run(f"cd\nset -e\n{block}")


def test_every_block_has_its_test():
    names = list(blocks())
    assert names == ["deb", "init", "reload", "second", "password", "purge", "wheel", "fleet"]
    unmarked = PAGE.read_text("utf-8").count("\n```\n") // 2 - len(names)
    assert unmarked == 1, "the container's block is the only one that is not run"


def test_the_debian_package_from_first_to_last_block(machine: Machine, broker: Broker):
    said = run(machine, "deb", broker)
    assert "golden windows agree" in said
    assert "active (running)" in said

    said = run(machine, "init", broker)
    assert "wrote /etc/wavewall/agent.toml" in said
    assert "Started wavewall-agent.service" in said
    assert 'id = "attic"' in machine.run("cat /etc/wavewall/agent.toml")

    said = run(machine, "reload", broker)
    assert "every check passed" in said
    machine.wait("wavewall-agent", "active", 20)

    run(machine, "second", broker)
    machine.wait("wavewall-agent@ward-2", "active", 20)

    run(machine, "password", broker)
    wait_for(lambda: "u'attic'" in broker.log(), "the agent at the broker under its own name")

    run(machine, "purge", broker)
    assert machine.run("find /opt/wavewall 2>/dev/null; getent passwd wavewall", check=False) == ""
    # what the user made stays; what the package made does not
    assert sorted(machine.run("ls /etc/wavewall").split()) == ["mqtt-password", "ward-2.toml"]


def test_the_wheel(machine: Machine, broker: Broker):
    said = run(machine, "wheel", broker)
    assert "golden windows agree" in said
    unit = machine.run("cat ~/wavewall-agent.service")
    home = machine.run("echo ~").strip()
    assert f"ExecStart={home}/wavewall/bin/edge-agent run {home}/agent.toml" in unit
    assert "ProtectHome=read-only" in unit
