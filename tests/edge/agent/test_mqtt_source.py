"""Sample messages from the broker: parsed, counted, acknowledged. No broker here."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import InputSpec
from edge.config import MqttSettings, MqttSource
from edge.metrics import Metrics
from edge.sources.base import PayloadError
from edge.sources.mqtt import MqttSamples
from edge.topics import Topics
from firmware_bridge import codec
from firmware_bridge.messages import Channel, Hello, Samples
from tests.edge.agent.helpers import Collector, FakeTime, Message

SPEC = InputSpec(("ecg",), "uV", 300.0, 9000, 3000)
ROOT = "wavewall/gw1/stream"


class Acks(list[int]):
    connections = 1

    def ack(self, message: Message) -> None:
        self.append(message.mid)


def make(metrics: Metrics | None = None, max_streams: int = 8, **options: Any) -> MqttSamples:
    return MqttSamples(
        MqttSource(**options),
        MqttSettings(),
        Topics("wavewall", "gw1"),
        metrics or Metrics(),
        spec=SPEC,
        max_streams=max_streams,
        idle_s=60.0,
        clock=FakeTime().clock,
    )


def wired(source: MqttSamples) -> tuple[Collector, Acks]:
    collector, acks = Collector(), Acks()
    source._emit = collector
    source._link = acks  # type: ignore[assignment]
    return collector, acks


def message(stream: str = "s1", mid: int = 1, **body: Any) -> Message:
    body = {"t0": 1.8e9, "rate_hz": 300, "ch": {"ecg_uv": [1, 2, 3]}, **body}
    return Message(f"{ROOT}/{stream}/samples", json.dumps(body).encode(), mid=mid)


def test_a_message_becomes_a_block_and_is_acknowledged_when_accepted():
    source = make()
    collector, acks = wired(source)
    collector.accept = False
    source.on_message(message(mid=5))
    (block,) = collector.blocks
    assert (block.stream, block.epoch, block.first_index) == ("s1", "unix@300", round(1.8e9 * 300))
    assert acks == []
    collector.waiting[0]()
    assert acks == [5]


def test_a_stopping_agent_leaves_the_message_with_the_broker():
    source = make()
    collector, acks = wired(source)
    collector.closed = True
    source.on_message(message())
    assert acks == []


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "says"),
    [
        (f"{ROOT}/s1/samples", b"{nope", "not_json", "not JSON"),
        (f"{ROOT}/s1/samples", b"", "not_json", "not JSON"),
        (f"{ROOT}/s1/samples", b'{"rate_hz":300}', "missing_field", "ch"),
        (f"{ROOT}/s1/samples", b'{"rate_hz":300,"ch":{"ecg_uv":["1"]}}', "wrong_type", "ch.ecg_uv[0]"),
        (f"{ROOT}/s1/samples", b'{"rate_hz":300,"ch":{"resp_uv":[1]}}', "wrong_channel", "'resp'"),
        (f"{ROOT}/s1/samples", b'{"rate_hz":300,"ch":{"ecg_a":[1]}}', "wrong_channel", "'A'"),
        (f"{ROOT}/s1/samples", b"[" + b"1," * 10_000_000 + b"1]", "too_large", "20000003 bytes"),
        (f"{ROOT}/a/b/samples", b"{}", "bad_topic", "A-Z"),
        (f"{ROOT}/#/samples", b"{}", "bad_topic", "A-Z"),
        (f"{ROOT}/é/samples", b"{}", "bad_topic", "A-Z"),
        (f"{ROOT}//samples", b"{}", "bad_topic", "A-Z"),
    ],
)
def test_what_cannot_be_used_is_counted_named_and_acknowledged(
    topic: str, payload: bytes, reason: str, says: str, caplog: pytest.LogCaptureFixture
):
    metrics = Metrics()
    source = make(metrics)
    collector, acks = wired(source)
    with caplog.at_level(logging.WARNING):
        for mid in (1, 2, 3):
            source.on_message(Message(topic, payload, mid=mid))
    assert metrics.by("dropped") == {reason: 3}
    assert acks == [1, 2, 3]
    assert collector.blocks == []
    (record,) = caplog.records
    assert says in record.message
    assert topic.encode("ascii", "backslashreplace").decode() in record.message


def test_a_bad_message_does_not_disturb_the_stream_or_take_a_place():
    source = make(max_streams=1)
    collector, _ = wired(source)
    source.on_message(Message(f"{ROOT}/other/samples", b"{nope"))
    source.on_message(Message(f"{ROOT}/other/samples", b"\x07garbage\x00"))
    source.on_message(message(t0=1.8e9))
    source.on_message(Message(f"{ROOT}/s1/samples", b"\xff\xfe{"))
    source.on_message(message(t0=1.8e9 + 0.01))
    assert [b.first_index - collector.blocks[0].first_index for b in collector.blocks] == [0, 3]


def test_no_control_characters_of_others_reach_the_log(caplog: pytest.LogCaptureFixture):
    source = make()
    wired(source)
    with caplog.at_level(logging.WARNING):
        source.on_message(Message(f"{ROOT}/a\x1b[2J\n/samples", b"{}"))
        source.on_message(message(ch={"\x1b[31m": [1]}))
    text = "".join(record.message for record in caplog.records)
    assert text.isprintable()


def test_streams_beyond_the_cap_are_refused_and_the_others_go_on():
    metrics = Metrics()
    source = make(metrics, max_streams=2)
    collector, _ = wired(source)
    for stream in ("a", "b", "c", "a"):
        source.on_message(message(stream))
    assert [b.stream for b in collector.blocks] == ["a", "b", "a"]
    assert metrics.by("dropped") == {"too_many_streams": 1}


def test_a_stream_that_has_ended_gives_its_place():
    source = make(max_streams=1)
    collector, _ = wired(source)
    for stream in ("a", "b", "c"):
        source.on_message(message(stream, end=True))
    assert [b.stream for b in collector.blocks] == ["a", "b", "c"]


def test_repeats_of_a_finished_record_are_counted():
    metrics = Metrics()
    source = make(metrics)
    collector, _ = wired(source)
    for t0, end in ((0.0, False), (0.01, False), (0.02, True), (0.01, False), (0.02, True)):
        source.on_message(message(t0=1.8e9 + t0, end=end))
    assert len(collector.blocks) == 3
    assert metrics.by("dropped") == {"repeated": 2}


def test_a_rate_that_changes_is_told_and_counted_from_anew(caplog: pytest.LogCaptureFixture):
    metrics = Metrics()
    source = make(metrics)
    collector, _ = wired(source)
    with caplog.at_level(logging.WARNING):
        source.on_message(message())
        source.on_message(message(t0=1.8e9 + 0.01, rate_hz=250))
    one, two = collector.blocks
    assert one.epoch != two.epoch
    assert metrics.count("rate_changes") == 1
    assert "rate changed from 300 to 250 Hz" in caplog.text


def test_retained_samples_are_not_taken():
    metrics = Metrics()
    source = make(metrics)
    collector, acks = wired(source)
    old = message()
    old.retain = True
    source.on_message(old)
    assert collector.blocks == []
    assert (acks, metrics.by("dropped")) == ([1], {"retained": 1})


def test_what_is_delivered_again_after_a_broken_connection_is_taken_once():
    """Without a t0 nothing in the samples themselves would show it."""
    metrics = Metrics()
    source = make(metrics)
    collector, acks = wired(source)
    sent = [message(mid=mid, t0=None, ch={"ecg_uv": [mid]}) for mid in (1, 2, 3)]
    for each in sent[:2]:
        source.on_message(each)
    for each in sent:
        each.dup = True  # the broker cannot know what reached us
        source.on_message(each)
    assert [block.values[0, 0] for block in collector.blocks] == [1, 2, 3]
    assert acks == [1, 2, 1, 2, 3]
    assert metrics.by("dropped") == {"redelivered": 2}


def test_an_acknowledgement_that_comes_after_the_connection_broke_waits_for_the_message_to_come_again():
    source = make()
    collector, acks = wired(source)
    collector.accept = False  # the recorder has not written it yet
    sent = [message(mid=k, t0=1.8e9 + k, ch={"ecg_uv": [k]}) for k in (1, 2)]
    for each in sent:
        source.on_message(each)
    acks.connections = 2
    collector.waiting[0]()
    assert acks == []  # on this connection, 1 may be another message's id
    for each in sent:
        each.dup = True
        source.on_message(each)
    assert acks == [1]  # the other is not on the disk yet
    collector.waiting[1]()
    assert acks == [1, 2]
    assert len(collector.blocks) == 2


@pytest.mark.parametrize(("stream", "value"), [("a", 2), ("b", 1)])
def test_a_message_id_that_is_used_again_is_another_message(stream: str, value: int):
    source = make()
    collector, _ = wired(source)
    source.on_message(message("a", mid=1, t0=None, ch={"ecg_uv": [1]}))
    again = message(stream, mid=1, t0=None, ch={"ecg_uv": [value]})
    again.dup = True
    source.on_message(again)
    assert len(collector.blocks) == 2


def test_streams_that_are_not_wanted():
    metrics = Metrics()
    source = make(metrics, streams=("a",))
    collector, _ = wired(source)
    source.on_message(message("a"))
    source.on_message(message("b"))
    assert [block.stream for block in collector.blocks] == ["a"]
    assert metrics.by("dropped") == {"not_wanted": 1}


def test_units_that_are_not_given_are_the_bundles():
    source = make()
    collector, _ = wired(source)
    source.on_message(message(ch={"ecg": [1]}))
    source.on_message(message("s2", ch={"ecg_mv": [1]}))
    assert [b.units for b in collector.blocks] == [("uV",), ("mV",)]


def test_senml_is_told_by_its_brackets():
    source = make()
    collector, _ = wired(source)
    pack = [{"n": "ecg", "u": "mV", "t": 1.8e9 + i / 300, "v": i} for i in range(300)]
    source.on_message(Message(f"{ROOT}/s1/samples", json.dumps(pack).encode()))
    (block,) = collector.blocks
    assert (block.rate_hz, block.units, block.values.shape) == (300.0, ("mV",), (300, 1))


HELLO = Hello("dev", "fw", 300.0, (Channel("ecg", "uV", 2.0),), boot=1)


def frame(seq: int, n: int = 30, **more: Any) -> bytes:
    return codec.encode(Samples(seq, seq * 3333, np.arange(n, dtype=np.int16).reshape(-1, 1), **more))


def test_binary_frames():
    source = make()
    collector, acks = wired(source)
    topic = f"{ROOT}/s1/samples"
    source.on_message(Message(topic, codec.encode(HELLO) + frame(0), mid=1))
    source.on_message(Message(topic, frame(30).rstrip(b"\x00"), mid=2))
    source.on_message(Message(topic, frame(60, end=True), mid=3))
    assert [b.first_index for b in collector.blocks] == [0, 30, 60]
    assert [b.end for b in collector.blocks] == [False, False, True]
    assert collector.blocks[0].stream == "s1"  # the topic's, not the device's
    assert acks == [1, 2, 3]


def test_binary_without_hello_and_broken():
    metrics = Metrics()
    source = make(metrics, format="binary")
    collector, acks = wired(source)
    topic = f"{ROOT}/s1/samples"
    source.on_message(Message(topic, frame(0), mid=1))
    broken = bytearray(frame(0))
    broken[9] ^= 0x41
    source.on_message(Message(topic, bytes(broken), mid=2))
    assert collector.blocks == []
    assert acks == [1, 2]
    assert metrics.by("dropped") == {"no_hello": 30, "frame_crc": 1}


@given(st.binary(max_size=300), st.sampled_from(["auto", "json", "senml", "binary"]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_payload_gives_blocks_or_our_error(payload: bytes, kind: str):
    source = make(format=kind)
    try:
        blocks = source.parse(f"{ROOT}/s1/samples", payload)
    except PayloadError as error:
        says = str(error)
    else:
        says = "blocks"
        assert all(block.stream == "s1" for block in blocks)
    assert says


@given(st.text(max_size=100))
def test_any_topic_gives_a_stream_or_our_error(topic: str):
    with pytest.raises(PayloadError) as caught:
        make().parse(topic, b"{}")
    assert caught.value.reason in ("bad_topic", "missing_field")


def test_values_arrive_as_the_floats_that_were_sent():
    source = make()
    collector, _ = wired(source)
    values = np.random.default_rng(1).normal(0, 500, 300).astype(np.float32)
    source.on_message(message(ch={"ecg_uv": [float(v) for v in values]}))
    assert np.array_equal(collector.blocks[0].values[:, 0], values)
