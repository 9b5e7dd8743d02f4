"""A running agent gets another model and another configuration while samples come: nothing lost, nothing twice."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import signing
from edge.models.folder import ACTIVE, ModelFolder
from edge.types import Result
from tests.edge.agent.helpers import signal as noise
from tests.edge.models.parts import bundle as make_bundle
from tests.edge.tiny import HOP, RATE_HZ, WINDOW
from tests.integration.rig import AgentProcess, Broker, Listener, agent, listener, samples_json, wait_for

pytestmark = [pytest.mark.update, pytest.mark.slow]

STREAMS = ("a", "b", "c")
BLOCK = 8


class Load:
    """Streams that send a message of BLOCK samples each, some hundred messages a second in all, until stopped."""

    def __init__(self, client: Listener, pause_s: float = 0.01) -> None:
        self._client, self._pause_s = client, pause_s
        self._stop = threading.Event()
        self.sent = 0  # samples of each stream
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        values = noise(20_000)
        for at in range(0, len(values), BLOCK):
            if self._stop.is_set():
                return
            (message,) = samples_json(values[at : at + BLOCK], RATE_HZ, BLOCK, 1.8e9 + at / RATE_HZ, end=False)
            for stream in STREAMS:
                self._client.publish(f"wavewall/gw1/stream/{stream}/samples", message)
            self.sent = at + BLOCK
            time.sleep(self._pause_s)

    @property
    def windows(self) -> int:
        return (self.sent - WINDOW) // HOP + 1

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def whole(client: Listener, load: Load) -> dict[str, list[Result]]:
    """Results by stream, after seeing that each window was answered once and in order."""
    client.wait_results(load.windows * len(STREAMS))
    time.sleep(0.3)  # one that came twice would come now
    out = {}
    for stream in STREAMS:
        results = [r for r in client.results() if r.stream == stream]
        assert [r.seq for r in results] == list(range(load.windows)), "a window is missing or was answered twice"
        assert len({r.id for r in results}) == load.windows
        out[stream] = results
    return out


def models(results: list[Result]) -> list[str]:
    """The models that answered, in order, each run of one once."""
    return [model for model, _ in itertools.groupby(r.model for r in results)]


def events(client: Listener, kind: str = "model") -> list[dict[str, Any]]:
    return [e for e in map(json.loads, client.of("gw1/event")) if e["kind"] == kind]


def health(client: Listener) -> dict[str, Any]:
    return json.loads(client.of("health")[-1])


class Place:
    """A node with a state folder: its words for `run`, and `edge-agent model`."""

    def __init__(self, tmp_path: Path, broker: Broker, first: Path, *more: object) -> None:
        self.tmp_path, self.state = tmp_path, tmp_path / "state"
        self.own = ["--bundle-path", first, "--node", "gw1", "--node-state-dir", self.state, *more]
        self.words = [*self.own, "--mqtt-host", "127.0.0.1", "--mqtt-port", broker.port, "--set", "health.period_s=0.5"]
        self.folder = ModelFolder(self.state / "models" / "gw1")

    def model(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge.cli", "model", *map(str, [*words, *self.own])]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)


LIMITS = ("--model-canary-windows", 20, "--model-min-agreement", 0.8)


@pytest.fixture
def place(tmp_path: Path, broker: Broker) -> Place:
    broker.start()
    return Place(tmp_path, broker, make_bundle(tmp_path / "one.bundle", "1.0.0"), *LIMITS)


@contextmanager
def running(place: Place, broker: Broker, *more: object) -> Iterator[tuple[AgentProcess, Listener]]:
    with listener(broker.port) as client, agent(place.tmp_path, *place.words, *more) as process:
        yield process, client


def test_swap_and_rollback_under_load(place: Place, broker: Broker, tmp_path: Path):
    with running(place, broker) as (_, client), Load(client) as load:
        client.wait_results(10)
        assert place.model("install", make_bundle(tmp_path / "two.bundle")).returncode == 0
        done = place.model("activate", "tiny@2.0.0")
        assert done.returncode == 0, done.stderr
        assert [line.partition(":")[0] for line in done.stdout.splitlines()][-2:] == ["canary", "activated"]
        seen = len(client.of("result"))
        client.wait_results(seen + 30)
        assert "active    tiny@2.0.0" in place.model("list").stdout
        back = place.model("rollback")
        assert back.returncode == 0, back.stderr
        seen = len(client.of("result"))
        client.wait_results(seen + 30)
        load.__exit__()
        for results in whole(client, load).values():
            assert models(results) == ["tiny@1.0.0", "tiny@2.0.0", "tiny@1.0.0"]
        first, second = events(client)
        assert (first["outcome"], first["windows"], first["agreement"]) == ("activated", 20, 1.0)
        assert first["robust_accuracy"] == 1.0
        assert (second["outcome"], second["serving"]) == ("activated", "tiny@1.0.0")
        wait_for(lambda: health(client)["model"]["last"]["outcome"] == "activated", "health")
        assert health(client)["model"]["ref"] == "tiny@1.0.0"


def test_what_must_not_take_over_does_not_and_says_why(place: Place, broker: Broker, tmp_path: Path):
    """Worse on live windows, weak under attack, without attacked windows, for another rate, altered in the folder."""
    from dataclasses import replace

    from tests.edge.tiny import tiny_manifest

    spec = tiny_manifest().input
    candidates = {
        "agrees on": make_bundle(tmp_path / "a.bundle", "3.0.0", labels=("noise", "normal", "other")),
        "of its own attacked golden windows": make_bundle(tmp_path / "b.bundle", "4.0.0", turned=3),
        "holds no attacked golden windows": make_bundle(tmp_path / "c.bundle", "5.0.0", turned=None),
        "rate_hz 200.0 instead of 100.0": make_bundle(
            tmp_path / "d.bundle", "6.0.0", input=replace(spec, rate_hz=200.0)
        ),
    }
    with running(place, broker) as (_, client), Load(client) as load:
        client.wait_results(10)
        for says, path in candidates.items():
            installed = place.model("install", path)
            assert installed.returncode == 0, installed.stderr
            done = place.model("activate", installed.stdout.split()[1].rstrip(";"))
            assert done.returncode == 1, done.stdout
            assert says in done.stderr
            assert "Traceback" not in done.stderr
        whole_file = make_bundle(tmp_path / "e.bundle", "7.0.0")
        place.model("install", whole_file)
        inside = place.folder.path / place.folder.find("tiny@7.0.0")
        data = bytearray(inside.read_bytes())
        data[len(data) // 2] ^= 1
        inside.write_bytes(data)
        done = place.model("activate", "tiny@7.0.0")
        assert done.returncode == 1
        assert "truncated or damaged" in done.stderr
        load.__exit__()
        for results in whole(client, load).values():
            assert models(results) == ["tiny@1.0.0"]
        assert [e["outcome"] for e in events(client)] == ["refused"] * 5
        wait_for(lambda: "truncated or damaged" in health(client)["model"]["last"]["reason"], "health")


def test_a_bundle_of_another_maker_is_not_installed(place: Place, tmp_path: Path):
    signing.generate_keys(tmp_path / "key")
    alien = make_bundle(tmp_path / "alien.bundle", signing_key=os.urandom(32), turned=None)
    done = place.model("install", alien, "--bundle-key", tmp_path / "key.pub")
    assert done.returncode == 1
    assert "signature is not the trusted key's" in done.stderr
    assert place.folder.installed() == []


def test_a_bundle_whose_golden_vectors_are_wrong_is_not_installed(place: Place, tmp_path: Path):
    from edge.bundle import write_bundle
    from tests.edge.tiny import tiny_parts

    parts = tiny_parts(version="2.0.0")
    parts["vectors"]["probabilities"] = parts["vectors"]["probabilities"][:, ::-1]
    write_bundle(tmp_path / "wrong.bundle", **parts)
    done = place.model("install", tmp_path / "wrong.bundle")
    assert done.returncode == 1
    assert "golden window" in done.stderr
    assert place.folder.installed() == []


def test_a_crash_soon_after_the_activation_takes_it_back(place: Place, broker: Broker, tmp_path: Path):
    place.model("install", make_bundle(tmp_path / "two.bundle"))
    with running(place, broker) as (process, client), Load(client):
        client.wait_results(10)
        assert place.model("activate", "tiny@2.0.0").returncode == 0
        assert place.folder.target(ACTIVE).startswith("tiny@2.0.0")
        process.kill()
    # A stop in good order is no crash, and the trial goes on after it.
    with running(place, broker) as (_, client):
        wait_for(lambda: events(client), "the event")
        assert events(client)[0]["outcome"] == "rolled_back"
        assert "ended without stopping" in events(client)[0]["reason"]
        wait_for(lambda: (health(client)["model"]["last"] or {}).get("outcome") == "rolled_back", "health")
        assert health(client)["model"]["ref"] == "tiny@1.0.0"
        assert place.model("activate", "tiny@2.0.0", "--skip-canary").returncode == 0
    with running(place, broker) as (_, client):
        wait_for(lambda: len(client.of("health")) > 1, "health")  # the first one is retained
        assert health(client)["model"]["ref"] == "tiny@2.0.0"
        assert events(client) == []


def test_reload_on_sighup_loses_no_window(tmp_path: Path, broker: Broker):
    broker.start()
    one, two = make_bundle(tmp_path / "one.bundle", "1.0.0"), make_bundle(tmp_path / "two.bundle")
    path = tmp_path / "agent.toml"

    def write(bundle: Path, source: str) -> None:
        path.write_text(
            f'[node]\nid = "gw1"\nstate_dir = "{tmp_path}/state"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
            f'[bundle]\npath = "{bundle}"\n[model]\ncanary_windows = 20\n[health]\nperiod_s = 0.5\n{source}'
        )

    write(one, "")
    with listener(broker.port) as client, agent(tmp_path, path) as process, Load(client) as load:
        client.wait_results(10)
        write(one, '[[source]]\nkind = "mqtt"\nmax_payload_bytes = 4096\n')
        process.process.send_signal(signal.SIGHUP)
        wait_for(lambda: events(client, "config"), "the reload")
        assert events(client, "config")[-1]["changed"] == ["source"]
        client.wait_results(len(client.of("result")) + 30)
        path.write_text("[bundle]\npaht = 1\n")
        process.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(events(client, "config")) == 2, "the refusal")
        assert "did you mean 'path'" in events(client, "config")[-1]["reason"]
        wait_for(lambda: any("config: refused" in reason for reason in health(client)["reasons"]), "health")
        write(two, '[[source]]\nkind = "mqtt"\nmax_payload_bytes = 4096\n')
        process.process.send_signal(signal.SIGHUP)
        wait_for(lambda: [e["outcome"] for e in events(client)] == ["activated"], "the other bundle")
        client.wait_results(len(client.of("result")) + 30)
        load.__exit__()
        for results in whole(client, load).values():
            assert models(results) == ["tiny@1.0.0", "tiny@2.0.0"]
        wait_for(lambda: health(client)["status"] == "ok", "health")


def test_models_by_request(place: Place, broker: Broker, tmp_path: Path):
    public = tmp_path / "key.pub"
    signing.generate_keys(tmp_path / "key")
    private = signing.load_private_key(tmp_path / "key")
    verbs = "model-list+model-install+model-activate+model-rollback"
    first = make_bundle(tmp_path / "one.bundle", "1.0.0", signing_key=private)
    place = Place(tmp_path, broker, first, *LIMITS, "--bundle-key", public)
    incoming = place.folder.path / "incoming"
    incoming.mkdir(parents=True)
    make_bundle(incoming / "two.bundle", signing_key=private)
    make_bundle(incoming / "alien.bundle", signing_key=os.urandom(32))
    words = ["--requests-enabled", "true", "--requests-verbs", verbs]
    with running(place, broker, *words) as (_, client):

        def ask(verb: str, **arguments: Any) -> dict[str, Any]:
            before = len(client.of(f"response/{verb}"))
            client.publish(f"wavewall/gw1/request/{verb}", json.dumps(arguments))
            wait_for(lambda: len(client.of(f"response/{verb}")) > before, f"the answer to {verb}")
            return json.loads(client.of(f"response/{verb}")[-1])

        assert not ask("model-install", file="alien.bundle")["ok"]
        assert not ask("model-install", file="../../etc.bundle")["ok"]
        file = ask("model-install", file="two.bundle")["result"]["file"]
        assert ask("model-activate", model=file, skip_canary=True)["ok"]
        wait_for(lambda: [e["outcome"] for e in events(client)] == ["activated"], "the activation")
        (installed,) = [one for one in ask("model-list")["result"]["installed"] if one["active"]]
        assert installed["ref"] == "tiny@2.0.0"
        assert ask("model-rollback")["ok"]
        wait_for(lambda: len(events(client)) == 2, "the way back")
        assert events(client)[-1]["serving"] == "tiny@1.0.0"
