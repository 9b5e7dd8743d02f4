"""docs/asyncapi.yaml is whole, names the agent's topics, and a running agent publishes what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import paho.mqtt.client as mqtt
import pytest

from docs.generate_asyncapi import SPEC, load, page
from edge.topics import Topics
from tests.edge.tiny import RATE_HZ, tiny_bundle
from tests.pages.blocks import ROOT


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(reference: str, document: dict[str, Any]) -> Any:
    file, _, pointer = reference.partition("#")
    found: Any = document if not file else json.loads((SPEC.parent / file).read_text(encoding="utf-8"))
    for part in pointer.strip("/").split("/") if pointer.strip("/") else []:
        found = found[part]
    return found


def payload_schema(message: dict[str, Any], document: dict[str, Any]) -> Any:
    schema = message["payload"]
    return resolve(schema["$ref"], document) if "$ref" in schema else schema


def test_the_document_is_whole() -> None:
    document = load()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for reference in references(document):
        assert resolve(reference, document) is not None, reference
    for name, channel in document["channels"].items():
        named = set(re.findall(r"\{(\w+)\}", channel["address"]))
        assert named == set(channel["parameters"]), name
        assert channel["messages"], name
    used = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    replies = {o["reply"]["channel"]["$ref"] for o in document["operations"].values() if "reply" in o}
    assert used | replies == {f"#/channels/{name}" for name in document["channels"]}
    for message in document["components"]["messages"].values():
        schema = payload_schema(message, document)
        jsonschema.Draft202012Validator.check_schema(schema)
        for example in message.get("examples", []):
            jsonschema.validate(example["payload"], schema)


def test_the_topics_are_the_agents() -> None:
    topics = Topics("{base}", "{node}")
    ours = {topics.state, topics.info, topics.health, topics.event, topics.request("{verb}"), topics.response("{verb}")}
    leaves = ("samples", "availability", "result", "last", "event", "attack_rate")
    ours |= {topics.stream("{stream}", leaf) for leaf in leaves}
    assert ours == {channel["address"] for channel in load()["channels"].values()}
    text = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
    for address in ours:
        short = address.removeprefix("{base}/{node}/").replace("{stream}", "<id>").replace("{verb}", "<verb>")
        assert f"`{short}`" in text, f"docs/mqtt.md does not name {short}"


def test_the_page_lists_every_channel() -> None:
    text = page()
    for channel in load()["channels"].values():
        assert f"`{channel['address']}`" in text


@pytest.mark.slow
@pytest.mark.integration
def test_a_running_agent_publishes_what_the_document_says(mosquitto: int, tmp_path: Path) -> None:
    document = load()
    seen: dict[str, list[bytes]] = {}
    enough = threading.Event()

    def on_message(client: Any, data: Any, message: mqtt.MQTTMessage) -> None:
        seen.setdefault(message.topic, []).append(message.payload)
        if {"wavewall/g/stream/s/last", "wavewall/g/health"} <= set(seen):
            enough.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = on_message
    client.connect("127.0.0.1", mosquitto)
    client.subscribe("wavewall/#", qos=1)
    client.loop_start()
    agent = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "run", "--bundle-path", str(tiny_bundle(tmp_path / "t.bundle")),
         "--source", "mqtt", "--sink", "mqtt", "--node", "g", "--mqtt-port", str(mosquitto),
         "--node-state-dir", str(tmp_path / "state")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while b"online" not in seen.get("wavewall/g/state", []) and time.monotonic() < deadline:
            time.sleep(0.05)
        samples = np.random.default_rng(0).normal(0, 80, 200).round(1).tolist()
        message = {"t0": 1767225600.0, "rate_hz": RATE_HZ, "ch": {"ecg_uv": samples}, "end": True}
        jsonschema.validate(message, payload_schema(document["components"]["messages"]["samplesJson"], document))
        client.publish("wavewall/g/stream/s/samples", json.dumps(message), qos=1)
        assert enough.wait(30), seen
    finally:
        agent.terminate()
        _, said = agent.communicate(timeout=20)
        client.loop_stop()
    assert agent.returncode == 0, said
    patterns = {
        name: (re.compile(re.sub(r"\{\w+\}", "[A-Za-z0-9_-]+", channel["address"])), channel)
        for name, channel in document["channels"].items()
    }
    checked = set()
    for topic, payloads in seen.items():
        name, channel = next((n, c) for n, (pattern, c) in patterns.items() if pattern.fullmatch(topic))
        message = resolve(next(iter(channel["messages"].values()))["$ref"], document)
        schema, text = payload_schema(message, document), message.get("contentType") == "text/plain"
        for payload in payloads:
            jsonschema.validate(payload.decode() if text else json.loads(payload), schema)
            checked.add(name)
    assert {"state", "info", "health", "availability", "result", "last", "samples"} <= checked
