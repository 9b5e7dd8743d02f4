"""A folder and a zip as the same thing: named byte strings, with a cap on each."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from firmware_bridge.errors import RecordingError

# A day of three channels at 1 kHz takes half of this; a zip bomb takes more.
MAX_FILE_BYTES = 1 << 30
# Signals shrink to a half or a tenth; what unpacks to a hundred times its size, and much, was made to.
BOMB_RATIO, BOMB_BYTES = 100, 64 << 20


class Files(Protocol):
    """Files below one root, named by relative POSIX path."""

    source: str

    @property
    def names(self) -> Sequence[str]:
        """Every file."""
        ...

    def read(self, name: str) -> bytes:
        """Content of one file; RecordingError where it cannot be had."""
        ...

    def path(self, name: str) -> Path | None:
        """Where the file lies on disk, if it does."""
        ...


def _too_big(source: str, name: str, size: int) -> RecordingError:
    return RecordingError(f"{source}: {name} has {size} bytes, more than the {MAX_FILE_BYTES} that are read")


class Folder:
    """Files below a folder, or just those given."""

    def __init__(self, root: Path, only: Sequence[str] | None = None) -> None:
        self.source = str(root)
        self._root = root
        self._only = only
        self._names: list[str] | None = None

    @property
    def names(self) -> Sequence[str]:
        if self._names is None:
            self._names = list(self._only) if self._only is not None else sorted(self._walk())
        return self._names

    def _walk(self) -> list[str]:
        found = []
        for folder, folders, files in os.walk(self._root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(folder).relative_to(self._root)
            found += [(below / name).as_posix() for name in files if not name.startswith(".")]
        return found

    def read(self, name: str) -> bytes:
        path = self._root / name
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise _too_big(self.source, name, size)
            return path.read_bytes()
        except OSError as error:
            raise RecordingError(f"{self.source}: cannot read {name}: {error.strerror or error}") from error

    def path(self, name: str) -> Path | None:
        return self._root / name


class Zip:
    """Members of a zip, below the folder that they all share."""

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise RecordingError(f"{path}: not a zip, or cut short ({error})") from error
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror or error}") from error
        members = [
            info for info in self._zip.infolist() if not info.is_dir() and "__MACOSX" not in info.filename
        ]
        root = _common_folder([info.filename for info in members])
        self._members = {info.filename[len(root) :]: info for info in members}

    @property
    def names(self) -> Sequence[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        info = self._members.get(name)
        if info is None:
            raise RecordingError(f"{self.source}: no member {name}")
        if info.file_size > MAX_FILE_BYTES:
            raise _too_big(self.source, name, info.file_size)
        if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
            says = f"unpacks from {info.compress_size} to {info.file_size} bytes: a zip bomb; unpack it yourself"
            raise RecordingError(f"{self.source}: {name} {says}")
        try:
            return self._zip.read(info)
        # RuntimeError: encrypted. NotImplementedError: an unusual compression.
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            raise RecordingError(f"{self.source}: cannot read member {name}: {error}") from error

    def path(self, name: str) -> Path | None:
        del name
        return None


def _common_folder(names: Sequence[str]) -> str:
    parents = [PurePosixPath(name).parent.parts for name in names]
    if not parents:
        return ""
    shared = ""
    for level in zip(*parents, strict=False):
        if len(set(level)) > 1:
            break
        shared += f"{level[0]}/"
    return shared
