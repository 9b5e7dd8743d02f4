"""The connection to the broker, without one: what is told when it refuses or breaks."""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass

import paho.mqtt.client as paho
import pytest

from benchmarks.mosquitto import free_port
from edge.config import MqttSettings
from edge.mqtt_link import FLAPS, BrokerError, MqttLink
from tests.integration.rig import wait_for


@dataclass
class Reason:
    value: int
    text: str = "a reason"

    @property
    def is_failure(self) -> bool:
        return self.value >= 0x80

    def __str__(self) -> str:
        return self.text


@dataclass
class Flags:
    is_disconnect_packet_from_server: bool = True


def link(**more) -> MqttLink:
    settings = MqttSettings(host="127.0.0.1", port=free_port(), connect_timeout_s=0.5, reconnect_min_s=0.05)
    return MqttLink(settings, "me", **more)


def test_nobody_there_is_said_once_and_a_stop_is_quick(caplog: pytest.LogCaptureFixture):
    made, stop = link(), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    with caplog.at_level(logging.WARNING):
        thread.start()
        time.sleep(0.5)
        stop.set()
        began = time.monotonic()
        thread.join(5)
    assert time.monotonic() - began < 1.0
    assert made.last_error == "nobody listens there"
    assert [record.message for record in caplog.records] == [
        f"broker {made.place}: nobody listens there (client me); trying again until it answers"
    ]


def test_a_name_that_does_not_resolve():
    settings = MqttSettings(host="no-such-host.invalid", reconnect_min_s=0.05)
    made, stop = MqttLink(settings, "me", quiet=True), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,), daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not made.last_error and time.monotonic() < until:
        time.sleep(0.02)
    stop.set()
    assert "host name not found" in made.last_error


def test_a_login_that_is_refused():
    made = link()
    made._connected(None, None, None, Reason(0x87, "Not authorized"), None)
    assert not made.connected
    assert made.last_error == "refused: Not authorized"


def test_a_connection_and_its_end():
    told: list[str] = []
    made = link(on_connected=lambda: told.append("up"), on_down=lambda: told.append("down"))
    made._connected(None, None, None, Reason(0), None)
    assert not made.connected  # before paho has sent again what it kept
    made._begin()
    assert made.connected
    assert made.wait_connected(0.0)
    made._disconnected(None, None, Flags(), Reason(0x8B, "Server shutting down"), None)
    assert not made.connected
    assert "Server shutting down" in made.last_error
    made._down(made.last_error, 0)
    assert told == ["up", "down"]


def test_another_client_of_the_same_name(caplog: pytest.LogCaptureFixture):
    made = link()
    made._connected(None, None, None, Reason(0), None)
    made._disconnected(None, None, Flags(), Reason(0x8E), None)
    assert "give each agent its own node.id" in made.last_error
    silent = link()
    with caplog.at_level(logging.WARNING):
        for times in range(1, FLAPS + 1):
            silent._down("connection lost", times)
    assert "perhaps another client took over the name me" in caplog.text


def test_a_subscription_that_is_refused(caplog: pytest.LogCaptureFixture):
    made = link()
    assert not made.subscribed
    made._subscribing[7] = ["a/+", "b/+"]
    with caplog.at_level(logging.WARNING):
        made._subscribed(None, None, 7, [Reason(1), Reason(0x87, "Not authorized")], None)
    assert made.subscribed
    assert made.refused_filters == ["b/+"]
    assert "refuses the subscription to b/+ (Not authorized)" in caplog.text
    made._subscribing[8] = ["b/+"]
    made._subscribed(None, None, 8, [Reason(1)], None)
    assert made.refused_filters == []


def test_a_handler_that_fails_does_not_end_the_connection(caplog: pytest.LogCaptureFixture):
    def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    made = link(on_message=fails, on_connected=fails)
    with caplog.at_level(logging.ERROR):
        made._begin()
        made._message(None, None, object())
    assert made.connected
    assert len(caplog.records) == 2


def test_publishing_without_a_connection():
    made = link()
    with pytest.raises(BrokerError, match="not sent"):
        made.publish("a", "b")
    assert made.publish("a", "b", qos=1) > 0  # kept for the next connection


def test_the_queue_of_publishes_has_a_cap(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edge.mqtt_setup.MAX_QUEUED", 3)
    made = link()
    for _ in range(3):
        made.publish("a", "b", qos=1)
    with pytest.raises(BrokerError, match="not sent"):
        made.publish("a", "b", qos=1)


def test_what_the_last_connection_left_goes_before_what_is_new():
    """Else a retained message would end as it was before the connection broke."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)
    settings = MqttSettings(
        host="127.0.0.1", port=server.getsockname()[1], version="3.1.1", reconnect_min_s=0.05, reconnect_max_s=0.1
    )
    made = MqttLink(settings, "me", quiet=True, on_connected=lambda: made.publish("state", next(states), qos=1))
    states, stop = iter(["old", "new", "newer"]), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        came = [published(server, 1), published(server, 2)]
    finally:
        stop.set()
        thread.join(5)
        server.close()
    assert came == [[b"old"], [b"old", b"new"]]


def published(server: socket.socket, count: int) -> list[bytes]:
    """What the next client publishes, and gets no PUBACK for."""
    place, _ = server.accept()
    with place:
        place.settimeout(10)
        data = place.recv(1000)
        assert data[0] == 0x10  # CONNECT
        place.sendall(b"\x20\x02\0\0")
        got: list[bytes] = []
        data = b""
        while len(got) < count:
            data += place.recv(1000)
            while len(data) > 1 and len(data) >= 2 + data[1]:
                assert data[0] & 0xF0 == 0x30  # PUBLISH, of less than 128 bytes
                got.append(data[4 + len("state") + 2 : 2 + data[1]])
                data = data[2 + data[1] :]
        return got


@pytest.mark.integration
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_more_messages_come_than_the_broker_leaves_unacknowledged(mosquitto: int, lasting: bool, version: str):
    """It sends no more than twenty; a lasting link acknowledges itself, paho for the other."""
    got: list[bytes] = []

    def take(message) -> None:
        got.append(message.payload)
        if lasting:
            made.ack(message)

    settings = MqttSettings(host="127.0.0.1", port=mosquitto, version=version)
    made = MqttLink(
        settings, "me", lasting=lasting, on_message=take, on_connected=lambda: made.subscribe(["samples"])
    )
    stop, sent = threading.Event(), [b"%d" % number for number in range(60)]
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        wait_for(lambda: made.subscribed, "the subscription")
        sender = paho.Client(paho.CallbackAPIVersion.VERSION2, "sender")
        sender.connect("127.0.0.1", mosquitto)
        sender.loop_start()
        for payload in sent:
            sender.publish("samples", payload, qos=1)
        wait_for(lambda: len(got) == len(sent), "all messages")
        sender.disconnect()
        sender.loop_stop()
    finally:
        stop.set()
        thread.join(5)
    assert got == sent
