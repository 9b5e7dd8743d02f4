"""The model folder: bundles side by side, `active` and `previous` as symlinks, and a small state file.

Every change is one rename of something that is whole and on disk, so that a power cut at any instant leaves the
folder as it was before or as it is after. What a cut leaves behind has a name of its own and is swept away.

    NAME@VERSION-SHA12.bundle   an installed bundle; SHA12 begins the hash that is its identity
    active, previous            symlinks to bundles
    state.json                  which configuration it is about, a running trial, the last outcome
    wanted.json                 what somebody asks the agent to do
    progress.json               how far the agent is with it
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.bundle import MAX_BUNDLE_BYTES, Bundle, parse_bundle
from edge.errors import BundleError, EdgeError

ACTIVE: Final = "active"
PREVIOUS: Final = "previous"
_SUFFIX: Final = ".bundle"
_PART: Final = ".part-"  # what is being written; never read
_STATE, _WANTED, _PROGRESS = "state.json", "wanted.json", "progress.json"
_MAX_JSON: Final = 1 << 16
_FILE = re.compile(r"(?P<ref>[A-Za-z0-9_-]{1,64}@[0-9A-Za-z.+-]{1,64})-(?P<sha>[0-9a-f]{12})\.bundle")


class ModelError(EdgeError):
    """A model that cannot be installed, found or activated; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A bundle in the folder: its file's name, name@version, the beginning of its hash, bytes and what it is."""

    file: str
    ref: str
    sha: str
    bytes: int
    active: bool
    previous: bool


class ModelFolder:
    """One agent's models. Used by the agent and by the command line at once: files are replaced, never edited."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sweep(self) -> None:
        """Remove what a write left behind whose process is gone."""
        for left in self.path.glob(f"{_PART}*") if self.path.is_dir() else ():
            if not _alive(left.name.rpartition("-")[2]):
                with contextlib.suppress(OSError):
                    left.unlink()

    def install(self, data: bytes, *, trusted_key: bytes | None, keep: int) -> str:
        """Check a bundle's bytes and store them; the file's name. Installing what is there changes nothing.

        Raises BundleError (refused), ModelError (no room, no rights).
        """
        bundle = parse_bundle(data, name="the bundle", trusted_key=trusted_key)
        name = file_name(bundle)
        target = self.path / name
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (target.is_file() and target.read_bytes() == data):
                self._tidy(keep - 1)
                self._write(name, data)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot store {name}: {error.strerror or error}") from error
        return name

    def installed(self) -> list[Installed]:
        """Every bundle here, by name."""
        out = []
        active, previous = self.target(ACTIVE), self.target(PREVIOUS)
        for path in sorted(self.path.glob(f"*{_SUFFIX}")) if self.path.is_dir() else ():
            found = _FILE.fullmatch(path.name)
            if found is not None and path.is_file():
                size = path.stat().st_size
                out.append(
                    Installed(path.name, found["ref"], found["sha"], size, path.name == active, path.name == previous)
                )
        return out

    def find(self, text: str) -> str:
        """The file meant by a name, name@version, beginning of a hash or file name. Raises ModelError."""
        have = self.installed()
        matches = [
            one.file
            for one in have
            if text in (one.file, one.ref, one.ref.partition("@")[0])
            or (len(text) >= 4 and one.sha.startswith(text[:12]))
        ]
        if len(matches) == 1:
            return matches[0]
        listed = ", ".join(f"{one.ref} ({one.sha})" for one in have) or "none"
        if matches:
            raise ModelError(f"{text!r} may be {' or '.join(matches)}; give the beginning of its hash")
        raise ModelError(f"{text!r} is not installed; installed are: {listed}")

    def target(self, link: str) -> str | None:
        """The file that `active` or `previous` points to, None where it points to nothing."""
        try:
            name = os.readlink(self.path / link)
        except OSError:
            return None
        return name if _FILE.fullmatch(name) and (self.path / name).is_file() else None

    def point(self, link: str, file: str) -> None:
        """Make a symlink point to a file, in one step."""
        part = self.path / f"{_PART}{link}-{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        part.symlink_to(file)
        os.replace(part, self.path / link)
        self._sync()

    def unpoint(self, link: str) -> None:
        """Take a symlink away."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / link).unlink()
            self._sync()

    def state(self) -> dict[str, Any]:
        """What state.json holds; empty where there is none or it is damaged."""
        return self._read(_STATE)

    def put_state(self, state: Mapping[str, Any]) -> None:
        self._put(_STATE, state)

    def ask(self, wanted: Mapping[str, Any]) -> None:
        """Ask the agent that serves this folder; the latest request counts. Raises ModelError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._put(_WANTED, wanted)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot write there: {error.strerror or error}") from error

    def take(self) -> dict[str, Any] | None:
        """The request that waits, once. Costs one look at the folder where there is none."""
        if not (self.path / _WANTED).exists():
            return None
        wanted = self._read(_WANTED)
        with contextlib.suppress(OSError):
            (self.path / _WANTED).unlink()
        return wanted or None

    def progress(self) -> dict[str, Any]:
        return self._read(_PROGRESS)

    def put_progress(self, facts: Mapping[str, Any]) -> None:
        self._put(_PROGRESS, facts)

    def _tidy(self, most: int) -> None:
        """Remove the oldest bundles that nobody points to, until at most `most` of them are left."""
        idle = [one for one in self.installed() if not (one.active or one.previous)]
        idle.sort(key=lambda one: (self.path / one.file).stat().st_mtime)
        for one in idle[: max(0, len(idle) - max(most, 0))]:
            (self.path / one.file).unlink()

    def _put(self, name: str, facts: Mapping[str, Any]) -> None:
        self._write(name, (json.dumps(facts, indent=1) + "\n").encode())

    def _write(self, name: str, data: bytes) -> None:
        """The file appears whole, and stays after a power cut, or does not appear."""
        part = self.path / f"{_PART}{name}-{os.getpid()}"
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path / name)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            with (self.path / name).open("rb") as file:
                found = json.loads(file.read(_MAX_JSON))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def file_name(bundle: Bundle) -> str:
    """What a bundle is called in the folder."""
    return f"{bundle.manifest.ref}-{bundle.sha256[:12]}{_SUFFIX}"


def read_file(path: Path) -> bytes:
    """A bundle file's bytes. Raises BundleError."""
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise BundleError(f"{path}: larger than {MAX_BUNDLE_BYTES} bytes; give a .bundle file")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return int(pid) != os.getpid()  # our own number from before a restart of the machine or container
