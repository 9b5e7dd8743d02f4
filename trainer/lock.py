"""One process a folder: what two would write into each other's hands, one holds alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import TrainingError

FILE = ".lock"  # stays when its holder goes; the system lets go of the lock itself, however the holder ended


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is there, for this process.

    Raises:
        TrainingError: another process holds it, or it cannot be written.
    """
    import fcntl

    try:
        fd = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot be written: {error.strerror}; choose a folder you own"
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"{folder}: another process trains there; wait for it or end it, then add --resume"
            ) from error
        yield
    finally:
        os.close(fd)
