"""Results cell by cell: each is one JSON file, written whole, so that a killed run costs one cell at most."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import TrainingError
from trainer.evaluate.report import write_text

SETTINGS = "settings.json"


class Cells:
    """The cells under ``out``, all of one set of settings.

    Raises:
        TrainingError: the folder holds cells of other settings; names the first that differs.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out = out
        wanted = json.loads(json.dumps(settings))
        file = out / SETTINGS
        if not file.exists():
            write_json(file, wanted)
            return
        kept = _read(file)
        for key in [*wanted, *kept]:
            if kept.get(key) != wanted.get(key):
                raise TrainingError(
                    f"{out}: holds results with {key} {kept.get(key)!r}, now asked for with {wanted.get(key)!r}; "
                    "give another --out"
                )

    def has(self, name: str) -> bool:
        return self._file(name).exists()

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """The cell ``name`` (a path without its ending), computed unless it is there."""
        file = self._file(name)
        if not file.exists():
            write_json(file, compute())
        return _read(file)

    def drop(self, name: str) -> None:
        """Forget a cell that is no longer what it should be."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.out / "cells" / f"{name}.json"


def write_json(file: Path, value: Any) -> None:
    """Write a whole file or none."""
    write_text(file, json.dumps(value, indent=1) + "\n")


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file}: cannot be read ({error}); delete it to have it made again") from error
