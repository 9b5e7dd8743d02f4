"""The page's HTTP side: who gets in, what is told, what is refused."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import resolve_bundle
from edge.dashboard.attacker import AttackerError, Child
from edge.dashboard.recorded import RecordedSamples
from edge.metrics import Metrics
from edge.recorder.tracks import Tracks
from edge.recorder.writer import Recorder
from firmware_bridge.recordings import open_recordings
from tests.edge.dashboard.rig import Served, block, event
from tests.edge.tiny import HOP, RATE_HZ, WINDOW

TOKEN = "a token that is long enough"
Start = Callable[..., Served]


def test_the_overview_begins_with_everything_and_goes_on_with_changes(served: Start):
    page = served()
    page.play("bed-1", 3.0)
    page.play("bed-2", 3.0)
    client = page.client()
    client.enter()
    feed = client.feed("/api/overview")
    assert next(feed)[0] == "hello"
    name, first = next(feed)
    assert name == "rows"
    assert {row[0] for row in first["rows"]} == {"bed-1", "bed-2"}
    assert first["rows"][0][1:5] == ["normal", 0.8, "ok", ""]
    page.play("bed-2", 3.0)
    later = next(data for kind, data in feed if kind == "rows" and data["rows"])
    assert [row[0] for row in later["rows"]] == ["bed-2"]


def test_a_streams_feed_has_samples_answers_and_why(served: Start):
    page = served()
    page.play("bed-1", 3.0)
    client = page.client()
    client.enter()
    got: dict[str, object] = {}
    for name, data in client.feed("/api/live?stream=bed-1"):
        got.setdefault(name, data)
        if {"samples", "answers", "explain"} <= set(got):
            break
    segment = got["samples"]["segments"][0]
    values = np.frombuffer(base64.b64decode(segment["data"]), "<f4")
    assert len(values) == segment["n"] == 300
    assert np.allclose(values, 100 * np.sin(np.arange(300) / 7), atol=1e-3)
    assert len(got["answers"]["rows"]) == (300 - WINDOW) // HOP + 1
    why = got["explain"]
    assert why["n"] == WINDOW
    assert abs(sum(why["p"]) - 1) < 0.02


def test_sparks_show_gaps_as_nothing(served: Start):
    page = served()
    now = time.time()
    page.store.block(block("s", np.full(200, 50.0), 0, now - 8))
    page.store.block(block("s", np.full(200, -50.0), 600, now - 8))
    client = page.client()
    client.enter()
    spark = client.ask("GET", "/api/sparks?streams=s,unknown")[1]["s"]
    assert len(spark["v"]) == 240
    known = [v for v in spark["v"] if v is not None]
    assert {round(v * spark["k"]) for v in known} == {50, -50}
    assert 100 < spark["v"].count(None) < 140


def test_an_export_is_a_record_that_wfdb_readers_open(served: Start, tmp_path: Path):
    page = served()
    now = time.time()
    page.store.block(block("bed-1", np.arange(300), 0, now - 5))
    page.store.block(block("bed-1", np.arange(100), 400, now - 5))
    client = page.client()
    client.enter()
    status, data, response = client.ask("GET", "/api/export?stream=bed-1")
    assert status == 200
    assert response.getheader("content-disposition") == 'attachment; filename="bed-1.zip"'
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path)
    record = open_recordings(tmp_path / "bed-1.hea").read("bed-1")
    assert len(record) == 500
    assert record.rate_hz == RATE_HZ
    assert np.isnan(record.physical[300:400]).all(), "the gap stays a gap"
    assert np.allclose(record.physical[:300, 0], np.arange(300), atol=0.02)
    assert client.ask("GET", "/api/export?stream=nobody")[0] == 404


def test_the_bench_is_for_replays_and_simulators_and_the_server_says_so(served: Start):
    page = served(attack=True, compare="ecg-undefended")
    sources = [
        {"kind": "replay"},
        {"kind": "serial", "firmware": "simulator"},
        {"kind": "serial", "firmware": "1.2"},
        {"kind": "mqtt"},
    ]
    for at, source in enumerate(sources):
        page.store.came_from(f"s{at}", source.copy)
        page.play(f"s{at}", 3.0)
    client = page.client()
    client.enter()
    for at, allowed in ((0, True), (1, True), (2, False), (3, False)):
        status, facts, _ = client.ask("POST", "/api/attack", {"stream": f"s{at}", "attack": "signs", "epsilon": 10})
        assert (status == 200) == allowed, (at, facts)
        if allowed:
            delta = np.frombuffer(base64.b64decode(facts["delta"]), "<f4")
            assert np.abs(delta).max() == 10.0
            assert [side["defended"] for side in facts["sides"]] == [True], "another kind of window is not compared"
        else:
            assert "live device" in facts["error"]
    for wrong in ({"epsilon": 1e9}, {"epsilon": -1}, {"attack": "none"}, {"epsilon": "x"}):
        asked = {"stream": "s0", "attack": "signs", "epsilon": 10, **wrong}
        assert client.ask("POST", "/api/attack", asked)[0] == 400, wrong


def test_the_bench_is_closed_unless_asked_for(served: Start):
    page = served()
    page.store.came_from("s0", lambda: {"kind": "replay"})
    page.play("s0", 3.0)
    client = page.client()
    client.enter()
    status, facts, _ = client.ask("POST", "/api/attack", {"stream": "s0", "attack": "signs", "epsilon": 10})
    assert (status, "off" in facts["error"]) == (403, True)


def test_ten_thousand_events_are_kept_and_told(served: Start):
    page = served()
    for n in range(12_000):
        page.store.event(event(n))
    client = page.client()
    client.enter()
    events = client.ask("GET", "/api/events")[1]["events"]
    assert len(events) == 10_000
    assert events[-1]["id"] == "event-11999"


def test_too_many_pages_are_refused_not_queued(served: Start):
    page = served(max_clients=2)
    page.play("a", 2.0)
    client = page.client()
    client.enter()
    feeds = [client.feed("/api/overview") for _ in range(2)]
    for feed in feeds:
        next(feed)
    status, facts, _ = client.ask("GET", "/api/overview")
    assert (status, "2 pages" in facts["error"]) == (503, True)
    feeds[0].close()
    deadline = time.monotonic() + 5
    while client.status("/api/overview") != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_client_that_does_not_read_gets_less_and_nobody_waits(served: Start):
    """The socket of one page stands still: the pipeline's calls stay as fast, another page keeps its pace."""
    page = served()
    client = page.client()
    client.enter()
    with socket.create_connection(("127.0.0.1", page.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(
            f"GET /api/live?stream=big HTTP/1.1\r\nHost: localhost\r\nCookie: {client.cookie}\r\n\r\n".encode()
        )
        longest, sent = 0.0, 0

        def pipeline() -> None:
            nonlocal longest, sent
            began, at = time.monotonic(), 0
            while time.monotonic() - began < 4.0:
                one = block("big", np.zeros(2000, np.float32), at, time.time(), rate_hz=20_000.0)
                at += 2000
                before = time.perf_counter()
                page.store.block(one)
                longest = max(longest, time.perf_counter() - before)
                sent += one.values.nbytes * 4 // 3
                time.sleep(0.02)

        running = threading.Thread(target=pipeline)
        running.start()
        time.sleep(1.5)
        quick = [name for name, _ in client.feed("/api/live?stream=big", 2.0)]
        running.join()
        assert quick.count("samples") >= 4, quick
        assert longest < 0.2, f"the pipeline waited {longest:.3f} s"
        slow.settimeout(0.5)
        got, until = 0, time.monotonic() + 2.0
        try:
            while time.monotonic() < until and (piece := slow.recv(65536)):
                got += len(piece)
        except TimeoutError:
            pass
    assert got < sent / 2, f"{got} of {sent} bytes were queued for a client that did not read"


def test_an_attack_of_another_package_runs_in_a_child_and_its_failure_is_a_sentence():
    child = Child()
    window = np.zeros((WINDOW, 1), np.float32)
    try:
        with pytest.raises(AttackerError, match="no attack is called 'nonsense'"):
            child.attack("nonsense", str(resolve_bundle("ecg-undefended")), window, 10.0, 0)
        assert child._process is not None
        child._process.kill()
        child._process.wait()
        with pytest.raises(AttackerError, match="away"):
            child.attack("nonsense", "away.bundle", window, 10.0, 0)
    finally:
        child.close()


def test_scrolling_back_reads_the_recorder(tmp_path: Path):
    """What was recorded of a stream between two times, and of no other stream; a damaged file costs what it held."""
    tracks = Tracks(1.0)
    recorder = Recorder(tmp_path, tracks, Metrics(), next_number=1, sync_s=0.05, segment_bytes=1 << 20)
    writer = threading.Thread(target=recorder.run)
    writer.start()
    began = time.time() - 100
    for at in range(0, 10_000, 100):
        for stream in ("bed-1", "bed-10", "bed-2"):
            recorder.append(block(stream, np.arange(at, at + 100), at, began), False, None)
    recorder.stop()
    writer.join(10)
    found = RecordedSamples(tmp_path)("bed-1", began + 20.05, began + 30)
    assert {b.stream for b in found} == {"bed-1"}
    values = np.concatenate([b.values[:, 0] for b in found])
    assert np.array_equal(values, np.arange(2000, 3000))
    for path in tmp_path.glob("*.seg"):
        path.write_bytes(b"x" * 100 + path.read_bytes()[200:])
    assert len(RecordedSamples(tmp_path)("bed-1", began, began + 100)) > 90
    assert RecordedSamples(tmp_path / "away")("bed-1", began, began + 100) == []
