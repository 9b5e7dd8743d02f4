"""`edge-agent model pull`: a real HTTP server that knows ETag and Range, breaks off, changes its file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.bundle import signing
from edge.cli.commands import app
from edge.errors import BundleError
from edge.models import pull
from edge.models.folder import ModelError
from tests.edge.models.parts import bundle

BODY = bytes(range(256)) * 400


class Server:
    """Files by path; `break_after` ends the next answers after so many bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.break_after: list[int] = []
        self.asked: list[tuple[str, str | None, int]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *args: object) -> None:
        self.of = server
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        body = self.of.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        etag = f'"{sha256(body).hexdigest()[:12]}"'
        first, status = 0, 200
        if self.headers.get("If-None-Match") == etag:
            status = 304
        elif self.headers.get("Range") and self.headers.get("If-Range") == etag:
            first, status = int(self.headers["Range"].split("=")[1].rstrip("-")), 206
        self.of.asked.append((self.path, self.headers.get("Range"), status))
        self.send_response(status)
        self.send_header("ETag", etag)
        if status == 304:
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        stop = self.of.break_after.pop(0) if self.of.break_after else len(body)
        self.wfile.write(body[first : first + stop])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def fetched(server: Server, folder: Path, name: str = "/a.bundle") -> bytes | None:
    came = pull.fetch(server.url + name, folder, sleep=lambda seconds: None)
    if came is None:
        return None
    path, etag = came
    pull.done(server.url + name, folder, etag)
    return path.read_bytes()


def test_comes_once_and_again_when_it_changed(server: Server, tmp_path: Path):
    server.files["/a.bundle"] = BODY
    assert fetched(server, tmp_path) == BODY
    assert fetched(server, tmp_path) is None
    server.files["/a.bundle"] = BODY[::-1]
    assert fetched(server, tmp_path) == BODY[::-1]
    assert [status for _, _, status in server.asked] == [200, 304, 200]


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    server.files["/a.bundle"] = BODY
    server.break_after = [1000, 2000, 0, 5000]
    assert fetched(server, tmp_path) == BODY
    assert [asked for _, asked, _ in server.asked] == [
        None, "bytes=1000-", "bytes=3000-", "bytes=3000-", "bytes=8000-"]  # fmt: skip


def test_what_came_stays_for_the_next_call(server: Server, tmp_path: Path):
    server.files["/a.bundle"] = BODY
    server.break_after = [100] * 5
    with pytest.raises(ModelError, match=r"ended after 500 of 102400 bytes; what came is kept"):
        fetched(server, tmp_path)
    assert fetched(server, tmp_path) == BODY
    assert server.asked[-1][1:] == ("bytes=500-", 206)


def test_a_file_that_changed_in_between_begins_anew(server: Server, tmp_path: Path):
    server.files["/a.bundle"] = BODY
    server.break_after = [100] * 5
    with pytest.raises(ModelError):
        fetched(server, tmp_path)
    server.files["/a.bundle"] = BODY[::-1]
    assert fetched(server, tmp_path) == BODY[::-1]
    assert server.asked[-1][2] == 200


def test_what_a_server_may_not_do(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ModelError, match="404"):
        fetched(server, tmp_path, "/none.bundle")
    for url in ("file:///etc/passwd", "ftp://host/x.bundle", "x.bundle"):
        with pytest.raises(ModelError, match="not an address of an HTTP server"):
            pull.fetch(url, tmp_path)
    monkeypatch.setattr(pull, "MAX_BUNDLE_BYTES", 1000)
    server.files["/a.bundle"] = BODY
    with pytest.raises(ModelError, match="no bundle is larger"):
        fetched(server, tmp_path)


def test_a_rollout_reaches_the_share_of_nodes_it_names(server: Server):
    url = f"{server.url}/fleet/rollout.json"
    server.files["/fleet/rollout.json"] = json.dumps({"bundle": "v2.bundle", "percent": 25}).encode()
    rollout = pull.read_rollout(url)
    assert rollout == pull.Rollout(f"{server.url}/fleet/v2.bundle", 25.0)
    nodes = [f"gateway-{n}" for n in range(2000)]
    first = {node for node in nodes if pull.turn(node, rollout.bundle_url) < 25}
    assert 0.22 < len(first) / len(nodes) < 0.28
    # who was in stays in when the share grows; another bundle begins with other nodes
    assert first < {node for node in nodes if pull.turn(node, rollout.bundle_url) < 50}
    other = {node for node in nodes if pull.turn(node, rollout.bundle_url + "3") < 25}
    assert len(first & other) < 0.5 * len(first)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"bundle": 1, "percent": 5}', '{"bundle": "x", "percent": 101}',
     '{"bundle": "x", "percent": true}', '{"bundle": "file:///x", "percent": 5}'],
)  # fmt: skip
def test_a_bad_rollout_file_is_refused(server: Server, text: str):
    server.files["/r.json"] = text.encode()
    with pytest.raises(ModelError):
        pull.read_rollout(f"{server.url}/r.json")


def test_the_command_installs_what_is_signed_and_nothing_else(server: Server, tmp_path: Path):
    private, public = tmp_path / "k", tmp_path / "k.pub"
    signing.generate_keys(private, public)
    plain = bundle(tmp_path / "plain.bundle", turned=None)
    signed = bundle(tmp_path / "signed.bundle", turned=None, signing_key=signing.load_private_key(private))
    server.files |= {"/signed.bundle": signed.read_bytes(), "/plain.bundle": plain.read_bytes()}
    server.files["/r.json"] = json.dumps({"bundle": "signed.bundle", "percent": 0}).encode()
    at = ["--node-state-dir", str(tmp_path / "state"), "--node", "n1"]
    run = CliRunner().invoke
    assert isinstance(run(app, ["model", "pull", f"{server.url}/signed.bundle", *at]).exception, ModelError)
    keyed = [*at, "--bundle-key", str(public)]
    refused = run(app, ["model", "pull", f"{server.url}/plain.bundle", *keyed])
    assert isinstance(refused.exception, BundleError)
    assert "not this node's turn" in run(app, ["model", "pull", f"{server.url}/r.json", *keyed]).output
    server.files["/r.json"] = json.dumps({"bundle": "signed.bundle", "percent": 100}).encode()
    assert "installed tiny@" in run(app, ["model", "pull", f"{server.url}/r.json", *keyed]).output
    assert "nothing new" in run(app, ["model", "pull", f"{server.url}/r.json", *keyed]).output
    listed = json.loads(run(app, ["model", "list", "--json", *keyed]).output)
    assert [one["ref"].split("@")[0] for one in listed["installed"]] == ["tiny"]
    assert not list((tmp_path / "state").rglob("pull/*.bundle"))
