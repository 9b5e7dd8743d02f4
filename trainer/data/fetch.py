"""Fetch the public archives from their own addresses: resumable, checked, unpacked where a loader reads them.

PhysioNet publishes sha256 sums beside its files, so those are fetched first and enforced. The UCR archive
publishes
none: its ZIP is checked member by member (CRC-32) while it is unpacked, and the sha256 found is told. The
ZIP's password is public; its authors print it in their briefing document so that users read that document
once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from trainer.errors import DataError

CHUNK = 1 << 18
TIMEOUT_S = 30.0
MAX_SUMS_BYTES = 8 << 20  # a list of checksums; anything longer is not one
MAX_UNPACKED_BYTES = 8 << 30  # the UCR archive is about 1 GB unpacked; stops a ZIP bomb
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Archive:
    """A public archive: ``files`` below ``base_url``; ``sums`` is its published list of sha256 sums."""

    name: str
    title: str
    base_url: str
    files: tuple[str, ...]
    sums: str | None
    unpack: str
    password: bytes | None = None

    def url(self, file: str) -> str:
        return self.base_url.rstrip("/") + "/" + file


ARCHIVES = {
    archive.name: archive
    for archive in (
        Archive(
            name="cinc2017",
            title="PhysioNet/CinC Challenge 2017, training set (ODC-By 1.0, 99 MB)",
            base_url="https://physionet.org/files/challenge-2017/1.0.0",
            files=("training2017.zip", "REFERENCE-v3.csv"),
            sums="SHA256SUMS.txt",
            unpack="training2017.zip",
        ),
        Archive(
            name="ucr",
            title="UCR Time Series Archive 2018 (128 datasets, 316 MB)",
            base_url="https://www.cs.ucr.edu/~eamonn/time_series_data_2018",
            files=("UCRArchive_2018.zip",),
            sums=None,
            unpack="UCRArchive_2018.zip",
            password=b"someone",
        ),
    )
}


def archive(name: str, base_url: str | None = None) -> Archive:
    """The archive called ``name``, from a mirror when ``base_url`` is given.

    Raises:
        DataError: no such archive.
    """
    if name not in ARCHIVES:
        raise DataError(f"unknown archive {name!r}; choose one of {', '.join(ARCHIVES)}")
    return replace(ARCHIVES[name], base_url=base_url) if base_url else ARCHIVES[name]


def fetch(source: Archive, out: Path, progress: Progress = lambda file, done, total: None) -> Path:
    """Fetch and unpack ``source`` below ``out``; gives the folder that :func:`load_data` reads.

    Files that are already whole are not fetched again; a partial one is continued where the server allows it.

    Raises:
        DataError: offline, refused, cut short, a checksum that differs, or a damaged ZIP (names the address).
    """
    folder = out / source.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error}") from error
    sums = _published_sums(source)
    for file in source.files:
        target = folder / file
        expected = sums.get(file)
        if sums and expected is None:
            raise DataError(f"{source.url(source.sums or '')}: lists no sum for {file}")
        if target.exists() and (expected is None or sha256_of(target) == expected):
            continue
        download(source.url(file), target, progress)
        found = sha256_of(target)
        if expected is not None and found != expected:
            target.unlink()
            raise DataError(
                f"{source.url(file)}: sha256 is {found}, published is {expected}; the file was removed, "
                "fetch again"
            )
    return unpack(folder / source.unpack, folder, source.password)


def download(url: str, target: Path, progress: Progress) -> None:
    """Fetch ``url`` to ``target`` by way of ``target.part``, going on where an earlier attempt stopped.

    The part is only continued when the server still has the same file (its ETag or date, kept beside the
    part).

    Raises:
        DataError: no connection, an HTTP error, or fewer bytes than announced; the part is kept.
    """
    part = target.with_name(target.name + ".part")
    mark = target.with_name(target.name + ".part.json")
    validator = _validator(mark) if part.exists() else None
    start = part.stat().st_size if validator else 0
    headers = {"Range": f"bytes={start}-", "If-Range": validator} if validator and start else {}
    try:
        with _open(url, headers) as response:
            resumed = response.status == 206
            done = start if resumed else 0
            length = response.headers.get("Content-Length")
            total = done + int(length) if length else None
            mark.write_text(json.dumps(response.headers.get("ETag") or response.headers.get("Last-Modified")))
            with part.open("ab" if resumed else "wb") as file:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    progress(target.name, done, total)
                file.flush()
                os.fsync(file.fileno())
    except HTTPError as error:
        if error.code == 416:  # the part is longer than the file: it belongs to another version
            part.unlink(missing_ok=True)
            raise DataError(f"{url}: the part on disk did not fit and was removed; fetch again") from error
        raise DataError(f"{url}: the server answered {error.code} {error.reason}; try again later") from error
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{url}: cannot be fetched ({reason}); check the network or give a mirror with --url, then run "
            "the same "
            "command again: it goes on where it stopped"
        ) from error
    except OSError as error:
        raise DataError(f"{part}: cannot be written: {error}") from error
    if total is not None and done < total:
        raise DataError(f"{url}: ended after {done} of {total} bytes; run the same command again to go on")
    os.replace(part, target)
    mark.unlink(missing_ok=True)


def unpack(file: Path, folder: Path, password: bytes | None) -> Path:
    """Unpack the ZIP below ``folder`` (once) and give the folder that holds its members.

    Raises:
        DataError: not a ZIP, a damaged member, a path that leaves the folder, or more bytes than any archive
            here has.
    """
    try:
        with zipfile.ZipFile(file) as archive_file:
            members = [member for member in archive_file.infolist() if not member.is_dir()]
            for member in members:
                path = PurePosixPath(member.filename)
                if path.is_absolute() or ".." in path.parts:
                    raise DataError(f"{file}: member {member.filename!r} leaves the folder; not unpacked")
            if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise DataError(f"{file}: unpacks to more than {MAX_UNPACKED_BYTES >> 30} GB; not unpacked")
            tops = {PurePosixPath(member.filename).parts[0] for member in members}
            for member in members:
                target = folder / member.filename
                if target.exists() and target.stat().st_size == member.file_size:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(target.name + ".part")
                with archive_file.open(member, pwd=password) as inside, partial.open("wb") as outside:
                    shutil.copyfileobj(inside, outside, CHUNK)
                os.replace(partial, target)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise DataError(f"{file}: damaged: {error}; delete it and fetch again") from error
    except OSError as error:
        raise DataError(f"{folder}: cannot be unpacked: {error}") from error
    inner = folder / tops.pop() if len(tops) == 1 else folder
    for extra in folder.iterdir():  # sums and references that lie beside the ZIP belong beside its members
        if extra.suffix == ".csv" and inner != folder and inner.is_dir():
            shutil.copyfile(extra, inner / extra.name)
    return inner


def sha256_of(file: Path) -> str:
    """The sha256 of a file, hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _published_sums(source: Archive) -> dict[str, str]:
    if source.sums is None:
        return {}
    url = source.url(source.sums)
    try:
        with _open(url, {}) as response:
            text = response.read(MAX_SUMS_BYTES + 1).decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{url}: the published checksums cannot be fetched ({reason}); check the network or give a "
            "mirror with --url"
        ) from error
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    return {parts[1].lstrip("*./"): parts[0].lower() for parts in lines if len(parts) == 2}


def _validator(mark: Path) -> str | None:
    try:
        value = json.loads(mark.read_text())
    except (OSError, ValueError):
        return None
    # a weak ETag promises the same meaning, not the same bytes
    return value if isinstance(value, str) and not value.startswith("W/") else None


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url}: only http and https addresses can be fetched")
    request = Request(url, headers={"User-Agent": "wavewall", **headers})  # noqa: S310  (scheme checked above)
    response: HTTPResponse = urlopen(request, timeout=TIMEOUT_S)  # noqa: S310  # nosec B310
    return response
