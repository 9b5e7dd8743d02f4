"""Requests through a real broker: off by default, listed verbs only, answers where they belong."""

from __future__ import annotations

import json
import queue
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.cli import main
from tests.integration.rig import Broker, agent, listener


class Asker:
    """A client with a response topic of its own."""

    def __init__(self, port: int) -> None:
        self._answers: queue.Queue[Any] = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = lambda client, data, message: self._answers.put(message)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([("answers/me", 1), ("wavewall/gw1/response/+", 1)])
        self._client.loop_start()

    def send(
        self, verb: str, arguments: Any = None, *, to: str | None = "answers/me", tag: bytes = b""
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        if to is not None:
            properties.ResponseTopic = to
        if tag:
            properties.CorrelationData = tag
        payload = "" if arguments is None else json.dumps(arguments)
        self._client.publish(f"wavewall/gw1/request/{verb}", payload, 1, properties=properties)

    def answer(self, timeout_s: float = 10.0) -> tuple[str, dict[str, Any], bytes]:
        message = self._answers.get(timeout=timeout_s)
        tag = getattr(message.properties, "CorrelationData", b"")
        return message.topic, json.loads(message.payload), tag

    def silent(self, for_s: float) -> bool:
        time.sleep(for_s)
        return self._answers.empty()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def words(broker: Broker, bundle: Path, *more: str) -> list[object]:
    return ["--bundle-path", bundle, "--mqtt-port", broker.port, "--node", "gw1", *more]


def test_a_request_is_answered_on_its_own_topic(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    on = ("--requests-enabled", "true", "--requests-verbs", "ping+health+log-level")
    with agent(tmp_path, *words(broker, bundle, *on)) as running:
        asker = Asker(broker.port)
        try:
            asker.send("health", {"id": 7}, tag=b"\x01\x02")
            topic, answer, tag = asker.answer()
            assert (topic, tag, answer["id"]) == ("answers/me", b"\x01\x02", 7)
            assert answer["result"]["schema"] == "wavewall.health/1"
            asker.send("ping", to=None)
            topic, answer, _ = asker.answer()
            assert (topic, answer["ok"]) == ("wavewall/gw1/response/ping", True)
            asker.send("info")  # there is such a verb, but it is not listed
            assert asker.answer()[1]["error"]["code"] == "not_allowed"
            asker.send("log-level", {"level": "loud"})
            assert asker.answer()[1]["error"]["field"] == "level"
            # The agent must not be made to write its own last word for somebody else.
            asker.send("ping", to="wavewall/gw1/state")
            assert asker.answer()[0] == "wavewall/gw1/response/ping"
            with listener(broker.port, "wavewall/gw1/state") as client:
                assert client.of("state") in ([], [b"online"])
        finally:
            asker.close()
        assert "ready in" in running.said()


def test_requests_are_off_unless_enabled(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    with agent(tmp_path, *words(broker, bundle)):
        asker = Asker(broker.port)
        try:
            asker.send("ping")
            assert asker.silent(1.5)
        finally:
            asker.close()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--requests-verbs", "pong"], "did you mean 'ping'?"),
        (["--sink", "stdout"], "requests come over a sink of kind mqtt"),
    ],
)
def test_a_configuration_that_cannot_answer_is_refused(
    flags: list[str],
    says: str,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(
        "sys.argv", ["edge-agent", "run", "--bundle-path", str(bundle), "--requests-enabled", "true", *flags]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert says in capsys.readouterr().err
