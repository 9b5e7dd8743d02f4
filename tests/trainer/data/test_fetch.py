"""Fetching from a local HTTP server: resumed, checked, unpacked, and clear when nothing answers."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainer.data import fetch
from trainer.errors import DataError


class Site:
    """A static site in memory that knows Range and If-Range, and can hang up early."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.cut: int | None = None
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.lstrip("/")
        span = handler.headers.get("Range")
        self.requests.append((name, span))
        if name not in self.files:
            handler.send_error(404)
            return
        body = self.files[name]
        etag = f'"{hashlib.sha256(body).hexdigest()[:12]}"'
        start = 0
        if span and handler.headers.get("If-Range") == etag:
            start = int(span.removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        part = body[start:] if self.cut is None else body[start : self.cut]
        handler.wfile.write(part)
        if self.cut is not None:
            handler.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def cinc(site: Site) -> fetch.Archive:
    body = zip_of({"training2017/A00001.hea": b"A00001 1 300 2\n", "training2017/A00001.mat": bytes(200_000)})
    site.files = {"training2017.zip": body, "REFERENCE-v3.csv": b"A00001,N\n"}
    sums = [f"{hashlib.sha256(content).hexdigest()} {name}" for name, content in site.files.items()]
    site.files["SHA256SUMS.txt"] = ("\n".join(sums) + "\n").encode()
    return fetch.archive("cinc2017", site.url)


def test_fetched_checked_and_unpacked_with_its_reference(site: Site, tmp_path: Path) -> None:
    seen: list[int] = []
    folder = fetch.fetch(cinc(site), tmp_path, lambda file, done, total: seen.append(done))
    assert folder == tmp_path / "cinc2017" / "training2017"
    assert (folder / "A00001.mat").stat().st_size == 200_000
    assert (folder / "REFERENCE-v3.csv").read_bytes() == b"A00001,N\n"
    assert seen
    assert not list(tmp_path.rglob("*.part*"))


def test_whole_files_are_not_fetched_again(site: Site, tmp_path: Path) -> None:
    archive = cinc(site)
    fetch.fetch(archive, tmp_path)
    site.requests.clear()
    fetch.fetch(archive, tmp_path)
    assert site.requests == [("SHA256SUMS.txt", None)]


def test_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    archive = cinc(site)
    site.cut = 70_000
    with pytest.raises(DataError, match="run the same command again"):
        fetch.download(archive.url("training2017.zip"), tmp_path / "t.zip", lambda *_: None)
    kept = (tmp_path / "t.zip.part").stat().st_size
    assert 0 < kept <= 70_000
    site.cut = None
    fetch.download(archive.url("training2017.zip"), tmp_path / "t.zip", lambda *_: None)
    assert site.requests[-1] == ("training2017.zip", f"bytes={kept}-")
    assert (tmp_path / "t.zip").read_bytes() == site.files["training2017.zip"]


def test_starts_anew_when_the_file_has_changed(site: Site, tmp_path: Path) -> None:
    archive = cinc(site)
    site.cut = 70_000
    with pytest.raises(DataError):
        fetch.download(archive.url("training2017.zip"), tmp_path / "t.zip", lambda *_: None)
    site.cut = None
    site.files["training2017.zip"] = b"another file" * 9000
    fetch.download(archive.url("training2017.zip"), tmp_path / "t.zip", lambda *_: None)
    assert (tmp_path / "t.zip").read_bytes() == site.files["training2017.zip"]


def test_a_wrong_checksum_is_refused_and_the_file_removed(site: Site, tmp_path: Path) -> None:
    archive = cinc(site)
    site.files["training2017.zip"] += b"tampered"
    with pytest.raises(DataError, match="sha256 is"):
        fetch.fetch(archive, tmp_path)
    assert not (tmp_path / "cinc2017" / "training2017.zip").exists()


def test_a_list_without_the_file_is_refused(site: Site, tmp_path: Path) -> None:
    archive = cinc(site)
    site.files["SHA256SUMS.txt"] = b"00 other\n"
    with pytest.raises(DataError, match="lists no sum"):
        fetch.fetch(archive, tmp_path)


def test_offline_says_so_and_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(DataError, match=r"cannot be fetched .*--url"):
        fetch.fetch(fetch.archive("ucr", url), tmp_path)
    with pytest.raises(DataError, match="checksums cannot be fetched"):
        fetch.fetch(fetch.archive("cinc2017", url), tmp_path)


def test_absent_file(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="answered 404"):
        fetch.fetch(fetch.archive("ucr", site.url), tmp_path)


def test_a_zip_without_a_published_sum_is_checked_by_its_members(site: Site, tmp_path: Path) -> None:
    site.files["UCRArchive_2018.zip"] = zip_of({"UCRArchive_2018/Coffee/Coffee_TRAIN.tsv": b"1\t1\t2\n"})
    folder = fetch.fetch(fetch.archive("ucr", site.url), tmp_path)
    assert (folder / "Coffee" / "Coffee_TRAIN.tsv").read_bytes() == b"1\t1\t2\n"


@pytest.mark.parametrize("member", ["../evil", "/evil", "a/../../evil"])
def test_members_that_leave_the_folder_are_refused(tmp_path: Path, member: str) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of({member: b"x"}))
    with pytest.raises(DataError, match="leaves the folder"):
        fetch.unpack(tmp_path / "x.zip", tmp_path / "out", None)
    assert not (tmp_path / "evil").exists()


def test_a_damaged_zip_is_told(tmp_path: Path) -> None:
    body = bytearray(zip_of({"a/b": b"0123456789" * 100}))
    body[60] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(body)
    with pytest.raises(DataError, match="damaged"):
        fetch.unpack(tmp_path / "x.zip", tmp_path, None)


def test_only_http(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only http and https"):
        fetch.fetch(fetch.archive("ucr", "file:///etc"), tmp_path)
    with pytest.raises(DataError, match="unknown archive"):
        fetch.archive("mnist")
