"""Cross-validation of paper 2's methods: every training and validation record is attacked once, by nets without it.

One folder a fold below ``out/folds``, each a run of its own (``trainer.reproduce.ecg``); the test part stays out. A
fold is the records' own (by name), and serves as "validation" in its run's history, which decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.cells import SETTINGS, write_json
from trainer.data.splits import fold_of, without_fold
from trainer.evaluate.intervals import wilson
from trainer.evaluate.metrics import measure
from trainer.evaluate.report import write_text
from trainer.reproduce import ecg_report
from trainer.reproduce.ecg import Parts, Target, Tell, reproduce
from trainer.reproduce.ecg_cells import PGD_SHOT, SAP_SHOT, Shot
from trainer.reproduce.ecg_evidence import Evidence
from trainer.reproduce.ecg_nets import NETS

ATTACKS: dict[str, Shot | None] = {"clean": None, "SAP": SAP_SHOT, "PGD": PGD_SHOT}
Spread = Callable[[Target, int, Path], None]


def parts_of(parts: Parts, folds: int, fold: int) -> Parts:
    """(the other folds, this fold, this fold) of the training and validation records."""
    training, validation, _ = parts
    pool = training.joined(validation)
    held = pool.take(np.flatnonzero([fold_of(name, folds) == fold for name in pool.names]))
    return without_fold(pool, folds, fold), held, held


def cross_validate(
    target: Target, parts: Parts, data: str, out: Path, folds: int, tell: Tell, spread: Spread | None = None
) -> list[dict[str, Any]]:
    """Make every fold's networks and attacks (situation II), then ``folds.json`` and ``folds.md``; gives the rows.

    They join the report of the run that ``out`` holds, if it holds one. ``spread`` shares a fold's work over processes
    before it is assembled here.

    Raises:
        TrainerError: as :func:`trainer.reproduce.ecg.reproduce`.
    """
    one = replace(target, runs=1, tables=(3, 5), figures=(), figure1=False, ablation=False, adaptive=False)
    below = out / "folds"
    for fold in range(folds):
        folder = below / f"fold{fold}"
        if spread is not None:
            spread(one, fold, folder)
        reproduce(one, parts_of(parts, folds, fold), data, folder, lambda line, k=fold: tell(f"fold {k + 1}: {line}"))
    rows = table([Evidence(below / f"fold{fold}") for fold in range(folds)], target.nets)
    write_json(below / "folds.json", {"folds": folds, "n": rows[0]["n"], "rows": rows})
    write_text(below / "folds.md", markdown(rows, folds))
    if (out / SETTINGS).exists():
        ecg_report.write(out)
    return rows


def table(folds: Sequence[Evidence], nets: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each net and attack: accuracy over all records with its interval, F1, and each fold's accuracy."""
    y = np.concatenate([evidence.y for evidence in folds])
    rows = []
    for net in nets:
        for attack, shot in ATTACKS.items():
            answers = [evidence.answers(net, shot)[0] for evidence in folds]
            found = measure(y, np.concatenate(answers), len(folds[0].labels))
            right = round(found.accuracy * len(y))
            rows.append(
                {
                    "net": net,
                    "method": NETS[net].label,
                    "attack": attack,
                    "n": len(y),
                    "accuracy": found.accuracy,
                    "interval": list(wilson(right, len(y))),
                    "f1": found.macro_f1,
                    "by_fold": [float(np.mean(a == e.y)) for a, e in zip(answers, folds, strict=True)],
                }
            )
    return rows


def markdown(rows: Sequence[Mapping[str, Any]], folds: int) -> str:
    """The rows as text."""
    lines = [f"## {folds} folds, situation II", "", f"{rows[0]['n']} records, each attacked by nets without it.", ""]
    lines += ["| method | attack | accuracy | 95 % interval | by fold | F1 |", "|---|---|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"]
        spread = f"{min(row['by_fold']):.3f} to {max(row['by_fold']):.3f}"
        lines.append(
            f"| {row['method']} | {row['attack']} | {row['accuracy']:.4f} | {low:.3f} to {high:.3f} | {spread} | "
            f"{row['f1']:.4f} |"
        )
    return "\n".join(lines) + "\n"
