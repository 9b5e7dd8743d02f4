"""The Debian packages: lintian, and a life in a clean root: install, upgrade, remove, purge."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.roots import Machine, copy, remove

pytestmark = [pytest.mark.package, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def machine(gateway_root: Path, kept: Path) -> Iterator[Machine]:
    machine = Machine(copy(gateway_root, kept / "life"))
    machine.boot()
    yield machine
    machine.stop()
    remove(machine.root)


def newer(package: Path, folder: Path) -> Path:
    """The package again as version 9.9 with another default configuration."""
    root = folder / "newer"
    subprocess.run(["dpkg-deb", "-R", str(package), str(root)], check=True)
    control = root / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 9.9", control.read_text(), flags=re.M))
    with (root / "etc" / "wavewall" / "agent.toml").open("a") as config:
        config.write("# a remark of version 9.9\n")
    target = folder / "wavewall_9.9.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(root), str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return target


def files_of(machine: Machine) -> set[str]:
    """Everything that could be ours: names that carry our name, below the places where packages write."""
    listing = machine.run(
        "find /opt /etc /usr /lib /var -xdev -name '*wavewall*' -o -path '/opt/*'", check=False
    )
    lines = [line for line in listing.splitlines() if line.startswith("/")]
    return {line for line in lines if "/lib/dpkg/" not in line and "/log/" not in line}


def test_lintian_finds_no_error(debs: dict[str, Path]):
    done = subprocess.run(["lintian", "--fail-on", "error", "--tag-display-limit", "0", *map(str, debs.values())],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.systemd
def test_install_upgrade_remove_purge(machine: Machine, debs: dict[str, Path], tmp_path: Path):
    before = files_of(machine)
    shutil.copy(debs["amd64"], machine.root / "wavewall.deb")
    shutil.copy(newer(debs["amd64"], tmp_path), machine.root / "newer.deb")

    machine.run("dpkg -i /wavewall.deb")
    assert machine.run("id -nG wavewall").split() == ["wavewall", "dialout"]
    assert machine.run("stat -c '%U %G %a' /etc/wavewall").strip() == "root wavewall 750"
    machine.wait("wavewall-agent", "active", 20)
    assert machine.show("wavewall-agent", "UnitFileState")["UnitFileState"] == "enabled"
    assert machine.show("wavewall-check.timer", "ActiveState")["ActiveState"] == "active"
    assert machine.run("test -f /opt/wavewall/lib/edge/__pycache__/agent.cpython-311.pyc && echo compiled")
    assert "every check passed" in machine.run(
        "edge-agent check --sink stdout /etc/wavewall/agent.toml", check=False
    )

    # An edited configuration outlives an upgrade, and the new version runs.
    machine.run("echo '# mine' >> /etc/wavewall/agent.toml")
    first = machine.show("wavewall-agent", "MainPID")["MainPID"]
    machine.run("dpkg --force-confold -i /newer.deb")
    assert machine.run("dpkg-query -W -f '${Version}' wavewall") == "9.9"
    assert machine.run("tail -n 1 /etc/wavewall/agent.toml") == "# mine\n"
    machine.wait("wavewall-agent", "active", 20)
    assert machine.show("wavewall-agent", "MainPID")["MainPID"] != first

    # Removing keeps the configuration and the state; nothing of ours runs, nothing stays below /opt.
    machine.run("echo key > /etc/wavewall/board-1.key; touch /var/lib/wavewall/results.jsonl")
    machine.run("dpkg -r wavewall")
    assert machine.show("wavewall-agent", "ActiveState")["ActiveState"] == "inactive"
    assert machine.run("cat /etc/wavewall/agent.toml").endswith("# mine\n")
    assert machine.run("ls /var/lib/wavewall").split() == ["results.jsonl"]
    assert machine.run("find /opt 2>/dev/null", check=False) in ("", "/opt\n")

    # Purging leaves what the user made in /etc, and nothing else.
    machine.run("dpkg -P wavewall")
    assert machine.run("find /etc/wavewall -type f").split() == ["/etc/wavewall/board-1.key"]
    machine.run("rm -r /etc/wavewall")
    assert files_of(machine) <= before
    assert machine.run("getent passwd wavewall", check=False) == ""
