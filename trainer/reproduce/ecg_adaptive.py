"""Attacks that paper 2 lacks, on the network itself: restarts, larger steps, the margin loss, EOT over placement.

At its budget and beyond it, on evenly spread test records of the first run. ``worst`` counts a record as kept only
where every attack failed; ``constant`` is what the most frequent class scores as an answer to everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluate.intervals import wilson
from trainer.evaluate.metrics import measure
from trainer.reproduce.ecg_cells import Grid
from trainer.reproduce.ecg_nets import NETS

METHODS = ("none", "at", "dist_adt", "adt")
BUDGETS_UV = (10.0, 25.0, 50.0)
RECORDS = 256
# label: registry name and settings; steps are tenths of epsilon where nothing else is said
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "PGD, 5 starts": ("pgd", {"steps": 20, "restarts": 5, "keep": "worst"}),
    "larger steps": ("pgd", {"steps": 20, "step_share": 0.25, "keep": "worst"}),
    "margin loss": ("pgd", {"steps": 50, "loss": "margin", "keep": "worst"}),
    "EOT over placement": ("eot", {"steps": 20, "draws": 4, "gain": 0.0, "noise": 0.0}),
}


def table(grid: Grid, nets: Sequence[str], run: int = 0, records: int = RECORDS) -> dict[str, Any]:
    """Accuracy of each of ``nets`` at each budget under each attack and their worst, with 95 % intervals."""
    n = min(records, len(grid.windows))
    index = np.linspace(0, len(grid.windows) - 1, n).round().astype(np.int64)
    y, classes = grid.windows.y[index], len(grid.windows.spec.labels)
    rows = []
    for net in nets:
        for epsilon in BUDGETS_UV:
            kept, attacks, stuck = np.ones(n, bool), {}, 0
            worst = y.copy()
            for label, (name, settings) in ATTACKS.items():
                cell = grid.attacked_by(run, net, name, {"epsilon": epsilon, **settings}, index)
                answers = np.array(cell["predictions"])
                stuck += cell["stuck"]
                attacks[label] = float(np.mean(answers == y))
                worst = np.where(kept, answers, worst)
                kept &= answers == y
            right = int(kept.sum())
            rows.append(
                {
                    "net": net,
                    "method": NETS[net].label,
                    "epsilon_uv": epsilon,
                    "attacks": attacks,
                    "worst": right / n,
                    "interval": list(wilson(right, n)),
                    "f1": measure(y, worst, classes).macro_f1,
                    "warnings": ["zero_gradient"] if stuck else [],
                }
            )
    return {"n": n, "run": run, "constant": float(np.bincount(y).max() / n), "rows": rows}


def cells_of(data: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table as text."""
    header = ["method", "epsilon, uV", *ATTACKS, "worst", "95 %", "F1"]
    rows = []
    for row in data["rows"]:
        low, high = row["interval"]
        rows.append(
            [
                row["method"] + (" (zero gradients)" if row["warnings"] else ""),
                f"{row['epsilon_uv']:g}",
                *(f"{row['attacks'][label]:.3f}" for label in ATTACKS),
                f"{row['worst']:.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{row['f1']:.3f}",
            ]
        )
    return header, rows
