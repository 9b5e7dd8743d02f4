"""Samples: frames of the wire, and messages on MQTT in each format."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np

from edge.config import MqttSettings, MqttSource
from edge.metrics import Metrics
from edge.sources import json_payload, senml
from edge.sources.base import PayloadError
from edge.sources.mqtt import MqttSamples
from edge.topics import Topics
from firmware_bridge import codec
from firmware_bridge.messages import Channel, Hello, Samples
from tests.firmware_bridge.fuzz import target as wire
from tests.fuzz.targets.base import SPEC, Target, through_windows

TOPIC = "wavewall/gw1/stream/s1/samples"


@lru_cache(maxsize=1)
def _source() -> MqttSamples:
    return MqttSamples(
        MqttSource(quota_speed=0),
        MqttSettings(),
        Topics("wavewall", "gw1"),
        Metrics(),
        spec=SPEC,
        max_streams=4,
        idle_s=60.0,
    )


def payload(data: bytes) -> None:
    """A sample message in any format, told apart as in the agent: the last byte of the corpus decides nothing."""
    source = _source()
    source._reader.streams.drop("s1")
    for _ in range(2):  # the second one meets the state that the first one left
        try:
            through_windows(source.parse(TOPIC, data))
        except PayloadError as error:
            assert error.reason
            assert str(error)


def topic(data: bytes) -> None:
    try:
        _source().parse(data.decode("utf-8", "replace"), b"{}")
    except PayloadError as error:
        assert error.reason


def compact_json(data: bytes) -> None:
    try:
        value = json_payload.decode(data)
        assert repr(value) == repr(json.loads(data))
        parsed = json_payload.parse(value, ("ecg",))
    except PayloadError as error:
        assert error.reason
        return
    assert parsed.values.dtype == np.float32
    assert parsed.rate_hz > 0


def senml_json(data: bytes) -> None:
    try:
        parsed = senml.parse(json_payload.decode(data), 300.0)
    except PayloadError as error:
        assert error.reason
        return
    assert parsed.values.dtype == np.float32
    assert 0 < parsed.rate_hz < 2e6
    assert len(parsed.values) <= senml.MAX_SPREAD * len(data)


def _json_corpus() -> list[bytes]:
    return [
        b'{"t0":1767225600.0,"rate_hz":100,"ch":{"ecg_uv":[12,15.5,null,-4]},"end":true}',
        b'{"t0":"2026-01-31T08:00:00Z","rate_hz":1e2,"ch":{"ecg":[1,2],"x_mv":[3,4]},"epoch":"b7"}',
        b'{"rate_hz":100,"ch":{"ecg_uv":[1e400,NaN,Infinity,-0.0,1e-400]},"note":{"a":[{}]}}',
        json.dumps({"rate_hz": 100, "ch": {"ecg_uv": list(range(80))}}).encode(),
        b'{"rate_hz":18446744073709551616,"ch":{"\\ud800":["1",true,[]]}}',
    ]


def _senml_corpus() -> list[bytes]:
    return [
        b'[{"bn":"urn:dev:mac:0024befffe804ff1:","bt":1769846400,"bu":"mV","n":"ecg","v":0.51},'
        b'{"n":"ecg","t":0.01,"v":0.52},{"n":"ecg","t":0.02,"v":0.5},{"n":"end","vb":true}]',
        b'[{"n":"a/ecg","u":"V","v":1,"bver":10},{"n":"a/ecg","t":-0.5,"v":2,"bv":1e300}]',
        b'[{"n":"x.ecg","bt":1e308,"t":1e308,"v":1},{"n":"x.ecg","x_":1,"vs":"text"}]',
    ]


def _payload_corpus() -> list[bytes]:
    hello = Hello("ecg-1", "fuzz", 100.0, (Channel("ecg", "uV"),), 7, True, 960)
    values = np.arange(80, dtype=np.int16).reshape(-1, 1)
    frames = (
        codec.encode(hello)
        + codec.encode(Samples(0, 0, values[:40]))
        + codec.encode(Samples(40, 0, values[40:]))
    )
    return [*_json_corpus(), *_senml_corpus(), frames, frames[:-1], b"\0" + frames, *wire.corpus()[:4]]


TARGETS: dict[str, Target] = {
    "wire": Target(wire.one_input, wire.corpus, ("firmware_bridge",)),
    "payload": Target(payload, _payload_corpus, ("edge.sources", "edge.pipeline.windows", "firmware_bridge")),
    "topic": Target(topic, lambda: [TOPIC.encode(), b"wavewall/gw1/stream/a/b/samples", b"\xff/#"], ("edge",), 256),
    "json": Target(compact_json, _json_corpus, ("edge.sources",)),
    "senml": Target(senml_json, _senml_corpus, ("edge.sources",)),
}  # fmt: skip
