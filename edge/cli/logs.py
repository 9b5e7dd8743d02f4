"""Messages on standard error: lines for people, JSON objects where systemd's journal (or a container's) reads them."""

from __future__ import annotations

import json
import logging
import os
import sys

from edge.types import rfc3339


def set_up(level: str, format: str = "auto") -> None:
    """One handler; the libraries below speak from warning on. `format` is text, json, or auto: JSON under systemd."""
    handler = logging.StreamHandler(sys.stderr)
    if format == "json" or (format == "auto" and _is_journal()):
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("edge", "firmware_bridge"):
        logging.getLogger(name).setLevel(level.upper())


class JsonLines(logging.Formatter):
    """One object a line; `times` says how often a repeated warning has come, `error` holds a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = {
            "t": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        times = getattr(record, "times", None)
        if times is not None:
            facts["times"] = times
        if record.exc_info:
            facts["error"] = self.formatException(record.exc_info)
        return json.dumps(facts, separators=(",", ":"))


def _is_journal() -> bool:
    """systemd names the journal's socket by device and inode; standard error may have been redirected since."""
    try:
        device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
        found = os.fstat(sys.stderr.fileno())
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False
