"""The units in truth: a Debian root booted by systemd-nspawn, the package installed, a broker on the host."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.roots import Machine, copy, remove
from tests.integration.rig import Broker

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(900)]

UNIT = "wavewall-agent"
CONFIG = """
[node]
id = "{node}"

[mqtt]
host = "127.0.0.1"
port = {port}
reconnect_max_s = 1.0

[log]
level = "info"
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def machine(gateway_root: Path, kept: Path, debs: dict[str, Path], broker: Broker) -> Iterator[Machine]:
    """A booted gateway with the agent installed and running."""
    machine = Machine(copy(gateway_root, kept / "booted"))
    shutil.copy(debs["amd64"], machine.root / "wavewall.deb")
    machine.boot()
    machine.run("dpkg -i /wavewall.deb")
    configure(machine, "agent", broker.port)
    yield machine
    machine.stop()
    remove(machine.root)


def configure(machine: Machine, name: str, port: int, more: str = "") -> None:
    path = machine.root / "etc" / "wavewall" / f"{name}.toml"
    path.write_text(CONFIG.format(node=f"{name}-node", port=port) + more)
    path.chmod(0o644)


def drop_in(machine: Machine, text: str) -> None:
    """A drop-in for the unit; an empty one takes it away."""
    folder = machine.root / "etc" / "systemd" / "system" / f"{UNIT}.service.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.conf").write_text(text)
    machine.run("systemctl daemon-reload")


def restart(machine: Machine, unit: str = UNIT) -> float:
    """Restart the unit; gives the seconds from start to ready by systemd's own clock."""
    machine.run(f"systemctl reset-failed; systemctl restart {unit}")
    times = machine.show(unit, "InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    return (int(times["ActiveEnterTimestampMonotonic"]) - int(times["InactiveExitTimestampMonotonic"])) / 1e6


def state(broker: Broker, node: str) -> str:
    """The retained state of a node, "" where there is none."""
    done = subprocess.run(
        ["mosquitto_sub", "-p", str(broker.port), "-t", f"wavewall/{node}/state", "-C", "1", "-W", "3"],
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def wait_state(broker: Broker, node: str, wanted: str, timeout_s: float = 15) -> None:
    until = time.monotonic() + timeout_s
    while wanted not in (found := state(broker, node)):
        assert time.monotonic() < until, f"state of {node} is {found!r}, not {wanted}"


def test_units_are_valid_and_closed(repository: Path, tmp_path: Path):
    units = sorted((repository / "deploy" / "systemd").glob("wavewall-*"))
    assert len(units) == 6
    for unit in units:
        # the program need not be on this machine: point the copy to one that is
        text = unit.read_text().replace("/opt/wavewall/bin/edge-agent", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    services = [tmp_path / unit.name for unit in units]
    names = [str(path).replace("@", "@x") if "@" in path.name else str(path) for path in services]
    shutil.copy(tmp_path / "wavewall-agent@.service", tmp_path / "wavewall-agent@x.service")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *names], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "wavewall" in line]
    assert done.returncode == 0 and not ours, done.stderr
    for service in services:
        if service.suffix == ".service":
            said = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(service)],
                capture_output=True, text=True,
            )  # fmt: skip
            assert said.returncode == 0, said.stdout.splitlines()[-1]


def test_template_differs_in_names_only(repository: Path):
    folder = repository / "deploy" / "systemd"
    plain = (folder / "wavewall-agent.service").read_text().splitlines()
    template = (folder / "wavewall-agent@.service").read_text().splitlines()
    other = [(one, two) for one, two in zip(plain, template, strict=True) if one != two]
    for one, two in other:
        assert two.replace("agent %i", "agent").replace("/%i.toml", "/agent.toml").replace("/%i", "") == one
    assert len(other) == 4


def test_ready_within_five_seconds_and_readable(machine: Machine, broker: Broker):
    assert restart(machine) < 5.0
    wait_state(broker, "agent-node", "online")
    journal = machine.journal(UNIT)
    assert "ready in" in journal
    assert "Traceback" not in journal
    assert machine.show(UNIT, "StatusText", "Type")["Type"] == "notify"
    assert machine.run(f"stat -c %U:%a /var/lib/wavewall; ps -o user= -p $(systemctl show -p MainPID --value {UNIT})",
                       check=False).startswith("wavewall:7")  # fmt: skip


def test_a_frozen_agent_is_killed_by_the_watchdog_and_comes_back(machine: Machine, broker: Broker):
    drop_in(machine, "[Service]\nWatchdogSec=3\n")
    try:
        restart(machine)
        first = machine.show(UNIT, "MainPID")["MainPID"]
        time.sleep(6)  # twice the watchdog's time: a healthy agent lives through it
        assert machine.show(UNIT, "MainPID")["MainPID"] == first
        machine.run(f"kill -STOP {first}")
        until = time.monotonic() + 40
        while (now := machine.show(UNIT, "MainPID", "ActiveState"))["MainPID"] in (first, "0") or (
            now["ActiveState"] != "active"
        ):
            assert time.monotonic() < until, machine.journal(UNIT)
            time.sleep(0.3)
        assert "Watchdog timeout" in machine.journal(UNIT)
        wait_state(broker, "agent-node", "online")
    finally:
        drop_in(machine, "")


