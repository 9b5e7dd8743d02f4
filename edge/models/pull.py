"""A bundle from an HTTP server: only when it changed (ETag), from where a broken download stopped (Range), and only
on this node's turn (a rollout file). What comes is installed like any other file; the signature is what is trusted.

A rollout file, for a URL that ends in .json: ``{"bundle": "NAME.bundle", "percent": 25}``; `bundle` is relative to it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from edge.bundle import MAX_BUNDLE_BYTES
from edge.models.folder import ModelError

_CHUNK: Final = 1 << 16
_MAX_ROLLOUT: Final = 1 << 14
_TIMEOUT_S: Final = 30.0
# A board behind a bad link: each try goes on where the last one stopped.
_TRIES: Final = 5
_PAUSE_S: Final = 1.0


@dataclass(frozen=True)
class Rollout:
    """Which bundle, for how many percent of the nodes."""

    bundle_url: str
    percent: float


def turn(node: str, bundle_url: str) -> float:
    """Where a node stands between 0 and 100. Another bundle has another order, so that nobody is always the first."""
    digest = hashlib.sha256(f"{node}\n{bundle_url}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * 100.0 / 2.0**64


def read_rollout(url: str) -> Rollout:
    """The rollout file at `url`; a URL of a bundle is a rollout for all. Raises ModelError."""
    _check(url)
    if not urlsplit(url).path.endswith(".json"):
        return Rollout(url, 100.0)
    try:
        with _open(url, {}) as answer:
            raw = answer.read(_MAX_ROLLOUT + 1)
        found: Any = json.loads(raw[:_MAX_ROLLOUT])
        bundle, percent = found["bundle"], found["percent"]
        if not isinstance(bundle, str) or isinstance(percent, bool) or not 0 <= float(percent) <= 100:
            raise ValueError
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{url}: {_why(error)}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f'{url}: not a rollout file; write {{"bundle": "NAME.bundle", "percent": 25}}'
        ) from error
    bundle_url = urljoin(url, bundle)
    _check(bundle_url)
    return Rollout(bundle_url, float(percent))


def fetch(
    url: str, folder: Path, *, tries: int = _TRIES, sleep: Callable[[float], None] = time.sleep
) -> tuple[Path, str] | None:
    """(the whole file in `folder`, its ETag), or None where it is what was noted with `done`. Raises ModelError.

    A part that came stays in `folder` and the next call goes on from there, if the server still has the same file.
    """
    _check(url)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    part, note = folder / f"{name}.part", folder / f"{name}.json"
    error: Exception = ModelError("not tried")
    for attempt in range(tries):
        if attempt:
            sleep(_PAUSE_S * 2.0 ** (attempt - 1))
        try:
            etag = _download(url, part, note)
        except urllib.error.HTTPError as answer:
            if answer.code == 304:
                return None
            if answer.code == 416:  # the part is longer than the file is now
                part.unlink(missing_ok=True)
            elif answer.code < 500:
                raise ModelError(f"{url}: the server answers {answer.code} {answer.reason}") from answer
            error = answer
        except (OSError, http.client.HTTPException) as lost:
            error = lost
        else:
            return part.replace(folder / f"{name}.bundle"), etag
    raise ModelError(f"{url}: {_why(error)}; what came is kept, the next try goes on from there") from error


def done(url: str, folder: Path, etag: str) -> None:
    """Note that the file with this ETag has been installed: `fetch` gives None until there is another."""
    _put(folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json", {"url": url, "installed": etag})


def _download(url: str, part: Path, note: Path) -> str:
    """Append to `part` until the file is whole; its ETag."""
    noted = _get(note)
    have = part.stat().st_size if part.is_file() else 0
    headers: dict[str, str] = {}
    if have and noted.get("part"):
        headers = {"Range": f"bytes={have}-", "If-Range": str(noted["part"])}
    elif noted.get("installed"):
        headers = {"If-None-Match": str(noted["installed"])}
    with _open(url, headers) as answer:
        etag = answer.headers.get("ETag") or ""
        if answer.status != 206:
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        if total is not None and total > MAX_BUNDLE_BYTES:
            raise ModelError(f"{url}: {total} bytes; no bundle is larger than {MAX_BUNDLE_BYTES}")
        # A weak ETag does not promise the same bytes: without a strong one a broken download begins anew.
        _put(note, {**noted, "url": url, "part": "" if etag.startswith("W/") else etag})
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(_CHUNK):
                have += len(chunk)
                if have > MAX_BUNDLE_BYTES:
                    raise ModelError(f"{url}: longer than {MAX_BUNDLE_BYTES} bytes; no bundle is")
                file.write(chunk)
    if total is not None and have != total:
        raise OSError(f"the connection ended after {have} of {total} bytes")
    return etag


def _open(url: str, headers: Mapping[str, str]) -> Any:
    # _check has refused everything but http and https, and no handler for others is there.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler, urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=_TIMEOUT_S)  # noqa: S310


def _check(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ModelError(f"{url}: not an address of an HTTP server; write https://HOST/NAME.bundle")


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error) or type(error).__name__


def _get(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes()[:_MAX_ROLLOUT])
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _put(path: Path, facts: Mapping[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(facts), encoding="utf-8")
    os.replace(fresh, path)
