"""Results as JSON lines: to a file or to standard output."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from edge.delivery.sinks.base import SinkError, SinkGone
from edge.events import Message


class FileSink:
    """Appends to a file; one write a batch. A batch that broke off half-way is cut away before it is tried again.

    sync: fsync each batch, so that what has left the spool is on the disk. max_bytes: then the file becomes PATH.1, and
    the one of that name before it goes; so does one that was last written `keep_s` ago. 0: never.
    """

    kind = "file"

    def __init__(self, path: Path, *, sync: bool = False, max_bytes: int = 0, keep_s: float = 0.0) -> None:
        self._sync, self._max_bytes, self._keep_s = sync, max_bytes, keep_s
        self.name = f"file {path}"
        self._path = path
        self._fd = -1
        self._whole: int | None = None  # length up to which the file is known to be whole

    def open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            size = os.fstat(self._fd).st_size
            if self._whole is not None and size > self._whole:
                os.ftruncate(self._fd, self._whole)
            self._whole = min(size, self._whole) if self._whole is not None else size
        except OSError as error:
            self.close()
            raise SinkError(self._says(error)) from error

    def write(self, results: Sequence[Message]) -> None:
        data = "".join(result.to_json() + "\n" for result in results).encode("utf-8")
        assert self._whole is not None
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
            if self._sync:
                os.fdatasync(self._fd)
            self._whole += len(data)
            self._retire()
        except OSError as error:
            raise SinkError(self._says(error)) from error

    def _retire(self) -> None:
        old = self._path.with_name(self._path.name + ".1")
        if self._max_bytes and self._whole is not None and self._whole >= self._max_bytes:
            os.replace(self._path, old)
            self.close()
            self._whole = None
            self.open()
        if self._keep_s and old.exists() and old.stat().st_mtime < time.time() - self._keep_s:
            old.unlink()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _says(self, error: OSError) -> str:
        hints = {
            errno.ENOENT: "its folder does not exist; create it or change the sink's path",
            errno.EACCES: "no permission to write there; change the owner or the sink's path",
            errno.EROFS: "the file system is read-only; change the sink's path",
            errno.ENOSPC: "the disk is full; free some space",
            errno.EISDIR: "it is a folder; name a file",
        }
        return hints.get(error.errno or 0, error.strerror or str(error))


class StdoutSink:
    """Prints to standard output."""

    kind = "stdout"
    name = "stdout"

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out

    def open(self) -> None:
        pass

    def write(self, results: Sequence[Message]) -> None:
        out = self._out or sys.stdout
        try:
            out.write("".join(result.to_json() + "\n" for result in results))
            out.flush()
        except BrokenPipeError as error:
            # What is still buffered must not raise a second time when the interpreter ends.
            if out is sys.stdout:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SinkGone("nobody reads standard output any more") from error
        except OSError as error:
            raise SinkError(f"standard output: {error.strerror or error}") from error

    def close(self) -> None:
        pass
