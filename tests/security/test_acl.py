"""The broker's configuration as shipped, in a real mosquitto: each one gets its own part and no more."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.mosquitto import free_port
from tests.edge.agent.helpers import signal
from tests.edge.tiny import HOP, WINDOW
from tests.integration.rig import agent, samples_json, wait_for
from tests.security.brokers import Mosquitto

SHIPPED = Path(__file__).parents[2] / "deploy" / "mosquitto"
CLIENTS = ("gateway-1", "device-1", "device-2", "viewer", "operator")
SAMPLES = "wavewall/gateway-1/stream/device-1/samples"
NOT_AUTHORIZED = "Not authorized"


@dataclass
class Place:
    """The running broker, and what it takes to be one of its clients."""

    port: int
    certs: Path

    def words(self, who: str) -> list[str]:
        files = ["--cafile", "ca.crt", "--cert", f"{who}.crt", "--key", f"{who}.key"]
        return ["-h", "127.0.0.1", "-p", str(self.port), "-V", "5", *files]

    def publish(self, who: str, topic: str, text: str = "x", *more: str) -> str:
        """What mosquitto_pub says: nothing where the broker took it."""
        command = ["mosquitto_pub", *self.words(who), "-q", "1", "-t", topic, "-m", text, *more]
        done = subprocess.run(command, cwd=self.certs, capture_output=True, text=True, timeout=20)
        return done.stderr

    def seen(self, who: str, wait_s: int) -> subprocess.Popen[str]:
        """Everything that the broker lets `who` see for so long."""
        command = ["mosquitto_sub", *self.words(who), "-q", "1", "-t", "#", "-F", "%t", "-W", str(wait_s)]
        return subprocess.Popen(
            command, cwd=self.certs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def agent_words(self, *more: str) -> list[str]:
        names = ("ca-file", "ca.crt"), ("cert-file", "gateway-1.crt"), ("key-file", "gateway-1.key")
        files = [word for flag, name in names for word in (f"--mqtt-{flag}", str(self.certs / name))]
        where = ["--mqtt-host", "127.0.0.1", "--mqtt-port", str(self.port), "--mqtt-tls", "true"]
        return [*where, *files, "--node", "gateway-1", *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("broker")
    certs, port = folder / "certs", free_port()
    subprocess.run(["sh", str(SHIPPED / "make-certs"), str(certs), "127.0.0.1", *CLIENTS], check=True)
    (folder / "acl").write_text((SHIPPED / "acl").read_text())
    text = (SHIPPED / "mosquitto.conf").read_text()
    text = text.replace("/etc/mosquitto/wavewall", str(folder)).replace("/var/lib/mosquitto/", f"{folder}/")
    text = re.sub(r"^listener 8883$", f"listener {port} 127.0.0.1", text, flags=re.MULTILINE)
    assert str(port) in text
    broker = Mosquitto(folder, port, text)
    broker.start()
    yield Place(port, certs)
    broker.stop()


def test_keys_are_for_their_owner_alone(place: Place):
    assert {path.stat().st_mode & 0o777 for path in place.certs.glob("*.key")} == {0o600}


def test_nobody_gets_in_without_a_certificate_of_ours(place: Place):
    bare = ["mosquitto_pub", "-p", str(place.port), "-t", "x", "-m", "x", "--cafile", "ca.crt"]
    done = subprocess.run(
        [*bare, "-h", "127.0.0.1"], cwd=place.certs, capture_output=True, text=True, timeout=20
    )
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("who", "topic"),
    [
        ("device-1", SAMPLES),
        ("gateway-1", "wavewall/gateway-1/state"),
        ("gateway-1", "wavewall/gateway-1/stream/device-1/result"),
        ("gateway-1", "wavewall/gateway-1/response/ping"),
        ("operator", "wavewall/gateway-1/request/ping"),
    ],
)
def test_who_may_write(place: Place, who: str, topic: str):
    assert place.publish(who, topic) == ""


@pytest.mark.parametrize(
    ("who", "topic"),
    [
        ("device-2", SAMPLES),  # the wrong device
        ("device-1", "wavewall/gateway-1/stream/device-2/samples"),
        ("device-1", "wavewall/gateway-1/stream/device-1/result"),
        ("device-1", "wavewall/device-1/stream/x/result"),  # an agent of its own name
        ("device-1", "wavewall/gateway-1/state"),
        ("device-1", "wavewall/gateway-1/request/ping"),
        ("gateway-1", SAMPLES),
        ("gateway-1", "wavewall/gateway-2/state"),
        ("viewer", "wavewall/gateway-1/stream/device-1/result"),
        ("viewer", "wavewall/gateway-1/request/ping"),
        ("operator", SAMPLES),
        ("operator", "wavewall/gateway-2/request/ping"),
    ],
)
def test_who_may_not_write(place: Place, who: str, topic: str):
    assert NOT_AUTHORIZED in place.publish(who, topic)


@pytest.mark.slow
def test_each_reads_its_own_part_and_the_agent_works(place: Place, bundle: Path, tmp_path: Path):
    words = place.agent_words("--bundle-path", str(bundle), "--requests-enabled", "true")
    with agent(tmp_path, *words) as running:
        watching = {who: place.seen(who, 8) for who in CLIENTS if who != "gateway-1"}
        for message in samples_json(signal(WINDOW + 3 * HOP), 100.0, 56):
            wait_for(lambda message=message: place.publish("device-1", SAMPLES, message) == "", "a device", 5)
        place.publish("operator", "wavewall/gateway-1/request/ping")
        place.publish("gateway-1", "wavewall/gateway-1/stream/device-1/result", json.dumps({}))
        seen = {who: set(process.communicate(timeout=30)[0].split()) for who, process in watching.items()}
        assert "refuses" not in running.said()
    leaf = {who: {topic.rpartition("/")[2] for topic in topics} for who, topics in seen.items()}
    assert seen["device-1"] == seen["device-2"] == set()
    assert seen["operator"] == {"wavewall/gateway-1/response/ping"}
    assert {"result", "last", "state", "info", "availability"} <= leaf["viewer"]
    assert leaf["viewer"] <= {"result", "last", "state", "info", "health", "availability"}
