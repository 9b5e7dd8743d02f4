"""Connections that are up and carry nothing: noticed within the stated time, opened anew, and nothing is lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mosquitto import free_port
from tests.edge.agent.helpers import signal
from tests.edge.tiny import HOP, RATE_HZ, WINDOW
from tests.integration.rig import Broker, agent, listener, samples_json, wait_for

SAMPLES = "wavewall/gw1/stream/s1/samples"
KEEPALIVE_S = 5


class Proxy:
    """Passes bytes on to a broker until `freeze`: then the connections of that moment stay open and carry nothing."""

    def __init__(self, to_port: int) -> None:
        self.port, self._to = free_port(), to_port
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._frozen: set[socket.socket] = set()
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen = {side for pair in self._pairs for side in pair}

    def close(self) -> None:
        self._server.close()
        for pair in self._pairs:
            for side in pair:
                side.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self.accepted += 1
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                if one not in self._frozen:
                    other.sendall(data)
            if one not in self._frozen:
                other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def proxy(broker: Broker) -> Iterator[Proxy]:
    broker.start()
    made = Proxy(broker.port)
    yield made
    made.close()


def words(bundle: Path, port: int, *more: object) -> list[object]:
    return ["--bundle-path", bundle, "--mqtt-port", port, "--node", "gw1", *more]


@pytest.mark.slow
def test_a_half_open_connection_is_noticed_within_twice_the_keepalive(
    broker: Broker, proxy: Proxy, bundle: Path, tmp_path: Path
):
    count = 30
    messages = samples_json(signal(WINDOW + (count - 1) * HOP), RATE_HZ, 100)
    given = words(bundle, proxy.port, "--mqtt-keepalive-s", KEEPALIVE_S, "--mqtt-reconnect-max-s", 1)
    with listener(broker.port) as client, agent(tmp_path, *given) as running:
        for message in messages[:3]:
            client.publish(SAMPLES, message)
        client.wait_results(1)
        proxy.freeze()
        frozen = time.monotonic()
        for message in messages[3:]:
            client.publish(SAMPLES, message)
        wait_for(lambda: proxy.accepted >= 4, "both connections anew", 2 * KEEPALIVE_S + 5)
        took_s = time.monotonic() - frozen
        client.wait_results(count)
        assert len(client.windows()) == count
        assert took_s < 2 * KEEPALIVE_S + 3
        assert "trying again" in running.said()


@pytest.mark.slow
def test_a_connection_that_brings_no_samples_is_told_and_opened_anew(
    broker: Broker, bundle: Path, tmp_path: Path
):
    broker.start()
    given = words(bundle, broker.port, "--source", "mqtt,silence_s=2", "--sink", "mqtt")
    messages = samples_json(signal(WINDOW + HOP), RATE_HZ, WINDOW, end=False)
    with listener(broker.port) as client, agent(tmp_path, *given) as running:
        time.sleep(2.5)
        assert "no sample message" not in running.said()  # nobody has sent yet: nothing is due
        client.publish(SAMPLES, messages[0])
        client.wait_results(1)
        wait_for(lambda: "no sample message came for 2 s; connecting anew" in running.said(), "the word", 10)
        told = b"mqtt: connected, but no sample message came for 2 s"
        wait_for(lambda: any(told in health for health in client.of("health")), "health", 10)
        client.publish(SAMPLES, messages[1])
        client.wait_results(2)
        wait_for(lambda: told not in client.of("health")[-1], "health that is well again", 10)
        assert "samples come again" in running.said()


@pytest.mark.slow
def test_a_record_that_has_ended_leaves_nothing_due(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    given = words(bundle, broker.port, "--source", "mqtt,silence_s=1", "--sink", "mqtt")
    with listener(broker.port) as client, agent(tmp_path, *given) as running:
        for message in samples_json(signal(WINDOW), RATE_HZ, WINDOW):
            client.publish(SAMPLES, message)
        client.wait_results(1)
        time.sleep(3)
        assert "no sample message" not in running.said()


def test_systemd_is_told_of_start_and_stop_though_the_broker_is_away(bundle: Path, tmp_path: Path):
    place = tmp_path / "notify"
    env = {"NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "1000000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place))
        systemd.settimeout(20)
        with agent(tmp_path, *words(bundle, free_port()), wait=False, env=env):
            told = [systemd.recv(4096).decode() for _ in range(4)]
        systemd.settimeout(1)
        while told[-1] != "STOPPING=1":
            told.append(systemd.recv(4096).decode())
    assert told[0] == "READY=1"
    assert told[1:4] == ["WATCHDOG=1"] * 3
