"""The figures of paper 2: F1 of each class and their mean (eq. 12), performance drop, mean over runs.

The mean F1 of eq. 12 is ``metrics.Metrics.macro_f1`` where every class occurs; where one neither occurs nor is ever
answered its F1 is 0 / 0 and it is left out, as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.errors import EvaluationError
from trainer.evaluate.metrics import f1_per_class


def f1_by_label(confusion: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """Table 1's F1 of each class: 2 x hits / (records of the class + answers of the class); NaN for 0 / 0.

    Args:
        confusion: (class, class), rows the true class, as in an evaluation row.
    """
    return dict(zip(labels, map(float, f1_per_class(np.asarray(confusion))), strict=True))


def performance_drop(clean: float, attacked: float) -> float:
    """Share of the clean figure that the attack takes away, (clean - attacked) / clean; below 0 where it rose.

    The paper prints drops without a formula. Relative to the clean figure is the one reading under which its
    Tables 2 to 5 agree on the clean accuracy of each method: for no defence .4256 at 50.69 % and .3906 at
    54.80 % give .863 and .864, where a difference in points would put it at .93 and .94.

    Raises:
        EvaluationError: a clean figure of 0, which has nothing to lose.
    """
    if clean <= 0:
        raise EvaluationError("performance drop: the clean figure is 0")
    return (clean - attacked) / clean


@dataclass(frozen=True)
class Spread:
    """Mean and sample deviation (divisor n - 1) over ``n`` runs; the deviation of one run is NaN."""

    mean: float
    deviation: float
    n: int


def over_runs(values: Sequence[float]) -> Spread:
    """Mean and deviation of one figure over independent trainings.

    Raises:
        EvaluationError: no value.
    """
    if not values:
        raise EvaluationError("no run to take a mean over")
    array = np.asarray(values, np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else float("nan")
    return Spread(float(array.mean()), deviation, len(array))


def drops(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy and macro F1 of every attacked row of one evaluation, with their drops from its clean row.

    Raises:
        EvaluationError: a target without a clean row; add ``clean`` to the attacks.
    """
    clean = {row["target"]: row for row in rows if row["attack"] == "clean"}
    found = []
    for row in rows:
        if row["attack"] == "clean":
            continue
        if row["target"] not in clean:
            raise EvaluationError(f"{row['target']}: no clean row to drop from; add clean to the attacks")
        whole = clean[row["target"]]
        figures: dict[str, Any] = {key: row[key] for key in ("target", "attack", "epsilon")}
        for key in ("accuracy", "macro_f1"):
            attacked = row[key]  # None where the gradient was zero
            figures[key] = attacked
            figures[f"{key}_drop"] = None if attacked is None else performance_drop(whole[key], attacked)
        found.append(figures)
    return found
