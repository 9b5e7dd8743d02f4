"""Who gets in to the page, by which address, and what a stranger is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.cli import bare_dashboard
from edge.config import DashboardSettings
from edge.dashboard.guard import Guard
from edge.dashboard.server import DashboardError
from edge.settings import ConfigError, load_settings
from tests.edge.dashboard.rig import Served, serve

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


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"1", b"\xff", b"[" * 4000, b'{"token":7}', b"x" * 9000])
def test_nonsense_in_a_request_is_refused_quietly(served: Start, body: bytes):
    import http.client

    link = http.client.HTTPConnection("127.0.0.1", served(token=TOKEN).port, timeout=10)
    link.request("POST", "/api/enter", body)
    assert link.getresponse().status in (401, 429)


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
