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
from edge.cli import bare_dashboard
from edge.config import DashboardSettings
from edge.dashboard.attacker import AttackerError, Child
from edge.dashboard.guard import Guard
from edge.dashboard.recorded import RecordedSamples
from edge.dashboard.server import DashboardError
from edge.metrics import Metrics
from edge.recorder.tracks import Tracks
from edge.recorder.writer import Recorder
from edge.settings import ConfigError, load_settings
from firmware_bridge.recordings import open_recordings
from tests.edge.dashboard.rig import Served, block, event, serve
from tests.edge.tiny import HOP, RATE_HZ, WINDOW

TOKEN = "a token that is long enough"
Start = Callable[..., Served]


def test_without_a_session_only_the_page_itself_is_given(served: Start):
    client = served().client()
    for name in ("overview", "live?stream=a", "sparks", "samples", "events", "export", "health"):
        assert client.ask("GET", f"/api/{name}")[0] == 401, name
    assert client.ask("POST", "/api/attack", {})[0] == 401
    status, page, _ = client.ask("GET", "/")
    assert status == 200
    assert b"main.js" in page


def test_every_answer_has_the_safe_headers(served: Start):
    client = served().client()
    for path in ("/", "/static/js/main.js", "/api/health", "/nowhere"):
        _, _, response = client.ask("GET", path)
        policy = response.getheader("content-security-policy", "")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy, "nothing is loaded from elsewhere"
        assert response.getheader("x-content-type-options") == "nosniff"
        assert "frame-ancestors 'none'" in policy
        assert response.getheader("server") is None


def test_no_file_of_the_page_asks_for_anything_elsewhere():
    static = Path(__file__).resolve().parents[3] / "edge" / "dashboard" / "static"
    files = [*static.glob("*.html"), *static.glob("*.css"), *static.glob("js/*.js")]
    assert len(files) > 8
    for file in files:
        assert "http://" not in file.read_text().replace("http://www.w3.org/", ""), file.name
        assert "https://" not in file.read_text(), file.name
        assert "innerHTML" not in file.read_text(), file.name
    assert "MIT" in (static / "vendor" / "uPlot-LICENSE").read_text()


def test_a_wrong_token_is_refused_and_guessing_is_slow(served: Start):
    client = served(token=TOKEN).client()
    status, facts = client.enter()
    assert (status, facts["wants"]) == (401, "token")
    for _ in range(5):
        assert client.enter("a wrong one, also long")[0] == 401
    status, facts = client.enter(TOKEN)
    assert status == 429, "even the right one waits now"
    assert 50 <= facts["wait"] <= 61
    assert client.ask("GET", "/api/health")[0] == 401


def test_the_right_token_lets_in_and_outlives_a_restart(tmp_path: Path):
    """A page on a wall must not ask for the token because the agent was updated."""
    stops = [threading.Event(), threading.Event()]
    first = serve(tmp_path, stops[0], token=TOKEN)
    client = first.client()
    assert client.enter(TOKEN)[0] == 200
    assert client.ask("GET", "/api/health")[0] == 200
    stops[0].set()
    first.thread.join(5)
    again = serve(tmp_path, stops[1], token=TOKEN)
    other = serve(tmp_path, stops[1], token="another token, as long")
    try:
        client.port = again.port
        assert client.ask("GET", "/api/health")[0] == 200
        assert client.ask("POST", "/api/leave", {})[0] in (200, 403)
        client.port = other.port
        assert client.ask("GET", "/api/health")[0] == 401, "another token ends every session"
    finally:
        stops[1].set()


def test_leaving_ends_the_session_for_good(served: Start):
    client = served(token=TOKEN).client()
    client.enter(TOKEN)
    kept = client.cookie
    assert client.ask("POST", "/api/leave", {})[0] == 200
    client.cookie = kept
    assert client.ask("GET", "/api/health")[0] == 401


@pytest.mark.parametrize("cookie", ["x", "a.b.c.d", "....", "61.1.2.3", "é.1.2.3"])
def test_a_forged_cookie_is_nobody(served: Start, cookie: str):
    client = served(token=TOKEN).client()
    sent = f"wavewall_session={cookie}".encode().decode("latin-1")
    assert client.ask("GET", "/api/health", headers={"cookie": sent})[0] == 401


