"""Recorder, spool file and recovery of one state folder, as the agent uses them.

    folder/lock            held while an agent runs
    folder/samples/*.seg   the flight recorder
    folder/spool.db        results that wait
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.bundle import InputSpec
from edge.clock import Clock
from edge.config import DeliverySettings, DurabilitySettings, PipelineSettings
from edge.delivery.diskspool import DiskSpool
from edge.delivery.diskstore import DiskStore
from edge.delivery.spool import Spool
from edge.metrics import Metrics
from edge.recorder.record import Mark, Recorded
from edge.recorder.recovery import Found, Progress, find, owed, unread
from edge.recorder.tracks import Tracks
from edge.recorder.writer import Recorder
from edge.settings import ConfigError
from edge.types import SampleBlock

log = logging.getLogger("edge.durability")

MOST_ATTEMPTS = 20
# A result of the agent's takes about 900 bytes in the file; with so many a row its pages always suffice.
ROW_BYTES = 2048


# A disk that is full, read-only or failing is no reason not to start: results go on from memory.
_DISK = frozenset({errno.EROFS, errno.ENOSPC, errno.EIO, errno.EDQUOT})


def lock_folder(folder: Path) -> int:
    """Make the folder and hold its lock; the descriptor is the lock, -1 where the disk does not let us have one.

    Raises ConfigError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _open_lock(folder / "lock")
        if fd < 0:
            return fd
    except OSError as error:
        raise ConfigError(
            f"durability.folder {folder}: {error.strerror}; name a folder that can be written", key="durability.folder"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise ConfigError(
            f"durability.folder {folder} is in use by a running agent; stop it, or name another folder",
            key="durability.folder",
        ) from error
    return fd


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _DISK:
            raise
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # one of an earlier run
    except OSError:
        log.error("%s: cannot be made; going on without", path)
        return -1


class Durability:
    """What outlasts a crash. Threads are the agent's: `parts` says what to run, `stop_*` end them."""

    def __init__(
        self,
        settings: DurabilitySettings,
        folder: Path,
        delivery: DeliverySettings,
        pipeline: PipelineSettings,
        spec: InputSpec,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._delivery, self._clock, self._settings, self._folder = delivery, clock, settings, folder
        self._lock = lock_folder(folder)
        self._order = threading.Lock()
        self.recorder: Recorder | None = None
        self._progress: Progress | None = None
        self._found: Found | None = None
        self.store = DiskStore(
            folder,
            max_bytes=settings.spool_mb << 20,
            commit_s=settings.commit_s,
            keep_s=settings.keep_days * 86_400.0,
            progress=self._mark,
            on_safe=self._safe,
            clock=clock,
        )
        if settings.record:
            samples = folder / "samples"
            tracks = Tracks(spec.window_samples / spec.rate_hz)
            try:
                samples.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                if error.errno not in _DISK:
                    raise ConfigError(
                        f"durability.folder: {samples}: {error.strerror}; free or repair it, or name another",
                        key="durability.folder",
                    ) from error
            self._found = self._look(samples, tracks)
            self._progress = Progress(spec, pipeline.stream_idle_s, self._found.mark.answered)
            self.recorder = Recorder(
                samples,
                tracks,
                metrics,
                next_number=self._found.next_number,
                sync_s=settings.sync_s,
                cap_bytes=settings.recorder_mb << 20,
                segment_bytes=max(1 << 20, (settings.recorder_mb << 20) // 32),
                keep_s=settings.keep_days * 86_400.0,
                clock=clock,
            )

    def _look(self, samples: Path, tracks: Tracks) -> Found:
        try:
            return find(samples, self.store.mark, tracks)
        except OSError as error:
            log.error("%s: cannot be read (%s); what an earlier run owes waits there", samples, error)
            return unread(samples)

    def spool(self, sink: int) -> Spool:
        """The spool of the sink with this number in the configuration."""
        return DiskSpool(
            self.store,
            sink,
            max(1, (self._settings.spool_mb << 20) // ROW_BYTES),
            self._delivery.overflow,
            memory_cap=self._delivery.spool_results,
            live_s=self._delivery.historical_after_s,
            historical_share=self._delivery.historical_share,
            clock=self._clock,
        )

    def accept(
        self,
        block: SampleBlock,
        aligned: bool,
        on_accepted: Callable[[], None] | None,
        put: Callable[[int], None],
    ) -> None:
        """Record a block and `put` it, with its number, in the same order; `on_accepted` once it is on the disk."""
        if self.recorder is None:
            put(0)
            if on_accepted is not None:
                on_accepted()
            return
        assert self._progress is not None  # there is one where there is a recorder
        with self._order:
            number = self.recorder.append(block, aligned, on_accepted)
            self._progress.begun(number)
            put(number)

    def done(self, number: int, block: SampleBlock) -> None:
        """Every window that this record completes is with the spools."""
        if self._progress is not None and number:
            self._progress.done(number, block, self._clock.monotonic())

    def owed(self) -> Iterator[tuple[Recorded, bool, bool]]:
        """What an earlier run recorded: record, whether its windows are still owed, whether it is old by now."""
        if self._found is None:
            return
        answers = self._attempt(1)
        for recorded, is_owed in owed(self._found):
            age_s = self._clock.utc() - recorded.arrival
            yield recorded, is_owed and answers, not 0.0 <= age_s <= self._delivery.historical_after_s
        self._attempt(0)
        self._found = None  # from here on, marks say where this run is

    def _attempt(self, count: int) -> bool:
        """Whether what is owed may be answered: not when that has ended the process again and again (a fault in native
        code cannot be caught). 0: it is done.
        """
        path = self._folder / "recovering"
        try:
            if not count:
                path.unlink(missing_ok=True)
                return True
            made = 1 + (int(path.read_text() or 0) if path.exists() else 0)
            path.write_text(str(made))
        except (OSError, ValueError):
            return True
        if made <= MOST_ATTEMPTS:
            return True
        log.error("%d starts did not survive what was recorded before; its windows are left out", made - 1)
        return False

    def parts(self) -> list[tuple[str, Callable[[], None]]]:
        """Names and bodies of the threads."""
        parts: list[tuple[str, Callable[[], None]]] = [("spool", self.store.run)]
        if self.recorder is not None:
            parts.append(("recorder", self.recorder.run))
        return parts

    def tick(self) -> None:
        """Call it several times a second."""
        if self.recorder is not None:
            self.recorder.tick()

    def status(self) -> list[dict[str, object]]:
        """Facts for `health`."""
        out = [self.store.status()]
        if self.recorder is not None:
            out.append(self.recorder.status())
        return out

    def stop_recorder(self) -> None:
        if self.recorder is not None:
            self.recorder.stop()

    def close(self) -> None:
        """After the threads have ended."""
        self.store.close()
        if self._lock >= 0:
            os.close(self._lock)

    def _mark(self) -> Mark | None:
        if self._progress is None:
            return None
        if self._found is not None:
            return None  # what an earlier run owes comes first
        return self._progress.mark(self._clock.monotonic())

    def _safe(self, mark: Mark) -> None:
        if self.recorder is not None:
            self.recorder.mark(mark)
