"""What another command wrote as JSON, read for a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.errors import ExportError


def read(file: Path, command: str) -> dict[str, Any]:
    """The object in ``file``, which ``command`` wrote.

    Raises:
        ExportError: it cannot be read, or holds something else; names the file and the command.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{file}: not the JSON of `{command}`: {error}") from error
    if not isinstance(found, dict):
        raise ExportError(f"{file}: not the JSON of `{command}`")
    return found
