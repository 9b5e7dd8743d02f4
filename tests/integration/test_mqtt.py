"""Samples in and results out by a real broker, the agent a real process."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edge.build import load_bundle
from edge.config import BundleSettings
from edge.engine import Engine
from edge.metrics import Metrics
from edge.types import Result
from firmware_bridge import codec
from firmware_bridge.messages import Channel, Hello, Samples
from tests.edge.agent.helpers import block
from tests.edge.agent.helpers import signal as ecg
from tests.edge.agent.test_cli import edge_agent
from tests.edge.tiny import HOP, RATE_HZ, WINDOW
from tests.integration.rig import AgentProcess, Broker, agent, listener, samples_json, wait_for

RECORD = ecg(400)
WINDOWS = (len(RECORD) - WINDOW) // HOP + 1
TREE = "wavewall/gw1"


def words(broker: Broker, bundle: Path, *more: object) -> list[object]:
    base = ["--mqtt-host", "127.0.0.1", "--mqtt-port", broker.port, "--bundle", bundle, "--node", "gw1"]
    return [*base, "--mqtt-reconnect-min-s", "0.05", "--mqtt-reconnect-max-s", "0.3", *more]


def expected(bundle: Path, values: np.ndarray = RECORD, **more: Any) -> list[dict[str, float]]:
    """What the pipeline says to the same samples without any transport."""
    engine = Engine(*load_bundle(BundleSettings(path=bundle)), node="x", boot_id="x", metrics=Metrics())
    results = engine.push(block(values, end=True, **more))
    return [Result.from_json(result.to_json()).probabilities for result in results]  # type: ignore[misc]


def binary(values: np.ndarray) -> list[bytes]:
    hello = codec.encode(Hello("dev", "fw", RATE_HZ, (Channel("ecg", "uV"),), boot=7))
    digital = np.rint(values).astype(np.int16).reshape(-1, 1)
    out = []
    for at in range(0, len(digital), 40):
        part = digital[at : at + 40]
        out.append(hello + codec.encode(Samples(at, at * 10_000, part, end=at + 40 >= len(digital))))
    return out


def senml(values: np.ndarray) -> list[str]:
    out = []
    for at in range(0, len(values), 40):
        pack: list[dict[str, Any]] = [
            {"n": "ecg", "t": round(i / RATE_HZ, 6), "v": float(v)}
            for i, v in enumerate(values[at : at + 40], start=at)
        ]
        pack[0] = {"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1.8e9, "bu": "uV", **pack[0]}
        if at + 40 >= len(values):
            pack.append({"n": "end", "vb": True})
        out.append(json.dumps(pack))
    return out


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_records_in_every_format_are_answered_as_by_the_pipeline_alone(
    broker: Broker, bundle: Path, tmp_path: Path, version: str
):
    broker.start()
    payloads = {"json": samples_json(RECORD, RATE_HZ, 33), "senml": senml(RECORD), "binary": binary(RECORD)}
    with listener(broker.port) as client, agent(tmp_path, *words(broker, bundle, "--mqtt-version", version)):
        wait_for(lambda: client.of("state") == [b"online"], "state online")
        for stream, messages in payloads.items():
            for payload in messages:
                client.publish(f"{TREE}/stream/{stream}/samples", payload)
        results = client.wait_results(3 * WINDOWS)
    schema = json.loads(edge_agent("schema", "result").stdout)
    for payload in client.of("result"):
        jsonschema.validate(json.loads(payload), schema)
    for stream in payloads:
        got = [r for r in results if r.stream == stream]
        values = np.rint(RECORD) if stream == "binary" else RECORD
        assert [dict(r.probabilities) for r in got] == expected(bundle, values), stream
        assert [r.seq for r in got] == list(range(WINDOWS))
        assert not any(r.historical or r.window.missing for r in got)
    assert len({r.id for r in results}) == 3 * WINDOWS


def test_retained_topics_tell_a_newcomer_everything(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    with agent(tmp_path, *words(broker, bundle)) as running:
        with listener(broker.port) as client:
            for payload in samples_json(RECORD, RATE_HZ, 100, end=False):
                client.publish(f"{TREE}/stream/s1/samples", payload)
            last = client.wait_results(WINDOWS)[-1]
            wait_for(lambda: len(client.of("last")) >= 1 and client.of("health"), "last and health")
        with listener(broker.port) as late:
            wait_for(lambda: len(late.messages) >= 5, "the retained messages")
            kept = {
                topic.removeprefix(f"{TREE}/"): payload for topic, payload, retain in late.messages if retain
            }
            assert set(kept) == {"state", "info", "health", "stream/s1/availability", "stream/s1/last"}
            assert (kept["state"], kept["stream/s1/availability"]) == (b"online", b"online")
            assert Result.from_json(kept["stream/s1/last"]).id == last.id
            info, health = json.loads(kept["info"]), json.loads(kept["health"])
            assert info["bundle"]["ref"] == "tiny@1.0.0"
            assert info["boot_id"] == health["boot_id"] == last.boot_id
            late.messages.clear()
            assert running.stop()[0] == 0
            wait_for(lambda: b"stopped" in late.of("state"), "state stopped")
            assert late.of("availability") == [b"offline"]
            time.sleep(0.3)
            assert b"offline" not in late.of("state")


def test_an_agent_that_vanishes_is_offline_by_its_last_will(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    with listener(broker.port) as client, agent(tmp_path, *words(broker, bundle)) as running:
        wait_for(lambda: client.of("state") == [b"online"], "state online")
        running.kill()
        wait_for(lambda: client.of("state") == [b"online", b"offline"], "the last will")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_is_clean_and_quick(
    broker: Broker, bundle: Path, tmp_path: Path, number: signal.Signals
):
    broker.start()
    with listener(broker.port) as client, agent(tmp_path, *words(broker, bundle)) as running:
        for at in range(30):
            for payload in samples_json(RECORD, RATE_HZ, 200, end=False):
                client.publish(f"{TREE}/stream/s{at}/samples", payload)
        code, took = running.stop(number)
        assert (code, took < 5.0) == (0, True)
        wait_for(lambda: b"stopped" in client.of("state"), "state stopped")
        assert "Traceback" not in running.said()


def test_a_broker_that_is_absent_at_start_is_said_once_and_waited_for(
    broker: Broker, bundle: Path, tmp_path: Path
):
    with agent(tmp_path, *words(broker, bundle), wait=False) as running:
        wait_for(lambda: running.said().count("nobody listens there") == 2, "the complaints")
        time.sleep(1.0)
        assert running.process.poll() is None
        assert "ready" not in running.said()
        broker.start()
        with listener(broker.port) as client:
            wait_for(lambda: client.of("state") == [b"online"], "state online")
            wait_for(lambda: running.said().count("connected as") == 2, "both connections")
            for payload in samples_json(RECORD, RATE_HZ, 100):
                client.publish(f"{TREE}/stream/s1/samples", payload)
            client.wait_results(WINDOWS)
        assert running.said().count("nobody listens there") == 2  # one line for each connection


def test_a_broker_that_goes_and_comes_back_loses_nothing(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    messages = samples_json(RECORD, RATE_HZ, 20)
    with agent(tmp_path, *words(broker, bundle)) as running:
        got: dict[int, Result] = {}  # by seq: an answer may come twice over a restart
        for at in range(0, len(messages), 5):
            with listener(broker.port) as client:
                back = 2 * (at // 5)
                wait_for(lambda back=back: running.said().count("connected as") >= back, "the connections")  # type: ignore[misc]
                for payload in messages[at : at + 5]:
                    client.publish(f"{TREE}/stream/s1/samples", payload)
                due = max(0, (min((at + 5) * 20, len(RECORD)) - WINDOW) // HOP + 1)
                wait_for(
                    lambda got=got, due=due, client=client: (  # type: ignore[misc]
                        len(got.keys() | {r.seq for r in client.results()}) >= due
                    ),
                    f"{due} windows",
                )
                got |= {r.seq: r for r in client.results()}
            broker.stop()
            broker.start()
    assert [dict(got[seq].probabilities) for seq in sorted(got)] == expected(bundle)
    assert len({r.id for r in got.values()}) == WINDOWS


def test_a_broker_that_hangs_is_left_and_taken_up_again(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    hang = words(broker, bundle, "--mqtt-ack-timeout-s", "0.5", "--mqtt-connect-timeout-s", "0.5")
    messages = samples_json(RECORD, RATE_HZ, 20)
    with listener(broker.port) as client, agent(tmp_path, *hang) as running:
        wait_for(lambda: client.of("state") == [b"online"], "state online")
        for payload in messages[:10]:
            client.publish(f"{TREE}/stream/s1/samples", payload)
        client.wait_results((200 - WINDOW) // HOP + 1)
        client.publish_all(f"{TREE}/stream/s1/samples", messages[10:])
        broker.freeze(1.0)
        results = client.wait_results(WINDOWS)
        assert running.process.poll() is None
    assert len({r.id for r in results}) == WINDOWS
    unique = {r.seq: dict(r.probabilities) for r in results}
    assert [unique[seq] for seq in sorted(unique)] == expected(bundle)


def test_samples_sent_while_the_agent_is_away_are_answered_later(
    broker: Broker, bundle: Path, tmp_path: Path
):
    broker.start()
    messages = samples_json(RECORD, RATE_HZ, 20)
    with listener(broker.port) as client:
        with agent(tmp_path, *words(broker, bundle)):
            wait_for(lambda: client.of("state") == [b"online"], "state online")
        for payload in messages:
            client.publish(f"{TREE}/stream/s1/samples", payload)
        with agent(tmp_path, *words(broker, bundle)):
            results = client.wait_results(WINDOWS)
    assert [dict(r.probabilities) for r in results] == expected(bundle)


def test_results_of_an_outage_come_later_marked_historical(broker: Broker, bundle: Path, tmp_path: Path):
    from firmware_bridge.recordings import Recording, write_recording

    record = Recording("r1", RATE_HZ, (Channel("ecg", "uV"),), analog=RECORD[:, None])
    write_recording(record, tmp_path / "r1.npz")
    play = words(
        broker, bundle, "--source", f"replay:{tmp_path / 'r1.npz'}", "--delivery-historical-after-s", "0.5"
    )
    running = AgentProcess(tmp_path, play)
    wait_for(lambda: "nobody listens there" in running.said(), "the complaint")
    time.sleep(1.5)
    broker.start()
    with listener(broker.port) as client:
        results = client.wait_results(WINDOWS)
        assert running.process.wait(20) == 0
    assert all(r.historical for r in results)
    assert client.of("last") == []


def test_bad_messages_are_counted_and_the_rest_goes_on(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    stream = f"{TREE}/stream"
    bad = [
        (f"{stream}/s1/samples", b"{nope"),
        (f"{stream}/s1/samples", b'{"t0":0,"rate_hz":100,"ch":{"ecg_uv":["1"]}}'),
        (f"{stream}/s1/samples", b'{"t0":0,"rate_hz":100,"ch":{"resp_uv":[1]}}'),
        (f"{stream}/s1/samples", b"[" + b"1," * 10_000_000 + b"1]"),
        (f"{stream}/a/b/samples", b"{}"),
        (f"{stream}/\u00e9/samples", b"{}"),
        (f"{stream}/s1/samples", b"\x03\x01\x00"),
    ]
    with listener(broker.port, f"{TREE}/+") as others, listener(broker.port, f"{stream}/+/result") as client:
        with agent(tmp_path, *words(broker, bundle, "--health-period-s", "0.5")) as running:
            good = samples_json(RECORD, RATE_HZ, 50)
            for at, payload in enumerate(good):
                if at < len(bad):
                    client.publish(*bad[at])
                client.publish(f"{stream}/s1/samples", payload)
            results = client.wait_results(WINDOWS)
            counted = {
                "not_json": 1,
                "wrong_type": 1,
                "wrong_channel": 1,
                "too_large": 1,
                "bad_topic": 2,
                "frame_cobs": 1,
            }
            wait_for(
                lambda: (
                    others.of("health")
                    and json.loads(others.of("health")[-1])["counters"].get("dropped") == counted
                ),
                "the counters in health",
            )
            assert "ch.ecg_uv[0] is a string" in running.said()
            assert running.said().count("dropped (") == len(bad)
    assert [dict(r.probabilities) for r in results] == expected(bundle)


def test_a_broker_that_refuses_results_is_said_and_asked_again(bundle: Path, tmp_path: Path):
    acl = tmp_path / "acl"
    rights = "topic read wavewall/+/stream/+/samples\ntopic read wavewall/+/stream/+/+/samples\n"
    tree = "topic write wavewall/+/stream/+/samples\ntopic wavewall/gw1/state\ntopic read wavewall/#\n"
    acl.write_text(rights + tree)
    acl.chmod(0o600)
    broker = Broker(tmp_path, "allow_anonymous true", f"acl_file {acl}")
    broker.start()
    try:
        refused = words(broker, bundle, "--delivery-retry-min-s", "0.1", "--delivery-retry-max-s", "0.2")
        with listener(broker.port) as client, agent(tmp_path, *refused) as running:
            for payload in samples_json(RECORD, RATE_HZ, 100):
                client.publish(f"{TREE}/stream/s1/samples", payload)
            wait_for(lambda: "not authorized" in running.said(), "the refusal")
            assert client.of("result") == []
            acl.write_text("topic readwrite wavewall/#\n")
            broker._process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
            results = client.wait_results(WINDOWS)
        assert {r.seq for r in results} == set(range(WINDOWS))
        assert running.said().count("not authorized") == 1
    finally:
        broker.stop()


def test_a_login_with_a_password_file_that_never_shows(bundle: Path, tmp_path: Path):
    passwords = tmp_path / "users"
    program = shutil.which("mosquitto_passwd")
    assert program, "mosquitto is not installed; run: make deps"
    subprocess.run([program, "-b", "-c", str(passwords), "gw", "canary-42"], check=True)
    passwords.chmod(0o600)
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    try:
        secret = tmp_path / "secret"
        secret.write_text("canary-42\n")
        secret.chmod(0o600)
        login = words(broker, bundle, "--mqtt-username", "gw", "--mqtt-password-file", secret)
        good = edge_agent("check", *login)
        assert good.returncode == 0, good.stdout
        with agent(tmp_path, *login, "--log-level", "debug") as running:
            wait_for(lambda: running.said().count("connected as") == 2, "both connections")
        assert "canary-42" not in running.said() + good.stdout + good.stderr
        secret.write_text("wrong-canary\n")
        bad = edge_agent("check", *login)
        assert bad.returncode == 1
        assert "refused: Not authorized" in bad.stdout
        assert "wrong-canary" not in bad.stdout + bad.stderr
    finally:
        broker.stop()


def test_two_agents_of_one_name_are_told_of_each_other(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    with agent(tmp_path, *words(broker, bundle)) as one, agent(tmp_path, *words(broker, bundle)):
        wait_for(lambda: "give each agent its own node.id" in one.said(), "the warning")


def test_subscribe_shows_results_of_one_stream(broker: Broker, bundle: Path, tmp_path: Path):
    broker.start()
    place = ["--mqtt-host", "127.0.0.1", "--mqtt-port", str(broker.port), "--timeout-s", "30"]
    with listener(broker.port) as client, agent(tmp_path, *words(broker, bundle)):
        import threading

        shown: dict[str, Any] = {}
        wanted = {
            "json": ["--json", "--stream", "s2"],
            "text": ["--stream", "s2", "--node", "gw1"],
        }
        threads = [
            threading.Thread(
                target=lambda name=name, more=more: shown.update(  # type: ignore[misc]
                    {name: edge_agent("subscribe", *place, "--count", WINDOWS, *more)}
                )
            )
            for name, more in wanted.items()
        ]
        for thread in threads:
            thread.start()
        # Subscribed is what `$SYS` does not tell; samples are sent until both have seen enough.
        until, round_ = time.monotonic() + 30, 0
        while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
            for stream in ("s1", "s2"):
                for payload in samples_json(RECORD, RATE_HZ, 200, 1.8e9 + 100 * round_):
                    client.publish(f"{TREE}/stream/{stream}/samples", payload)
            round_ += 1
            time.sleep(0.5)
        for thread in threads:
            thread.join()
    assert shown["json"].returncode == shown["text"].returncode == 0
    assert {Result.from_json(line).stream for line in shown["json"].stdout.splitlines()} == {"s2"}
    assert len(shown["json"].stdout.splitlines()) == len(shown["text"].stdout.splitlines()) == WINDOWS
    assert all("s2" in line for line in shown["text"].stdout.splitlines())
