"""What can be asked for: datasets, tables, figures, scales; and what the paper printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.errors import EvaluationError
from trainer.reproduce.papers import IOT as PAPER

TABLES = (1, 2, 4)
FIGURES = (4, 6, 7, 8, 10, 11, 12, 14, 15)
EPSILON = 0.1
EXAMPLE = "Coffee"  # the paper's own example in Table 1 and most figures


@dataclass(frozen=True)
class Scale:
    """Everything whose size costs time.

    ``width`` and ``fcn_width``: filters of the first block; ``epochs`` end earlier when the training loss has not
    fallen by ``stop_delta`` for ``stop_after``, and ``settle_steps`` follow; ``precision`` of products in training and
    on the way to an attack; ``best_steps``: optimizer steps of the best defence at least; ``restarts`` of PGD-40 under
    each gradient; ``queries`` of Square; ``large_limit``: series attacked at a budget that must leave none.
    """

    name: str
    width: int
    fcn_width: int
    momentum: float
    epochs: int
    fcn_epochs: int
    stop_after: int
    stop_delta: float
    settle_steps: int
    precision: str
    smallest_batch: int
    best_width: int
    best_front: int
    best_steps: int
    best_epochs: int
    restarts: int
    queries: int
    large_limit: int
    pgd_steps: int = 40
    large_epsilon: float = 3.0
    epsilon: float = EPSILON


SCALES = {
    # The paper's nets and schedules (Fawaz and others 2019), ended on a plateau.
    "full": Scale("full", 64, 128, 0.99, 1500, 2000, 50, 1e-3, 500, "bfloat16", 2, 32, 24, 1500, 120, 3, 300, 64),
    "quick": Scale("quick", 16, 32, 0.9, 30, 30, 0, 1e-4, 0, "bfloat16", 8, 16, 12, 160, 16, 1, 30, 16),
}


@dataclass(frozen=True)
class Wanted:
    """Tables, figures, datasets and seeds of one call."""

    tables: tuple[int, ...]
    figures: tuple[int, ...]
    datasets: tuple[str, ...]
    seeds: int


def wanted(
    tables: Sequence[int], figures: Sequence[int], datasets: Sequence[str], known: Sequence[str], seeds: int
) -> Wanted:
    """Check what was asked for; nothing named means everything, of the paper's datasets that are there.

    Raises:
        EvaluationError: a table, figure or dataset that is not known; lists those that are.
    """
    for kind, asked, there in (("table", tables, TABLES), ("figure", figures, FIGURES)):
        for number in asked:
            if number not in there:
                raise EvaluationError(f"unknown {kind} {number}; known are {', '.join(map(str, there))}")
    for name in datasets:
        if name not in known:
            raise EvaluationError(f"unknown dataset {name!r}; known here are {', '.join(known) or 'none'}")
    if seeds < 1:
        raise EvaluationError(f"--seeds is {seeds}; it must be at least 1")
    chosen = bool(tables or figures)
    names = tuple(dict.fromkeys(datasets)) or tuple(n for n in PAPER if n in known) or tuple(known)
    if not names:
        raise EvaluationError(
            "no dataset: give a folder with NAME/NAME_TRAIN.tsv and NAME/NAME_TEST.tsv in --data"
        )
    return Wanted(
        tuple(sorted(set(tables))) if chosen else TABLES,
        tuple(sorted(set(figures))) if chosen else FIGURES,
        names,
        seeds,
    )


def scaled(name: str, epsilon: float = EPSILON) -> Scale:
    """The scale ``name`` at a budget of ``epsilon`` standard deviations.

    Raises:
        EvaluationError: negative, or not a number.
    """
    if not math.isfinite(epsilon) or epsilon < 0:
        raise EvaluationError(f"--epsilon must be a number of at least 0, not {epsilon}")
    return replace(SCALES[name], epsilon=epsilon)
