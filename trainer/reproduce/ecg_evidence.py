"""What a folder of ``trainer reproduce ecg`` knows, record by record, without the data or the networks.

Figures are of all runs together: each record counts once for every run that has the cell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.cells import SETTINGS, write_json
from trainer.errors import TrainingError
from trainer.evaluate.metrics import measure
from trainer.reproduce.ecg_cells import UNDEFENDED, Shot

RECORDS = "records.json"


def keep_records(out: Path, names: Sequence[str], y: np.ndarray, labels: Sequence[str]) -> None:
    """Note which records the cells are about, and their true classes."""
    write_json(out / RECORDS, {"labels": list(labels), "names": list(names), "y": y.tolist()})


class Evidence:
    """The finished cells under ``out``.

    Raises:
        TrainingError: ``out`` holds no results of ``trainer reproduce ecg``.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        records = self._read(out / RECORDS)
        self.settings = self._read(out / SETTINGS)
        if records is None or self.settings is None:
            raise TrainingError(
                f"{out}: no results here; make them with: trainer reproduce ecg --data ZIP --out {out}"
            )
        self.names: list[str] = records["names"]
        self.y, self.labels = np.array(records["y"]), list(records["labels"])
        self.runs = sorted(int(p.name[3:]) for p in (out / "cells").glob("run*") if p.name[3:].isdigit())

    def answers(self, net: str, shot: Shot | None, situation: str = "II") -> list[np.ndarray]:
        """For each run that has it the answer to every record; ``shot`` None is the clean record."""
        found = []
        for run in self.runs:
            if situation == "I" and shot is not None and net != UNDEFENDED:
                cell = self._read(self.out / "cells" / f"run{run}" / "through" / f"{shot.name}.json")
                answers = None if cell is None else cell["predictions"].get(net)
            else:
                name = "clean" if shot is None else shot.name
                cell = self._read(self.out / "cells" / f"run{run}" / net / f"{name}.json")
                answers = None if cell is None else cell["predictions"]
            if answers is not None:
                found.append(np.array(answers))
        return found

    def right(self, net: str, shot: Shot | None, situation: str = "II") -> np.ndarray | None:
        """(run, record) bool: answered rightly; None where no run has the cell."""
        found = self.answers(net, shot, situation)
        return np.stack([answers == self.y for answers in found]) if found else None

    def f1(self, net: str, shot: Shot | None, situation: str = "II") -> list[float]:
        """Mean F1 (eq. 12) of each run."""
        return [measure(self.y, a, len(self.labels)).macro_f1 for a in self.answers(net, shot, situation)]

    def boundary(self) -> dict[str, np.ndarray]:
        """Table 6: for each net whether it had each of the attack's windows right, all runs together."""
        parts: dict[str, list[np.ndarray]] = {}
        for run in self.runs:
            cell = self._read(self.out / "cells" / f"run{run}" / "boundary.json")
            for net, answers in (cell or {"predictions": {}})["predictions"].items():
                if net != UNDEFENDED and cell and cell["y"]:
                    parts.setdefault(net, []).append(np.array(answers) == np.array(cell["y"]))
        return {net: np.concatenate(part) for net, part in parts.items()}

    @staticmethod
    def _read(file: Path) -> Any:
        if not file.exists():
            return None
        try:
            value: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{file}: cannot be read ({error}); delete it to have it made again"
            ) from error
        return value
