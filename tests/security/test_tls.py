"""TLS to the broker: connected only where everything is right, and what is wrong is said in words."""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mosquitto import free_port
from edge.config import MqttSettings
from edge.mqtt_link import MqttLink
from edge.settings import ConfigError, load_settings
from firmware_bridge.errors import BrokerError, KeyFileError
from firmware_bridge.forwarder import MqttPublisher
from firmware_bridge.tls import make_context
from tests.edge.agent.helpers import signal
from tests.edge.tiny import HOP, RATE_HZ, WINDOW
from tests.integration.rig import Broker, agent, samples_json, wait_for
from tests.security.pki import Authority, Pair

HOST = "127.0.0.1"


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_broker(folder: Path, ca: Authority, pair: Pair, *more: str) -> Broker:
    return Broker(folder, "allow_anonymous true", *tls_lines(ca, pair), *more)


def tls_lines(ca: Authority, pair: Pair) -> tuple[str, ...]:
    return (f"cafile {ca.cert}", f"certfile {pair.cert}", f"keyfile {pair.key}", "tls_version tlsv1.2")


def websockets_broker(folder: Path, *more: str) -> tuple[Broker, int]:
    """A broker with a WebSocket listener, and its port. (mosquitto 2.0.11 does not start with that one alone.)"""
    port = free_port()
    lines = ("allow_anonymous true", f"listener {port} {HOST}", "protocol websockets")
    return Broker(folder, *lines, *more), port


def listens(port: int) -> None:
    """Wait until somebody does."""

    def look() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    wait_for(look, f"port {port}")


def outcome(port: int, **settings: Any) -> str:
    """`connected`, or why not."""
    wanted = {"host": HOST, "port": port, "tls": True, "connect_timeout_s": 3, **settings}
    link, stop = MqttLink(MqttSettings(**wanted), "me", quiet=True), threading.Event()
    thread = threading.Thread(target=link.run, args=(stop,), daemon=True)
    thread.start()
    try:
        wait_for(lambda: link.connected or link.last_error, "a connection or a reason", 10)
        return "connected" if link.connected else link.last_error
    finally:
        stop.set()
        thread.join(5)


@pytest.mark.parametrize(
    ("issue", "says"),
    [
        ({"hosts": (HOST,)}, "connected"),
        ({"hosts": ("broker.example", "127.0.0.2")}, "is for another host"),
        ({"hosts": ()}, "is for another host"),
        ({"hosts": (HOST,), "until": timedelta(hours=-1)}, "has expired"),
        ({"hosts": (HOST,), "since": timedelta(hours=1)}, "not valid yet"),
    ],
    ids=["right", "wrong host", "no host", "expired", "not yet"],
)
def test_the_brokers_certificate(ca: Authority, tmp_path: Path, issue: dict[str, Any], says: str):
    made = tls_broker(tmp_path, ca, ca.issue("broker", **issue))
    made.start()
    try:
        assert says in outcome(made.port, ca_file=ca.cert)
    finally:
        made.stop()


@pytest.fixture
def right(ca: Authority, tmp_path: Path) -> Iterator[Broker]:
    made = tls_broker(tmp_path, ca, ca.issue("broker", hosts=(HOST, "localhost")))
    made.start()
    yield made
    made.stop()


def test_an_authority_that_we_do_not_know(right: Broker, tmp_path: Path):
    other = Authority(tmp_path, "somebody else")
    assert "nobody we trust" in outcome(right.port, ca_file=other.cert)


def test_the_systems_authorities_do_not_know_it_either(right: Broker):
    assert "nobody we trust" in outcome(right.port)


def test_a_newer_version_may_be_asked_for(right: Broker, ca: Authority):
    assert outcome(right.port, ca_file=ca.cert, tls_version="1.3") == "connected"


