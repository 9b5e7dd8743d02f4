"""compose.yaml and compose.cluster.yaml: valid by the schema of compose, and their parts work together."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from benchmarks.mosquitto import free_port
from edge.settings import load_settings
from tests.integration.rig import wait_for

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture(scope="module", params=["compose.yaml", "compose.cluster.yaml"])
def compose(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / request.param).read_text("utf-8")))


@pytest.mark.package
@pytest.mark.slow
def test_the_file_is_valid_by_composes_own_schema(compose: dict[str, Any], tmp_path: Path):
    # the last compose in Python carries the specification's schema
    subprocess.run(
        [Path(sys.executable).with_name("uv"), "pip", "install", "-q", "--no-deps", "--target", str(tmp_path),
         "docker-compose==1.29.2"], check=True,
    )  # fmt: skip
    schema = json.loads((tmp_path / "compose" / "config" / "compose_spec.json").read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(compose)


def test_every_mounted_file_is_there_and_every_volume_declared(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                # certificates are the user's own
                assert source == "./certs" or (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_every_service_is_closed_and_on_the_loopback(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_the_brokers_file_says_what_the_plain_ones_does():
    def lines(path: Path) -> list[str]:
        found = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        return [re.sub(r"/[\w/.]*/", "", line) for line in found]

    plain = lines(DEPLOY / "mosquitto" / "mosquitto.conf")
    assert [
        line for line in lines(DEPLOY / "compose" / "mosquitto.conf") if line != "log_dest stdout"
    ] == plain


def test_prometheus_and_grafana_read_their_files():
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed; run: make deps"
    path = DEPLOY / "compose" / "prometheus.yml"
    subprocess.run([promtool, "check", "config", str(path)], check=True, capture_output=True)
    target = yaml.safe_load(path.read_text("utf-8"))["scrape_configs"][0]["static_configs"][0]["targets"][0]
    env = {"WAVEWALL_DASHBOARD_TOKEN": "a long enough token"}
    settings = load_settings(DEPLOY / "compose" / "agent.toml", env)
    assert target == f"agent:{settings.metrics.port}"
    for path in (DEPLOY / "compose" / "grafana").rglob("*.yaml"):
        assert yaml.safe_load(path.read_text("utf-8"))["apiVersion"] == 1


@pytest.mark.integration
def test_agent_and_broker_of_the_file_meet_over_tls(tmp_path: Path):
    """With this machine's paths and names in place of the containers'."""
    certs = tmp_path / "certs"
    subprocess.run(
        ["sh", str(DEPLOY / "mosquitto" / "make-certs"), str(certs), "localhost", "gateway-1", "viewer"],
        check=True,
    )
    port = free_port()
    broker = (DEPLOY / "compose" / "mosquitto.conf").read_text("utf-8")
    for old, new in {
        "/mosquitto/certs": certs,
        "/mosquitto/config": DEPLOY / "mosquitto",
        "/mosquitto/data": tmp_path,
    }.items():
        broker = broker.replace(old, str(new))
    broker = broker.replace(
        "listener 8883", f"listener {port} 127.0.0.1" + ("\nuser root" if os.geteuid() == 0 else "")
    )
    (tmp_path / "mosquitto.conf").write_text(broker)
    agent = (DEPLOY / "compose" / "agent.toml").read_text("utf-8")
    agent = (
        agent.replace('"mosquitto"', '"localhost"')
        .replace("8883", str(port))
        .replace("/etc/wavewall/certs", str(certs))
    )
    agent = agent.replace("/var/lib/wavewall", str(tmp_path)).replace(
        "0.0.0.0:8787", f"127.0.0.1:{free_port()}"
    )
    agent = agent.replace('host = "0.0.0.0"', f'host = "127.0.0.1"\nport = {free_port()}')
    (tmp_path / "agent.toml").write_text(agent)
    program = shutil.which("mosquitto", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    assert program
    env = {**os.environ, "WAVEWALL_DASHBOARD_TOKEN": "a long enough token"}
    with (tmp_path / "log").open("wb") as log:
        parts = [subprocess.Popen([program, "-c", str(tmp_path / "mosquitto.conf")], stdout=log, stderr=log)]
        command = [sys.executable, "-m", "edge.cli", "run", str(tmp_path / "agent.toml")]
        parts.append(subprocess.Popen(command, stdout=log, stderr=log, env=env))
        try:
            viewer = ["mosquitto_sub", "-h", "localhost", "-p", str(port), "--cafile", str(certs / "ca.crt"),
                      "--cert", str(certs / "viewer.crt"), "--key", str(certs / "viewer.key"),
                      "-t", "wavewall/gateway-1/state", "-C", "1", "-W", "2"]  # fmt: skip
            said = wait_for(
                lambda: subprocess.run(viewer, capture_output=True, text=True).stdout, "the agent's state"
            )
            assert "online" in said, (tmp_path / "log").read_text()
        finally:
            for part in reversed(parts):
                part.terminate()
                part.wait(15)


@pytest.mark.integration
@pytest.mark.slow
def test_three_servers_of_the_cluster_file_take_streams_and_a_classifier(tmp_path: Path):
    """With this machine's ports in place of the containers' names."""
    ports = {f"nats-{n}": (free_port(), free_port(), free_port()) for n in (1, 2, 3)}
    config = (DEPLOY / "compose" / "nats.conf").read_text("utf-8")
    for name, (_, _, route) in ports.items():
        config = config.replace(f"{name}:6222", f"127.0.0.1:{route}")
    agent = (DEPLOY / "compose" / "classifier.toml").read_text("utf-8")
    for name, (client, _, _) in ports.items():
        agent = agent.replace(f"{name}:4222", f"127.0.0.1:{client}")
    (tmp_path / "classifier.toml").write_text(agent)
    program = shutil.which("nats-server")
    assert program, "nats-server is not installed; run: make deps"
    parts = []
    with (tmp_path / "log").open("wb") as log:
        for name, (client, mqtt, route) in ports.items():
            own = config.replace("0.0.0.0:4222", f"127.0.0.1:{client}").replace(
                "0.0.0.0:1883", f"127.0.0.1:{mqtt}"
            )
            own = own.replace("0.0.0.0:6222", f"127.0.0.1:{route}").replace("/data", str(tmp_path / name))
            (tmp_path / f"{name}.conf").write_text(own)
            env = {**os.environ, "NAME": name}
            parts.append(
                subprocess.Popen([program, "-c", tmp_path / f"{name}.conf"], env=env, stdout=log, stderr=log)
            )
        command = [sys.executable, "-m", "edge.cli", "cluster"]
        words = [str(tmp_path / "classifier.toml")]
        try:
            init = [*command, "init", *words]
            wait_for(lambda: subprocess.run(init, capture_output=True).returncode == 0, "the streams", 90.0)
            said = subprocess.run(
                [*command, "status", "--json", *words], capture_output=True, text=True, check=True
            )
            assert json.loads(said.stdout)["lag"] == 0
        finally:
            for part in parts:
                part.terminate()
            for part in parts:
                part.wait(15)
