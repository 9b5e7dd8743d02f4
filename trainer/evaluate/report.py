"""Rows as a file, as a table on the terminal, and predictions record by record."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import EvaluationError

if TYPE_CHECKING:
    from trainer.evaluate.plan import Trial

COLUMNS = ("target", "attack", "epsilon", "accuracy", "95 % interval", "macro F1", "balanced", "warnings")


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none.

    Raises:
        EvaluationError: the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be written: {error.strerror or error}") from error


def to_json(
    model: str, data: str, seed: int, rows: Sequence[dict[str, Any]], through: str | None = None
) -> str:
    """The evaluation file; ``through`` names the model that the attacks were made on, where it is another.

    ``wavewall`` is the version whose attacks these were.
    """
    head = {"model": model, **({} if through is None else {"through": through})}
    made = {"data": data, "seed": seed, "wavewall": version("wavewall")}
    return json.dumps({**head, **made, "rows": list(rows)}, indent=1) + "\n"


def to_csv(trials: Sequence[Trial], names: Sequence[str], labels: Sequence[str]) -> str:
    """One line a record and trial: record, label, prediction, score, the trial, and the probability of each
    class.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            "record",
            "label",
            "prediction",
            "score",
            "target",
            "attack",
            "epsilon",
            *(f"p_{label}" for label in labels),
        ]
    )
    for trial in trials:
        for i, name in enumerate(names):
            probabilities = trial.probabilities[i]
            best = int(trial.prediction[i])
            writer.writerow(
                [
                    name,
                    labels[int(trial.y[i])],
                    labels[best],
                    f"{probabilities[best]:.6f}",
                    trial.target,
                    trial.attack,
                    f"{trial.epsilon:g}",
                    *(f"{max(0.0, float(p)):.6f}" for p in probabilities),
                ]
            )
    return buffer.getvalue()


def to_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as aligned text."""
    lines = [COLUMNS, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """The row under ``COLUMNS``, as text."""
    budget = f"{row['epsilon']:g} {row['units']}" if row["attack"] != "clean" else ""
    warnings = " ".join(row["warnings"])
    if row["accuracy"] is None:
        return (row["target"], row["attack"], budget, "none", "", "", "", warnings)
    return (
        row["target"],
        row["attack"],
        budget,
        f"{row['accuracy']:.3f}",
        f"{row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}",
        f"{row['macro_f1']:.3f}",
        f"{row['balanced_accuracy']:.3f}",
        warnings,
    )