def test_reload_takes_a_new_configuration_and_refuses_a_bad_one(machine: Machine, broker: Broker):
    restart(machine)
    first = machine.show(UNIT, "MainPID")["MainPID"]
    configure(machine, "agent", broker.port, "\n[health]\nperiod_s = 7.0\n")
    machine.run(f"systemctl reload {UNIT}")
    wait_journal(machine, "configuration reloaded: health")
    configure(machine, "agent", broker.port, "\n[health]\nperiodd_s = 7.0\n")
    machine.run(f"systemctl reload {UNIT}")
    wait_journal(machine, "refused, the old one is kept")
    assert "period_s" in machine.journal(UNIT).split("refused")[1]
    assert machine.show(UNIT, "MainPID", "ActiveState") == {"MainPID": first, "ActiveState": "active"}
    configure(machine, "agent", broker.port)


def wait_journal(machine: Machine, text: str, timeout_s: float = 10) -> None:
    until = time.monotonic() + timeout_s
    while text not in machine.journal(UNIT):
        assert time.monotonic() < until, machine.journal(UNIT)
        time.sleep(0.2)


def test_stop_within_five_seconds_says_stopped(machine: Machine, broker: Broker):
    restart(machine)
    wait_state(broker, "agent-node", "online")
    began = time.monotonic()
    machine.run(f"systemctl stop {UNIT}")
    assert time.monotonic() - began < 5.0
    wait_state(broker, "agent-node", "stopped")
    assert machine.show(UNIT, "Result")["Result"] == "success"


def test_a_bad_configuration_is_said_once_and_not_tried_again(machine: Machine, broker: Broker):
    machine.run(f"systemctl stop {UNIT}")
    configure(machine, "agent", broker.port, "\n[helth]\n")
    machine.run(f"systemctl reset-failed; systemctl start {UNIT}", check=False)
    machine.wait(UNIT, "failed", 20)
    time.sleep(3)
    found = machine.show(UNIT, "NRestarts", "ExecMainStatus")
    assert found == {"NRestarts": "0", "ExecMainStatus": "2"}
    assert "unknown section 'helth'; did you mean 'health'?" in machine.journal(UNIT)
    configure(machine, "agent", broker.port)


def test_a_credential_is_the_brokers_password(machine: Machine, tmp_path: Path):
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), "gw", "s3cret"], check=True)
    closed = Broker(tmp_path, "allow_anonymous false", f"password_file {tmp_path / 'passwords'}")
    closed.start()
    secret = machine.root / "etc" / "wavewall" / "mqtt-password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    configure(machine, "agent", closed.port)
    drop_in(machine, "[Service]\nLoadCredential=mqtt-password:/etc/wavewall/mqtt-password\n"
        "Environment=WAVEWALL_MQTT_PASSWORD_FILE=%d/mqtt-password WAVEWALL_MQTT_USERNAME=gw\n")  # fmt: skip
    try:
        restart(machine)
        until = time.monotonic() + 15
        while "online" not in subprocess.run(
            ["mosquitto_sub", "-p", str(closed.port), "-u", "gw", "-P", "s3cret", "-t", "wavewall/agent-node/state",
             "-C", "1", "-W", "2"], capture_output=True, text=True).stdout:  # fmt: skip
            assert time.monotonic() < until, machine.journal(UNIT)
        assert "s3cret" not in machine.journal(UNIT)
    finally:
        drop_in(machine, "")
        machine.run(f"systemctl stop {UNIT}")
        closed.stop()


def test_two_more_agents_by_the_template(machine: Machine, broker: Broker):
    for name in ("ward-1", "ward-2"):
        configure(machine, name, broker.port)
        restart(machine, f"wavewall-agent@{name}")
        wait_state(broker, f"{name}-node", "online")
    assert machine.run("ls -d /var/lib/wavewall/ward-*").split() == [
        "/var/lib/wavewall/ward-1", "/var/lib/wavewall/ward-2"]  # fmt: skip
    machine.run("systemctl stop 'wavewall-agent@*'")


def test_the_timers_check_finds_a_missing_broker(machine: Machine, broker: Broker):
    configure(machine, "agent", broker.port)
    restart(machine)
    machine.run("systemctl start wavewall-check.service")
    journal = machine.journal("wavewall-check")
    assert re.search(r"ok +broker", journal), journal
    configure(machine, "agent", 1)
    machine.run("systemctl start wavewall-check.service", check=False)
    assert machine.show("wavewall-check", "Result")["Result"] == "exit-code"
    assert re.search(r"FAIL +broker +127\.0\.0\.1:1", machine.journal("wavewall-check"))
    timers = json.loads(machine.run("systemctl list-timers --all -o json"))
    assert "wavewall-check.timer" in {timer["unit"] for timer in timers}


def test_udev_reads_the_rule_without_a_complaint(machine: Machine):
    said = machine.run("udevadm test --action=add /devices/virtual/tty/tty0", check=False)
    about = [line for line in said.splitlines() if "60-wavewall.rules" in line]
    assert any("Reading rules file" in line for line in about), said
    assert not [line for line in about if "Reading rules file" not in line], about
