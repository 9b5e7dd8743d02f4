"""Messages on standard error: for people on a terminal, without colours or codes."""

from __future__ import annotations

import logging
import sys


def set_up(level: str) -> None:
    """One handler; the libraries below speak from warning on."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    for name in ("edge", "firmware_bridge"):
        logging.getLogger(name).setLevel(level.upper())