def test_an_action_needs_the_csrf_token_and_our_own_site(served: Start):
    client = served(attack=True).client()
    assert client.enter()[0] == 200
    asked = {"stream": "a", "attack": "signs", "epsilon": 10}
    assert client.ask("POST", "/api/attack", asked, {"x-wavewall-csrf": "wrong"})[0] == 403
    assert client.ask("POST", "/api/attack", asked, {"sec-fetch-site": "cross-site"})[0] == 403
    assert "no such stream" in client.ask("POST", "/api/attack", asked)[1]["error"]


def test_a_foreign_host_name_is_refused(served: Start):
    """DNS rebinding: a site that points its own name at this machine."""
    client = served().client()
    assert client.ask("GET", "/", headers={"host": "evil.example"})[0] == 421
    assert client.ask("POST", "/api/enter", {}, {"host": "evil.example:8787"})[0] == 421
    assert client.ask("GET", "/", headers={"host": "localhost:1"})[0] == 200


def test_a_proxys_user_is_believed_from_the_proxy_alone(served: Start):
    page = served(user_header="X-Remote-User")
    client = page.client()
    assert client.enter()[0] == 401
    status, facts = client.enter(**{"x-remote-user": "nurse"})
    assert (status, facts["user"]) == (200, "nurse")
    assert client.ask("GET", "/api/health")[0] == 401, "the proxy names the user in every request"
    assert client.ask("GET", "/api/health", headers={"x-remote-user": "nurse"})[0] == 200
    assert client.ask("GET", "/api/health", headers={"x-remote-user": "other"})[0] == 401
    far = served(user_header="X-Remote-User", proxies=("192.0.2.7",)).client()
    assert far.enter(**{"x-remote-user": "nurse"})[0] == 401


def test_an_open_address_needs_a_token_or_a_proxy():
    with pytest.raises(ConfigError, match="other machines"):
        Guard(DashboardSettings(listen="0.0.0.0:0"))
    assert Guard(DashboardSettings(listen="0.0.0.0:0", user_header="X-User")).host_is_ours("192.0.2.1:80")


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Guard(DashboardSettings(listen="127.0.0.1:0", token_file=path))
    path.chmod(0o600)
    assert Guard(DashboardSettings(listen="127.0.0.1:0", token_file=path)).needs_token
    path.write_text("short")
    with pytest.raises(ConfigError, match="12 or more"):
        Guard(DashboardSettings(listen="127.0.0.1:0", token_file=path))


def test_a_port_in_use_is_one_sentence(served: Start, tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(DashboardError, match=f"port {port} of 127.0.0.1 is in use.*--dashboard 127"):
            served(listen=f"127.0.0.1:{port}")


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


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"1", b"\xff", b"[" * 4000, b'{"token":7}', b"x" * 9000])
def test_nonsense_in_a_request_is_refused_quietly(served: Start, body: bytes):
    import http.client

    link = http.client.HTTPConnection("127.0.0.1", served(token=TOKEN).port, timeout=10)
    link.request("POST", "/api/enter", body)
    assert link.getresponse().status in (401, 429)


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


@pytest.mark.parametrize(
    ("words", "becomes"),
    [
        ("run --dashboard", "run --dashboard=127.0.0.1:8787"),
        ("run --dashboard config.toml", "run --dashboard=127.0.0.1:8787 config.toml"),
        ("run --dashboard --plain", "run --dashboard=127.0.0.1:8787 --plain"),
        ("run --dashboard :0 config.toml", "run --dashboard :0 config.toml"),
        ("run --dashboard [::1]:80", "run --dashboard [::1]:80"),
        ("run --dashboard=a:1 --dashboard-attack true", "run --dashboard=a:1 --dashboard-attack true"),
    ],
)
def test_the_address_of_the_dashboard_may_be_left_out(words: str, becomes: str):
    assert bare_dashboard(words.split()) == becomes.split()


@pytest.mark.parametrize("listen", ["8787", "host", "a b:1", "127.0.0.1:99999", "http://127.0.0.1:80/", "[zz]:1"])
def test_an_address_that_is_none_says_how_to_write_one(listen: str):
    with pytest.raises(ConfigError, match=r"dashboard\.listen.*write HOST:PORT, e\.g\. 127"):
        load_settings(None, {}, {"dashboard.listen": listen})
    assert load_settings(None, {}, {"dashboard.listen": ":0"}).dashboard.listen == "127.0.0.1:0"
