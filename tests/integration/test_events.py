"""Events from samples by a real broker, the agent a real process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from edge.bundle import Decision
from edge.events import Event
from edge.schemas import read_schema
from tests.edge.agent.helpers import signal as ecg
from tests.edge.tiny import RATE_HZ, WINDOW, tiny_bundle
from tests.integration.rig import Broker, Listener, agent, listener, samples_json, wait_for

RECORD = ecg(400)
TREE = "wavewall/gw1"


def words(broker: Broker, bundle: Path, *more: object) -> list[object]:
    base = ["--mqtt-host", "127.0.0.1", "--mqtt-port", broker.port, "--bundle", bundle, "--node", "gw1"]
    return [*base, "--sink", "mqtt", "--events-update-s", "0", *more]


def shape(event: Event) -> tuple[str, str, str | None, int, str]:
    return event.type, event.kind, event.label, event.windows, event.reason


def tampering(client: Listener) -> list[Event]:
    return [event for event in client.events() if event.kind == "tamper"]


@pytest.mark.slow
def test_events_reach_subscribers_and_a_file(broker: Broker, tmp_path: Path):
    bundle = tiny_bundle(tmp_path / "tiny.bundle", decision=Decision(suspect_residual=1e-6))
    path = tmp_path / "events.jsonl"
    sinks = ["--sink", f"file:{path},holds=events", "--sink", f"file:{tmp_path / 'results.jsonl'}"]
    broker.start()
    with listener(broker.port) as client, agent(tmp_path, *words(broker, bundle, *sinks)):
        command = [sys.executable, "-m", "edge.cli", "subscribe", "--events", "--count", "2"]
        watcher = subprocess.Popen(
            [*command, "--mqtt-port", str(broker.port), "--timeout-s", "20"],
            stdout=subprocess.PIPE,
            text=True,
        )
        rounds = 0

        def play() -> None:
            nonlocal rounds
            for message in samples_json(RECORD, RATE_HZ, 40, 1.8e9 + 1000 * rounds):
                client.publish(f"{TREE}/stream/bed-1/samples", message)
            rounds += 1
            wait_for(lambda: [e.type for e in tampering(client)].count("end") == rounds, "the event's end")

        play()
        play()
        while watcher.poll() is None:  # until the watcher's subscription stands
            play()
        said, _ = watcher.communicate()
    events = client.events()
    schema = read_schema("event")
    for payload in client.of("event"):
        jsonschema.validate(json.loads(payload), schema)
    ids = list(dict.fromkeys(e.id for e in tampering(client)))
    first, second = ([e for e in events if e.id == id] for id in ids[:2])
    results = client.results()
    for told, start in ((first, 1.8e9), (second, 1.8e9 + 1000)):
        assert [e.seq for e in told] == list(range(len(told)))
        assert shape(told[0]) == ("new", "tamper", None, 2, "")
        assert shape(told[-1]) == ("end", "tamper", None, 22, "stream_end")
        assert abs(told[0].start - start) < 0.01
        assert abs(told[-1].end - start - (WINDOW + 21 * 16) / RATE_HZ) < 0.01
        assert set(told[-1].evidence) <= {r.id for r in results}
        assert told[-1].measures["residual"] > 1
    retained = [topic for topic, _, _ in client.messages if topic.endswith("/event")]
    assert len(retained) == len(events)
    with listener(broker.port, f"{TREE}/stream/+/event") as late:
        assert late.of("event") == [], "events are told once, not retained"
    lines = [Event.from_json(line) for line in path.read_text().splitlines()]
    assert [e.key for e in lines] == [e.key for e in events]
    assert all(
        '"wavewall.result/1"' in line for line in (tmp_path / "results.jsonl").read_text().splitlines()
    )
    assert watcher.returncode == 0
    assert "tamper" in said
    assert said.count("\n") == 2


def test_a_stop_ends_what_is_open_and_a_restart_begins_anew(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    rules = ["--events-labels", "normal+other+noise", "--events-threshold", "0", "--events-tamper", "false"]
    with listener(broker.port) as client:
        for start in (1.8e9, 1.8e9 + 100):
            with agent(tmp_path, *words(broker, bundle, *rules)):
                for message in samples_json(RECORD, RATE_HZ, 40, start, end=False):
                    client.publish(f"{TREE}/stream/bed-1/samples", message)
                wait_for(lambda: len({e.label for e in client.events()}) == 3, "an event of each label")
        wait_for(lambda: len([e for e in client.events() if e.type == "end"]) == 6, "ends")
    ends = [e for e in client.events() if e.type == "end"]
    assert {e.reason for e in ends} == {"stopped"}
    assert len({e.id for e in ends}) == 6
    assert len({e.boot_id for e in ends}) == 2


def test_a_label_that_the_bundle_lacks_is_refused(bundle: Path, tmp_path: Path):
    command = [sys.executable, "-m", "edge.cli", "run", "--bundle", str(bundle), "--events-labels", "othr"]
    done = subprocess.run([*command, "--sink", "stdout"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "no label 'othr'; did you mean 'other'?" in done.stderr
    wrong = ["--events-k", "4", "--events-n", "3"]
    done = subprocess.run([*command[:4], *wrong], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "k = 4 is above n = 3" in done.stderr
    assert "Traceback" not in done.stderr