def test_a_broker_without_tls_gets_nothing(tmp_path: Path, ca: Authority):
    plain = Broker(tmp_path)
    plain.start()
    try:
        assert outcome(plain.port, ca_file=ca.cert) != "connected"
    finally:
        plain.stop()


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_protocols_are_refused(ca: Authority, tmp_path: Path, version: str):
    pair, port = ca.issue("broker", hosts=(HOST,)), free_port()
    command = ["openssl", "s_server", "-accept", f"{HOST}:{port}", "-cert", pair.cert, "-key", pair.key]
    server = subprocess.Popen(
        [*map(str, command), version, "-cipher", "ALL:@SECLEVEL=0", "-quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        says = ""
        while "TLS version" not in says:
            says = outcome(port, ca_file=ca.cert)
            assert says != "connected"
            assert server.poll() is None
            assert says == "nobody listens there" or "TLS version" in says, says
        # That server would have talked: it is our least version that refuses it.
        old = subprocess.run(
            ["openssl", "s_client", "-connect", f"{HOST}:{port}", version, "-cipher", "ALL:@SECLEVEL=0"],
            input=b"",
            capture_output=True,
            timeout=10,
        )
        assert b"Protocol" in old.stdout
    finally:
        server.kill()
        server.wait(10)


def test_a_client_certificate_is_shown_where_asked_for(ca: Authority, tmp_path: Path):
    mutual = ("require_certificate true", "use_identity_as_username true")
    made = tls_broker(tmp_path, ca, ca.issue("broker", hosts=(HOST,)), *mutual)
    made.start()
    try:
        mine, foreign = ca.issue("gateway-1"), Authority(tmp_path, "somebody else").issue("gateway-2")
        mine_words = {"cert_file": mine.cert, "key_file": mine.key}
        assert outcome(made.port, ca_file=ca.cert, **mine_words) == "connected"
        assert outcome(made.port, ca_file=ca.cert) != "connected"
        theirs = {"cert_file": foreign.cert, "key_file": foreign.key}
        assert outcome(made.port, ca_file=ca.cert, **theirs) != "connected"
    finally:
        made.stop()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_websockets(ca: Authority, tmp_path: Path, tls: bool):
    lines = tls_lines(ca, ca.issue("broker", hosts=(HOST,))) if tls else ()
    made, port = websockets_broker(tmp_path, *lines)
    made.start()
    try:
        files = {"ca_file": ca.cert} if tls else {}
        listens(port)
        assert outcome(port, tls=tls, transport="websockets", **files) == "connected"
        assert outcome(port, tls=tls, **files) != "connected"
    finally:
        made.stop()


def test_a_broker_without_websockets_is_explained(broker: Broker):
    broker.start()
    assert outcome(broker.port, tls=False, transport="websockets") != "connected"


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_samples_to_results_over_tls(ca: Authority, bundle: Path, tmp_path: Path, transport: str):
    """The whole way through an encrypted broker, with client certificates, and with results larger than one record."""
    lines = (*tls_lines(ca, ca.issue("broker", hosts=(HOST,))), "require_certificate true")
    made = Broker(tmp_path, "allow_anonymous true", *lines)
    port = made.port
    if transport == "websockets":
        made, port = websockets_broker(tmp_path, *lines)
    made.start()
    mine = ca.issue("gateway-1")
    files = ["--mqtt-ca-file", ca.cert, "--mqtt-cert-file", mine.cert, "--mqtt-key-file", mine.key]
    words = ["--bundle-path", bundle, "--mqtt-host", HOST, "--mqtt-port", port, "--mqtt-tls", "true"]
    words += ["--mqtt-transport", transport, "--node", "gw1", *files]
    words += ["--sink", "mqtt", "--sink", f"file:{tmp_path / 'results.jsonl'}"]
    count = 40
    try:
        with agent(tmp_path, *words) as running:
            sender = MqttLink(
                MqttSettings(
                    host=HOST, port=port, tls=True, ca_file=ca.cert, cert_file=mine.cert,
                    key_file=mine.key, transport=transport,
                ),
                "sender",
            )  # fmt: skip
            stop = threading.Event()
            thread = threading.Thread(target=sender.run, args=(stop,), daemon=True)
            thread.start()
            assert sender.wait_connected(10)
            values = signal(WINDOW + (count - 1) * HOP)
            for message in samples_json(values, RATE_HZ, 300, end=False):
                sender.publish("wavewall/gw1/stream/s1/samples", message, qos=1)
            lines = tmp_path / "results.jsonl"
            wait_for(lambda: lines.exists() and len(lines.read_text().splitlines()) == count, "results")
            stop.set()
            thread.join(5)
            assert "Traceback" not in running.said()
    finally:
        made.stop()


@pytest.mark.parametrize(
    ("mqtt", "says"),
    [
        ({"ca_file": "ca.crt"}, "tls is off"),
        ({"tls": True, "cert_file": "c.crt"}, "cert_file and key_file belong together"),
        ({"host": "mqtt://u:canary-1@broker"}, "is no host name"),
        ({"ws_path": "mqtt"}, "ws_path"),
    ],
)
def test_settings_that_make_no_sense(mqtt: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says) as caught:
        load_settings(None, {}, {f"mqtt.{key}": str(value) for key, value in mqtt.items()})
    assert "canary" not in str(caught.value)


def test_the_port_follows_tls():
    assert load_settings(None, {}, {"mqtt.tls": "true"}).mqtt.port == 8883
    assert load_settings(None, {}, {"mqtt.tls": "true", "mqtt.port": "1"}).mqtt.port == 1


def test_files_that_are_not_what_they_should_be(ca: Authority, tmp_path: Path):
    pair, junk = ca.issue("me"), tmp_path / "junk"
    junk.write_text("not a certificate")
    for settings, says in [
        ({"ca_file": junk}, "mqtt.ca_file"),
        ({"ca_file": tmp_path / "nothing"}, "mqtt.ca_file"),
        ({"cert_file": junk, "key_file": pair.key}, "mqtt.cert_file"),
        ({"cert_file": pair.cert, "key_file": ca.issue("other").key}, "mqtt.cert_file"),
    ]:
        with pytest.raises(ConfigError, match=says):
            MqttLink(MqttSettings(tls=True, **settings), "me")
    pair.key.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        MqttLink(MqttSettings(tls=True, cert_file=pair.cert, key_file=pair.key), "me")


def test_a_password_over_a_plain_network_is_warned_of(bundle: Path, caplog: pytest.LogCaptureFixture):
    from edge.agent import Agent

    flags = {"bundle.path": str(bundle), "mqtt.username": "u", "mqtt.host": "broker.example"}
    env = {"WAVEWALL_MQTT_PASSWORD": "canary-8"}
    with caplog.at_level(logging.WARNING):
        Agent(load_settings(None, env, flags))
    assert "unencrypted" in caplog.text
    caplog.clear()
    Agent(load_settings(None, env, {**flags, "mqtt.tls": "true"}))
    Agent(load_settings(None, env, {**flags, "mqtt.host": "localhost"}))
    assert "unencrypted" not in caplog.text


def test_the_bridge_for_thin_gateways_speaks_tls_too(ca: Authority, tmp_path: Path):
    mutual = ("require_certificate true", "use_identity_as_username true")
    made = tls_broker(tmp_path, ca, ca.issue("broker", hosts=(HOST,)), *mutual)
    made.start()
    mine = ca.issue("device-1")
    good = MqttPublisher(HOST, made.port, tls=make_context(ca.cert, mine.cert, mine.key))
    other = Authority(tmp_path, "somebody else")
    bad = MqttPublisher(HOST, made.port, tls=make_context(other.cert, mine.cert, mine.key))
    try:
        good.publish("wavewall/gw1/stream/s1/samples", b"x")
        wait_for(lambda: good.published == 1, "the acknowledgement", 10)
        wait_for(lambda: "is not trusted" in bad.problem, "the reason", 10)
        assert bad.published == 0
    finally:
        good.close()
        bad.close(0)
        made.stop()
    mine.key.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        make_context(ca.cert, mine.cert, mine.key)
    with pytest.raises(BrokerError, match="belong together"):
        make_context(ca.cert, mine.cert, None)
    with pytest.raises(BrokerError, match="cannot be used for TLS"):
        make_context(mine.key, None, None)
