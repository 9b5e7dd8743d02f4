"""Rows of earlier evaluations: those on a bundle's card and those of files, with where each comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.errors import EvaluationError
from trainer.evaluate.subject import Subject

NEEDED = ("target", "attack", "epsilon", "units", "n", "accuracy", "accuracy_low", "accuracy_high", "confusion")
Row = dict[str, Any]


def read(file: Path) -> dict[str, Any]:
    """The JSON of one ``trainer evaluate``.

    Raises:
        EvaluationError: it cannot be read, or is something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{file}: cannot be read: {error}") from error
    if not isinstance(found, dict) or "model" not in found or not isinstance(found.get("rows"), list):
        raise EvaluationError(f"{file}: not the JSON of `trainer evaluate`; it has no model and rows")
    return found


def rows_of(subject: Subject, files: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Rows about ``subject`` of the card and of ``files`` (by name); of two for one cell that of more records.

    Each row gets ``source``, ``data`` and ``seed``. Rows made through another model, in another ball than that of
    L-infinity or with settings of their own are left out: they are another situation.

    Raises:
        EvaluationError: a file's row lacks a key, or is in another unit than the model's.
    """
    documents = dict(files)
    card = subject.bundle.card.get("evaluation") if subject.bundle is not None else None
    if isinstance(card, dict) and card.get("model") == subject.name:
        documents = {"card": card, **documents}
    best: dict[tuple[Any, ...], Row] = {}
    for name, document in documents.items():
        if document["model"] != subject.name or "through" in document:
            continue
        for row in document["rows"]:
            _check(row, subject, name)
            if row["accuracy"] is None or "ball" in row or "settings" in row:
                continue
            key = (row["target"], row["attack"], float(row["epsilon"]))
            if key not in best or row["n"] >= best[key]["n"]:
                more = {"source": name, "data": document.get("data", ""), "seed": document.get("seed", 0)}
                best[key] = {**row, **more}
    return list(best.values())


def check_used(files: Mapping[str, Mapping[str, Any]], subjects: Sequence[Subject]) -> None:
    """Refuse a file that is about none of the bundles: leaving it out silently would hide a wrong version.

    Raises:
        EvaluationError: names the file, its model and the bundles.
    """
    names = [subject.name for subject in subjects]
    for name, document in files.items():
        if document["model"] not in names:
            raise EvaluationError(f"{name}: is about {document['model']}, not about {' or '.join(names)}")


def _check(row: Any, subject: Subject, name: str) -> None:
    missing = [key for key in NEEDED if not isinstance(row, dict) or key not in row]
    if missing:
        raise EvaluationError(f"{name}: a row lacks {', '.join(missing)}; make it again with `trainer evaluate`")
    if row["units"] != subject.spec.units:
        raise EvaluationError(f"{name}: budgets are in {row['units']}, {subject.name} takes {subject.spec.units}")
