"""Serial to MQTT: what is put in a message, and a real broker."""

from __future__ import annotations

import json
import queue
import time

import numpy as np
import pytest

from firmware_bridge import messages as m
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.errors import BrokerError
from firmware_bridge.forwarder import BATCH_S, Batcher, MqttPublisher, samples_topic

HELLO = m.Hello("d", "f", 300.0, (m.Channel("ecg", "uV"),), 7)


def block(number: int, *, end: bool = False) -> m.Samples:
    return m.Samples(32 * number, 0, np.full((32, 1), number, np.int16), end)


def test_every_payload_can_be_understood_alone():
    batcher, payloads = Batcher(), []
    for number in range(10):
        if number == 1:
            payloads += batcher.push(HELLO, 0.1, 0.0)
        payloads += batcher.push(block(number), 0.1 * number, 0.0)
    payloads += batcher.flush()
    assert batcher.without_hello == 1
    got = []
    for payload in payloads:
        items = FrameDecoder("binary").feed(payload)
        assert items[0] == HELLO
        got += items[1:]
    assert got == [block(number) for number in range(1, 10)]
    assert 2 < len(payloads) < 9


def test_end_and_new_hello_are_not_kept_waiting():
    batcher = Batcher()
    batcher.push(HELLO, 0.0, 0.0)
    assert len(batcher.push(block(0, end=True), 0.0, 0.0)) == 1
    batcher.push(block(1), 0.0, 0.0)
    other = m.Hello("d", "f", 300.0, HELLO.channels, 8)
    (payload,) = batcher.push(other, 0.0, 0.0)
    assert FrameDecoder("binary").feed(payload) == [HELLO, block(1)]
    assert batcher.poll(0.0) == batcher.flush() == []


def test_lines_of_numbers_go_as_json():
    batcher = Batcher(rate_hz=100.0)
    assert batcher.push(m.CsvSamples(np.array([[1.0], [2.0]]), ("ecg",)), 0.0, 50.0) == []
    batcher.push(m.CsvSamples(np.array([[np.nan]]), ("ecg",)), 0.1, 50.02)
    assert batcher.poll(BATCH_S / 2) == []
    (payload,) = batcher.poll(BATCH_S)
    assert json.loads(payload) == {"t0": 49.99, "rate_hz": 100.0, "ch": {"ecg": [1.0, 2.0, None]}}
    batcher.push(m.CsvSamples(np.zeros((1, 1)), ("ecg",)), 1.0, 51.0)
    (first,) = batcher.push(m.CsvSamples(np.zeros((1, 2)), ("a", "b")), 1.0, 51.0)
    assert list(json.loads(first)["ch"]) == ["ecg"]
    with pytest.raises(BrokerError, match="--rate"):
        Batcher().push(m.CsvSamples(np.zeros((1, 1)), ("a",)), 0.0, 0.0)


def test_topic():
    assert samples_topic("wavewall", "pi", "ecg-1") == "wavewall/pi/stream/ecg-1/samples"
    for names in (("wavewall", "pi", "a/b"), ("wavewall", "#", "x"), ("w+", "pi", "x"), ("w", "pi", "")):
        with pytest.raises(BrokerError, match="cannot be part of a topic"):
            samples_topic(*names)


@pytest.mark.integration
def test_a_real_broker(mosquitto: int):
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    got: queue.Queue[bytes] = queue.Queue()
    ready: queue.Queue[int] = queue.Queue()
    reader = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    reader.on_message = lambda client, userdata, message: got.put(message.payload)
    reader.on_subscribe = lambda client, userdata, mid, reasons, properties: ready.put(1)
    reader.on_connect = lambda client, *_: client.subscribe("wavewall/pi/stream/+/samples", 1)
    reader.connect("127.0.0.1", mosquitto)
    reader.loop_start()
    ready.get(timeout=10)
    publisher = MqttPublisher("127.0.0.1", mosquitto)
    payloads = [bytes([n]) * 10 for n in range(50)]
    for payload in payloads:
        publisher.publish("wavewall/pi/stream/d/samples", payload)
    assert [got.get(timeout=10) for _ in payloads] == payloads
    publisher.close()
    assert (publisher.published, publisher.dropped, publisher.refused) == (50, 0, 0)
    reader.disconnect()
    reader.loop_stop()


def test_a_broker_that_is_away_fills_a_bounded_queue():
    publisher = MqttPublisher("127.0.0.1", 1)  # nobody listens there
    for _ in range(1100):
        publisher.publish("wavewall/pi/stream/d/samples", b"x")
    assert publisher.dropped >= 90
    assert "127.0.0.1:1" in publisher.problem
    began = time.monotonic()
    publisher.close()
    assert time.monotonic() - began < 5
