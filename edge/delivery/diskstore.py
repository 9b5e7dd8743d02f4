"""The SQLite file in which results wait: one for all sinks, written in groups by one thread.

WAL and synchronous FULL: a group is on the disk when its commit returns. Together with the results goes the mark up to
where the recorder's samples are answered, so that after a crash nothing is missing. A file that is damaged is set aside
with its -wal and -shm; what it held is answered again from the recorder.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.clock import SYSTEM_CLOCK, Clock, Steadiness
from edge.recorder.record import Mark
from edge.recorder.segments import sync_folder
from edge.types import rfc3339
from edge.warnings_once import WarnOnce

if TYPE_CHECKING:
    from edge.delivery.diskspool import DiskSpool

log = logging.getLogger("edge.delivery")

NAME = "spool.db"
# Of a damaged file, SQLite may quote what is no text, and Python fails to read the message.
FAULTS = (sqlite3.Error, UnicodeDecodeError)
PAGE_BYTES = 4096
RETRY_S = 2.0
EXPIRE_LOOK_S = 60.0
UNKNOWN_KEY = 1 << 48  # keys begin here where the file's are not known: no run comes that far
KEEP_BAD = 3  # damaged files that are kept to be looked at
WAL_PAGES = 250  # a checkpoint every megabyte
_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
  sink INTEGER NOT NULL, key INTEGER NOT NULL, stream TEXT NOT NULL, queued REAL NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (sink, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mark (one INTEGER PRIMARY KEY CHECK (one = 1), answered INTEGER, needed INTEGER);
"""


Row = tuple[int, int, str, float, bytes]  # sink, key, stream, queued at (UTC seconds), JSON


@dataclass(frozen=True)
class Changes:
    """What one spool wants to be written: rows, keys that are delivered, how many of the oldest have to go."""

    rows: list[Row]
    gone: list[int]
    excess: int

    def __bool__(self) -> bool:
        return bool(self.rows or self.gone or self.excess)


