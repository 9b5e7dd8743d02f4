"""Three nats-servers, a cutter, three classifiers, kill -9 for some of them: no window missing, none twice by id."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.nats_servers import Leaf, Servers, servers
from edge.clock import SYSTEM_CLOCK
from edge.config import ReplaySource
from edge.pipeline.identity import result_id
from edge.pipeline.windows import Windower
from edge.sources.replay import Replay
from tests.edge.agent.helpers import signal as noise
from tests.edge.tiny import HOP, WINDOW, tiny_bundle, tiny_manifest
from tests.integration.rig import Listener, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

RECORDS, SAMPLES, SPEED = 18, 1000, 10


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Servers]:
    with servers(tmp_path) as made:
        yield made


@pytest.fixture
def words(cluster: Servers, tmp_path: Path) -> list[str]:
    """What every part is told."""
    return ["--cluster-servers", cluster.urls, "--cluster-ack-wait-s", "3", "--cluster-retry-s", "6"]


def command(what: str, words: list[str], *more: object) -> list[str]:
    return [sys.executable, "-m", "edge.cli", *what.split(), *words, *map(str, more)]


def run(what: str, words: list[str], *more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(what, words, *more), capture_output=True, text=True, timeout=60)


def start(tmp_path: Path, name: str, line: list[str]) -> subprocess.Popen[bytes]:
    with (tmp_path / f"{name}.err").open("wb") as err:
        return subprocess.Popen(line, stdout=err, stderr=err)


def says(path: Path, text: str) -> None:
    """A part has got so far."""
    wait_for(lambda: text in path.read_text(errors="replace"), text, 60.0)


def records(folder: Path) -> Path:
    folder.mkdir()
    for at in range(RECORDS):
        values = noise(SAMPLES, seed=at)[:, None]
        np.savez(folder / f"r{at}.npz", values=values, rate_hz=100.0, channels=["ecg"], units=["uV"])
    return folder


def expected(folder: Path) -> set[str]:
    """Ids of every window of the records, by the code of the agent itself."""
    ids: set[str] = set()
    windowers: dict[str, Windower] = {}

    def emit(block: Any, on_accepted: Any = None) -> None:
        windower = windowers.setdefault(block.stream, Windower(tiny_manifest().input))
        ids.update(result_id("gw1", w.stream, w.epoch, w.first_index) for w in windower.push(block))

    Replay(ReplaySource(recording=folder), tiny_manifest().input, clock=SYSTEM_CLOCK).run(emit, threading.Event())
    assert len(ids) == RECORDS * ((SAMPLES - WINDOW) // HOP + 1)
    return ids


async def stored(urls: str) -> list[dict[str, Any]]:
    """Every result that the servers keep."""
    import nats

    connection = await nats.connect(servers=urls.split("+"))
    js = connection.jetstream(timeout=10)
    reading = await js.pull_subscribe("", stream="wavewall-results", durable="test-reader")
    out: list[dict[str, Any]] = []
    while True:
        try:
            messages = await reading.fetch(500, timeout=2)
        except (nats.errors.TimeoutError, asyncio.TimeoutError):
            break
        for message in messages:
            out.append(json.loads(message.data))
            await message.ack()
    await connection.close()
    return out


def status(words: list[str]) -> dict[str, Any]:
    done = run("cluster status", words, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def test_no_window_is_lost_and_none_answered_twice_when_workers_and_servers_die(
    cluster: Servers, words: list[str], tmp_path: Path
):
    bundle, folder = tiny_bundle(tmp_path / "tiny.bundle"), records(tmp_path / "records")
    wait_for(lambda: run("cluster init", words).returncode == 0, "the streams", 60.0)
    assert status(words)["lag"] == 0
    place = ["--bundle", str(bundle), "--node-state-dir", str(tmp_path / "state")]
    workers = [
        start(tmp_path, f"worker{at}", command("run", words, *place, "--role", "classifier", "--node", f"w{at}"))
        for at in range(3)
    ]
    mqtt = ["--mqtt-host", "127.0.0.1", "--mqtt-version", "3.1.1", "--mqtt-port", cluster.mqtt[0]]
    source = ["--source", f"replay:{folder},speed={SPEED}"]
    line = command("run", words, *place, "--role", "cutter", "--node", "gw1", *mqtt, *source)
    for at in range(3):
        says(tmp_path / f"worker{at}.err", "classifier tiny@1.0.0")
    client = Listener(cluster.mqtt[0], "wavewall/+/stream/+/result", version="3.1.1")
    cutter = start(tmp_path, "cutter", line)
    try:
        client.wait_results(100, 60.0)
        workers[0].kill()
        client.wait_results(200, 60.0)
        cluster.kill(1)
        client.wait_results(300, 60.0)  # two of three go on
        cluster.start(1)
        client.wait_results(450, 60.0)
        workers[1].kill()
        cluster.kill(2)
        time.sleep(2.0)
        cluster.start(2)
        assert cutter.wait(90) == 0, (tmp_path / "cutter.err").read_text()[-2000:]
    finally:
        client.close()
        for process in (*workers, cutter):
            if process.poll() is None:
                process.terminate()
                process.wait(15)
    said = (tmp_path / "worker2.err").read_text()
    assert "Traceback" not in said
    assert int(said.rsplit(" windows answered", 1)[0].split()[-1]) > 0
    assert "without a result yet" in (tmp_path / "cutter.err").read_text(), "the windows were not cut by a cutter"
    results = asyncio.run(stored(cluster.urls))
    ids = [result["id"] for result in results]
    want = expected(folder)
    assert set(ids) == want, f"{len(want - set(ids))} windows are missing, {len(set(ids) - want)} are strangers"
    assert len(ids) == len(set(ids)), "a result is stored twice"
    streams: dict[str, list[int]] = {}
    for result in results:
        streams.setdefault(result["stream"], []).append(result["seq"])
    per_stream = (SAMPLES - WINDOW) // HOP + 1
    assert all(sorted(seqs) == list(range(per_stream)) for seqs in streams.values())
    facts = status(words)
    assert facts["lag"] == 0
    shown = run("cluster status", words).stdout
    assert "wavewall-windows: 0 messages" in shown
    assert "3 replica(s)" in shown


def test_results_reach_mqtt_and_what_is_no_window_harms_nobody(cluster: Servers, words: list[str], tmp_path: Path):
    bundle, folder = tiny_bundle(tmp_path / "tiny.bundle"), tmp_path / "r0.npz"
    values = noise(200, seed=1)[:, None]
    np.savez(folder, values=values, rate_hz=100.0, channels=["ecg"], units=["uV"])
    wait_for(lambda: run("cluster init", words).returncode == 0, "the streams", 60.0)
    assert "brought to the settings" in run("cluster init", words).stdout
    place = ["--bundle", str(bundle), "--node-state-dir", str(tmp_path / "state")]
    mqtt = ["--mqtt-host", "127.0.0.1", "--mqtt-version", "3.1.1", "--mqtt-port", cluster.mqtt[0]]
    client = Listener(cluster.mqtt[1], "wavewall/+/stream/+/result", version="3.1.1")
    worker = start(tmp_path, "worker", command("run", words, *place, "--role", "classifier", "--node", "w0"))
    try:
        for payload in (b"", b"{}", b"\n", b'{"schema":"wavewall.window/1"}\nxx'):
            client.publish("wavewall/gw1/stream/s1/windows", payload)
        done = run("run", words, *place, "--role", "cutter", "--node", "gw1", *mqtt, "--source", f"replay:{folder}")
        assert done.returncode == 0, done.stderr
        count = (200 - WINDOW) // HOP + 1
        assert len({result.id for result in client.wait_results(count)}) == count
        assert all(result.model == "tiny@1.0.0" for result in client.results())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(15) == 0
        assert "thrown away" in (tmp_path / "worker.err").read_text()
    finally:
        client.close()
        if worker.poll() is None:
            worker.kill()


def test_a_gateway_on_a_leaf_node_holds_its_windows_through_an_outage(tmp_path: Path):
    """The gateway's own server goes on taking windows while the others are away; none is lost, as none has a result."""
    bundle, folder = tiny_bundle(tmp_path / "tiny.bundle"), records(tmp_path / "records")
    (tmp_path / "leaf").mkdir()
    with servers(tmp_path, 1) as hub:
        leaf = Leaf(tmp_path / "leaf", hub)
        words = ["--cluster-servers", hub.urls, "--cluster-replicas", "1", "--cluster-ack-wait-s", "3"]
        words += ["--cluster-retry-s", "3"]
        wait_for(lambda: run("cluster init", words).returncode == 0, "the streams", 60.0)
        place = ["--bundle", str(bundle), "--node-state-dir", str(tmp_path / "state")]
        mqtt = ["--mqtt-host", "127.0.0.1", "--mqtt-version", "3.1.1", "--mqtt-port", leaf.mqtt[0]]
        worker = start(tmp_path, "worker", command("run", words, *place, "--role", "classifier", "--node", "w0"))
        leaf.start()
        source = ["--source", f"replay:{folder},speed={SPEED}"]
        says(tmp_path / "worker.err", "classifier tiny@1.0.0")
        client = Listener(leaf.mqtt[0], "wavewall/+/stream/+/result", version="3.1.1")
        cutter = start(
            tmp_path, "cutter", command("run", words, *place, "--role", "cutter", "--node", "gw1", *mqtt, *source)
        )
        try:
            client.wait_results(100, 60.0)
            hub.kill(0)
            time.sleep(4.0)
            assert cutter.poll() is None
            hub.start(0)
            assert cutter.wait(90) == 0, (tmp_path / "cutter.err").read_text()[-2000:]
            ids = [result["id"] for result in asyncio.run(stored(hub.urls))]
            assert set(ids) == expected(folder)
            assert len(ids) == len(set(ids))
            assert int((tmp_path / "cutter.err").read_text().rsplit(" sent again", 1)[0].split()[-1]) > 0
        finally:
            client.close()
            for process in (worker, cutter):
                if process.poll() is None:
                    process.terminate()
                    process.wait(15)
            leaf.stop()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path):
    done = run("cluster status", ["--cluster-servers", "nats://127.0.0.1:1"])
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("run", ["--role", "cutter", "--sink", "stdout"])
    assert done.returncode == 2
    assert "takes no other sink" in done.stderr


def test_without_nats_py_it_says_what_to_install(tmp_path: Path):
    code = "import sys; sys.modules['nats'] = None; from edge.cli import main; main()"
    line = [sys.executable, "-c", code, "cluster", "status"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "wavewall[cluster]" in done.stderr
