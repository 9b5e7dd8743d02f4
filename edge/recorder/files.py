"""The recorder's files as they are written: one open at a time, the oldest removed beyond a size or an age."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from edge.clock import Clock, Steadiness
from edge.recorder.segments import list_segments, segment_path, sync_folder
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.recorder")

LOOK_S = 60.0  # how often files are checked for their age


class Files:
    """At most `cap_bytes`, in files of about `segment_bytes`; `keep_s` 0: no age. Used by one thread."""

    def __init__(
        self, folder: Path, *, cap_bytes: int, segment_bytes: int, keep_s: float, clock: Clock
    ) -> None:
        self._folder, self._cap, self._segment_bytes, self._keep_s = folder, cap_bytes, segment_bytes, keep_s
        self._clock, self._steadiness, self._look_at = clock, Steadiness(clock), 0.0
        self._warn = WarnOnce(log)
        self._fd, self._path, self._size = -1, Path(), 0
        self._sizes = {s.path: s.path.stat().st_size for s in list_segments(folder)}  # oldest first

    @property
    def size_bytes(self) -> int:
        """What all of them take."""
        return sum(self._sizes.values()) + self._size

    def write(self, first: int, data: bytes) -> None:
        """Append and fsync records, of which `first` is the first. Raises OSError: what is there then, nobody knows."""
        for attempt in (1, 2):
            fresh = self._fd < 0
            try:
                if fresh:
                    self._open(first)
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
                os.fdatasync(self._fd)
            except OSError as error:
                # What an fsync that failed has done is unknown: the file is not gone on with.
                self.close()
                if fresh:
                    self._remove(self._path)
                # In another file it may work at once (an error of one block of the disk); not on a full disk.
                if attempt == 1 and not fresh and error.errno not in (errno.ENOSPC, errno.EROFS):
                    continue
                raise
            break
        self._size += len(data)
        if self._size >= self._segment_bytes:
            self.close()

    def close(self) -> None:
        """The next records begin another file."""
        if self._fd < 0:
            return
        try:
            size = os.fstat(self._fd).st_size
            os.close(self._fd)
        except OSError:
            size = self._size
        self._fd = -1
        self._sizes[self._path], self._size = size, 0

    def retire(self) -> None:
        """Remove the oldest beyond the cap, and once a minute those that are too old."""
        total = self.size_bytes
        for path in list(self._sizes):
            if total <= self._cap:
                break
            total -= self._sizes[path]
            self._remove(path)
        now = self._clock.monotonic()
        if self._keep_s and now >= self._look_at:
            self._look_at = now + LOOK_S
            if self._steadiness.stands():
                self._remove_older(self._clock.utc() - self._keep_s)

    def _open(self, first: int) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)  # a disk that was full at the start had no room for it
        path = segment_path(self._folder, first)
        while path.exists():
            # One whose first record was cut off.
            first += 1
            path = segment_path(self._folder, first)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._path, self._size = path, 0
        self._fd = os.open(path, flags, 0o600)
        sync_folder(self._folder)

    def _remove_older(self, oldest: float) -> None:
        for path in list(self._sizes):
            try:
                if path.stat().st_mtime >= oldest:
                    break
            except OSError:
                pass  # gone already
            self._remove(path)

    def _remove(self, path: Path) -> None:
        self._sizes.pop(path, None)
        try:
            path.unlink()
        except OSError as error:
            if error.errno != errno.ENOENT:
                self._warn.warn("remove", "%s: cannot be removed: %s", str(path), error)