class DiskStore:
    """`commit` by one thread (`run`), `load` from the sinks' threads."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 64 << 20,
        commit_s: float = 1.0,
        keep_s: float = 0.0,
        progress: Callable[[], Mark | None] = lambda: None,
        on_safe: Callable[[Mark], None] = lambda mark: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path, self._max_bytes, self._commit_s = folder / NAME, max_bytes, commit_s
        self.heads: Callable[[], str] = str  # of the chain, where there is one
        self._told_heads = ""
        self._keep_s, self._expire_at, self._steadiness = keep_s, 0.0, Steadiness(clock)
        self._progress, self._on_safe, self._clock = progress, on_safe, clock
        self._warn = WarnOnce(log)
        self._lock = threading.Lock()  # around the connection
        self._wake = threading.Event()
        self._stopping = False
        self._db: sqlite3.Connection | None = None
        self._retry_at = 0.0
        self._told: Mark | None = None
        self._pending: tuple[Mark, list[int]] | None = None
        self._safe: Mark | None = None
        self._held: Mark | None = None
        self.spools: list[DiskSpool] = []
        self.error = ""
        self.commits = 0
        self.quarantined = 0
        self.heads_before = ""
        self._opened = False
        self.mark = self._open_first()

    def _open_first(self) -> Mark | None:
        """Where the last run had come to; None in a new file."""
        try:
            mark = self._open()
        except (*FAULTS, OSError) as error:
            self._failed(error)
            return None
        self._opened = True
        return mark

    def attach(self, spool: DiskSpool) -> None:
        """Another sink's spool."""
        self.spools.append(spool)

    def counts(self, sink: int) -> tuple[int, int]:
        """How many results of a sink the file holds, and the last key."""
        with self._lock:
            if self._db is None:
                return 0, UNKNOWN_KEY
            try:
                row = self._db.execute(
                    "SELECT count(*), coalesce(max(key), 0) FROM waiting WHERE sink = ?", (sink,)
                ).fetchone()
            except FAULTS as error:
                self._failed(error)
                return 0, UNKNOWN_KEY
            return int(row[0]), int(row[1])

    def load(self, sink: int, after: int, before: int, most: int) -> list[tuple[int, float, bytes]]:
        """(key, queued at, body) of the oldest results with after < key < before; [] where it cannot be read."""
        with self._lock:
            if self._db is None:
                return []
            try:
                return self._db.execute(
                    "SELECT key, queued, body FROM waiting WHERE sink = ? AND key > ? AND key < ? "
                    "ORDER BY key LIMIT ?",
                    (sink, after, before, most),
                ).fetchall()
            except FAULTS as error:
                self._failed(error)
                return []

    def run(self) -> None:
        """Commit every `commit_s` until `stop`, then once more."""
        while not self._stopping:
            self._wake.wait(self._commit_s)
            self.commit()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def commit(self) -> bool:
        """Bring the file up to date; False where that failed, and results stay in memory."""
        if time.monotonic() < self._retry_at and not self._stopping:
            return False
        mark = self._held or self._progress()  # before the results: they are at least as new
        heads = self.heads()
        with self._lock:
            try:
                if self._db is None:
                    self._open()
                    if not self._opened:
                        self._adopt()
                self._expire()
                changes = [spool.changes() for spool in self.spools]
                if mark != self._told or heads != self._told_heads or any(changes):
                    self._write(mark, heads, changes)
            except (*FAULTS, OSError) as error:
                self._failed(error)
                return False
        if self.error:
            self.error = ""
            self._warn.recovered("write", "%s: results are kept on the disk again", self._path)
        self._tell_safe(mark)
        return True

    def status(self) -> dict[str, object]:
        """Facts for `health`."""
        return {
            "kind": "spool",
            "file": str(self._path),
            "error": self.error,
            "commits": self.commits,
            "quarantined": self.quarantined,
        }

    def close(self) -> None:
        with self._lock:
            self._close()

    def _adopt(self) -> None:
        """The file could not be read at the start: what it holds of an earlier run is the spools' from now on."""
        assert self._db is not None
        self._opened = True
        for spool in self.spools:
            query = "SELECT count(*) FROM waiting WHERE sink = ? AND key < ?"
            spool.adopt(int(self._db.execute(query, (spool.sink, UNKNOWN_KEY)).fetchone()[0]))

    def _write(self, mark: Mark | None, heads: str, changes: Sequence[Changes]) -> None:
        assert self._db is not None
        db = self._db
        dropped: list[list[bytes]] = []
        db.execute("BEGIN IMMEDIATE")
        try:
            for spool, change in zip(self.spools, changes, strict=True):
                keys = [(spool.sink, key) for key in change.gone]
                db.executemany("DELETE FROM waiting WHERE sink = ? AND key = ?", keys)
                dropped.append(self._drop_oldest(db, spool.sink, change.excess))
                db.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?)", change.rows)
            if mark is not None and mark != self._told:
                db.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?)", (mark.answered, mark.needed))
            if heads != self._told_heads:
                db.execute("INSERT OR REPLACE INTO heads VALUES (1, ?)", (heads,))
            db.execute("COMMIT")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.commits += 1
        self._told, self._told_heads = mark, heads
        for spool, change, bodies in zip(self.spools, changes, dropped, strict=True):
            spool.committed(change, bodies)

    def _expire(self) -> None:
        """Once a minute, by the spools' own way of giving up the oldest: counted, and with tombstones."""
        now = self._clock.monotonic()
        if not self._keep_s or now < self._expire_at or self._db is None:
            return
        self._expire_at = now + EXPIRE_LOOK_S
        if not self._steadiness.stands():
            return
        query = "SELECT count(*) FROM waiting WHERE sink = ? AND queued < ?"
        for spool in self.spools:
            row = self._db.execute(query, (spool.sink, self._clock.utc() - self._keep_s)).fetchone()
            spool.give_up_oldest(int(row[0]))

    @staticmethod
    def _drop_oldest(db: sqlite3.Connection, sink: int, count: int) -> list[bytes]:
        """The results that had to go."""
        if not count:
            return []
        rows = db.execute(
            "SELECT key, body FROM waiting WHERE sink = ? ORDER BY key LIMIT ?", (sink, count)
        ).fetchall()
        db.executemany("DELETE FROM waiting WHERE sink = ? AND key = ?", [(sink, row[0]) for row in rows])
        return [row[1] for row in rows]

    def _tell_safe(self, mark: Mark | None) -> None:
        """Once everything up to a mark has left, the recorder may know: then a lost file costs no result."""
        if mark is None or self._held is not None:
            return
        if self._pending is None:
            self._pending = (mark, [spool.next_key for spool in self.spools])
        safe, keys = self._pending
        if all(spool.oldest_key() >= key for spool, key in zip(self.spools, keys, strict=True)):
            self._pending = None
            if safe != self._safe:
                self._safe = safe
                self._on_safe(safe)

    def _open(self) -> Mark | None:
        """Open or make the file. Raises sqlite3.Error."""
        try:
            return self._open_once()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise
            self._quarantine(error)
            return self._open_once()

    def _open_once(self) -> Mark | None:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            db.execute(f"PRAGMA max_page_count = {max(64, self._max_bytes // PAGE_BYTES)}")
            db.execute("PRAGMA cache_size = -512")
            db.executescript(_SCHEMA)
            check = db.execute("PRAGMA quick_check(1)").fetchone()
            if check[0] != "ok":
                raise sqlite3.DatabaseError(f"malformed: {check[0]}")
            row = db.execute("SELECT answered, needed FROM mark").fetchone()
            heads = db.execute("SELECT body FROM heads").fetchone()
        except BaseException:
            db.close()
            raise
        self._db = db
        self.heads_before = "" if heads is None else str(heads[0])
        sync_folder(self._path.parent)  # the file's name is to last, too
        return None if row is None else Mark(int(row[0]), int(row[1]))

    def _quarantine(self, error: Exception) -> None:
        """Set the file aside with its -wal and -shm: one without the others is of no use, and would spoil a new one."""
        stamp = rfc3339(self._clock.utc()).replace(":", "")
        for suffix in ("", "-wal", "-shm"):
            path = self._path.with_name(self._path.name + suffix)
            if path.exists():
                path.rename(self._path.with_name(f"{self._path.name}.bad-{stamp}{suffix}"))
        self.quarantined += 1
        log.error("%s: damaged (%s); set aside as %s.bad-%s", self._path, error, NAME, stamp)
        bad = sorted(self._path.parent.glob(f"{NAME}.bad-*Z"))
        for old in bad[: max(0, len(bad) - KEEP_BAD)]:
            for suffix in ("", "-wal", "-shm"):
                old.with_name(old.name + suffix).unlink(missing_ok=True)

    def _failed(self, error: Exception) -> None:
        """Results go on from memory. The connection is given up: what it holds in its caches is not to be trusted."""
        damage = _is_damage(error)
        self._close()
        if damage:
            try:
                self._quarantine(error)
            except OSError as other:
                log.error("%s: cannot be set aside: %s", self._path, other)
            self._told = self._pending = None
            if sum(spool.lost_file() for spool in self.spools):
                # What went with the file is answered again from the recorder, at the next start.
                self._held = self._held or self._safe or Mark(0, 0)
        self._retry_at = 0.0 if damage else time.monotonic() + RETRY_S
        self.error = f"{self._path}: {error}; results wait in memory"
        self._warn.warn("write", "%s (trying again every %g s)", self.error, RETRY_S)

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error:
                pass


def _is_damage(error: Exception) -> bool:
    if isinstance(error, UnicodeDecodeError):
        return True
    text = str(error)
    return "malformed" in text or "not a database" in text or "file is encrypted" in text
