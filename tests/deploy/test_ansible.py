"""The Ansible role: clean by its linter, applied to a booted Debian root, the second time without a change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.roots import Machine, copy, remove
from tests.deploy.test_install_page import blocks

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(900)]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def run(command: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-ec", command], cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path, **env}
    )


@pytest.fixture
def machine(gateway_root: Path, kept: Path) -> Iterator[Machine]:
    machine = Machine(copy(gateway_root, kept / "fleet"))
    yield machine.boot()
    machine.stop()
    remove(machine.root)


def test_the_linter_is_content():
    done = run("ansible-lint --offline --profile production playbook.yml roles", DEPLOY / "ansible")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_role_makes_a_gateway_and_then_changes_nothing(
    machine: Machine, debs: dict[str, Path], tmp_path: Path
):
    """By the command of docs/install.md."""
    variables: dict[str, Any] = {
        "nspawn_leader": machine.leader, "nspawn_root": str(machine.root), "ansible_connection": "nspawn",
        "ansible_become": False, "ansible_python_interpreter": "/usr/bin/python3",
        "wavewall_package": str(debs["amd64"]), "wavewall_mqtt_password": "s3cret", "wavewall_mqtt_username": "attic",
        "wavewall_pull_url": "https://models.example.org/rollout.json",
        "wavewall_config": '[node]\nid = "attic"\n\n[mqtt]\nport = 1\n',
    }  # fmt: skip
    inventory = {"gateways": {"hosts": {"attic": variables}}}
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    (tmp_path / "deploy").symlink_to(DEPLOY)
    env = {
        "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).with_name("connection")),
        "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_NOCOLOR": "1",
    }  # fmt: skip
    first = run(blocks()["fleet"], tmp_path, **env)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "s3cret" not in first.stdout
    machine.wait("wavewall-agent", "active", 20)
    assert machine.show("wavewall-pull.timer", "ActiveState")["ActiveState"] == "active"
    assert machine.run("stat -c %a /etc/wavewall/mqtt-password /etc/wavewall/agent.toml").split() == [
        "600",
        "640",
    ]
    assert "LoadCredential=" in machine.run("systemctl cat wavewall-agent")
    again = run(blocks()["fleet"], tmp_path, **env)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "changed=0" in again.stdout, again.stdout
