"""Windows that the model could not take, kept as files with the reason: bounded, private, never in the way.

The files hold samples: their folder is for the agent's user alone, and the oldest go first.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from pathlib import Path

import numpy as np

from edge.names import to_name
from edge.types import Window, rfc3339

log = logging.getLogger("edge.quarantine")

MAX_FILES = 100
MAX_BYTES = 64 << 20


class Quarantine:
    """`put` from one thread. A disk that is full or read-only costs the file, not the agent."""

    def __init__(self, folder: Path, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._max_files, self._max_bytes = max_files, max_bytes

    def put(self, window: Window, error: Exception, model: str, utc_s: float) -> Path | None:
        """Keep the window as .npz: values, valid and `about`, a JSON text. Gives the file, None where there is none."""
        about = {
            "t": rfc3339(utc_s),
            "model": model,
            "stream": window.stream,
            "epoch": window.epoch,
            "first_index": window.first_index,
            "t0": window.t0,
            "rate_hz": window.rate_hz,
            "reason": f"{type(error).__name__}: {error}"[:500],
            "traceback": "".join(traceback.format_exception(error))[-4000:],
        }
        # The same window again, after a restart, is the same file.
        name = to_name(f"{window.stream}-{window.epoch}-{window.first_index}")
        path = self.folder / f"{name}.npz"
        part = path.with_suffix(".part")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                np.savez(file, values=window.values, valid=window.valid, about=np.array(json.dumps(about)))
            os.replace(part, path)
            self._make_room()
        except OSError as failed:
            log.error("poison window of stream %s could not be kept: %s", window.stream, failed)
            return None
        return path

    def _make_room(self) -> None:
        files = sorted(
            (path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.glob("*.npz")
        )
        size = sum(each for _, each, _ in files)
        while len(files) > self._max_files or (size > self._max_bytes and len(files) > 1):
            _, gone, path = files.pop(0)
            size -= gone
            path.unlink(missing_ok=True)
