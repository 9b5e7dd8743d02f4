"""Paper 2's Table 6 for shipped bundles: boundary windows made on one network, put to others.

``python -m trainer.zoo.boundary ecg-rhythm ecg-rhythm-nano --through ecg-undefended --data DATA --json FILE``

Every ordered pair of classes gives ``--per-pair`` random pairs of test records; from those that the float twin of
``--through`` names rightly, the boundary attack walks to windows that it takes for the other class. Counted is how
many of these each bundle's float twin and its file still name rightly. Departure: one undefended network where the
paper takes the sets of five.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from edge.pipeline.classify import Classifier
from trainer.attacks.boundary import PER_PAIR, BoundarySet, Walk, decisions, make_set
from trainer.cells import write_json
from trainer.data.registry import load_data
from trainer.errors import EvaluationError, TrainerError
from trainer.evaluate.intervals import share_of
from trainer.evaluate.metrics import measure
from trainer.evaluate.scope import check_through
from trainer.evaluate.subject import Subject, open_subject
from trainer.evaluate.targets import DeviceTarget, FloatTarget, Target
from trainer.evaluate.windows import choose, fit

SEED = 0


def answers(subject: Subject, made: BoundarySet) -> list[dict[str, Any]]:
    """Accuracy with its 95 % interval, mean F1 and balanced accuracy of the float twin and of the file."""
    assert subject.bundle is not None
    targets: list[Target] = [FloatTarget(subject.twin), DeviceTarget(Classifier(subject.bundle))]
    rows = []
    for target in targets:
        said = target.probabilities(made.x, made.valid).argmax(-1)
        found = measure(made.y, said, len(subject.spec.labels))
        share = share_of(found.correct, found.n)
        rows.append(
            {
                "model": subject.name,
                "target": target.name,
                "attack": "boundary",
                "n": found.n,
                "accuracy": share.share,
                "accuracy_low": share.low,
                "accuracy_high": share.high,
                "macro_f1": found.macro_f1,
                "balanced_accuracy": found.balanced_accuracy,
                "fooled_alike": int((said == made.target).sum()),
            }
        )
    return rows


def boundary_rows(
    names: Sequence[str], through: str, data: Path, *, per_pair: int, queries: int, limit: int | None
) -> dict[str, Any]:
    """The set made on ``through``, and what each of ``names`` says of it.

    Raises:
        TrainerError: a model or the data cannot be used.
    """
    source, subjects = open_subject(through), [open_subject(name) for name in names]
    for subject in subjects:  # the walk takes long: what cannot be asked is told before it
        check_through(subject, source)
        if subject.bundle is None:
            raise EvaluationError(
                f"{subject.name}: a run folder has no file to ask; export it, and give the bundle"
            )
        _ = subject.twin
    windows = fit(choose(load_data(data).part("test"), None, limit), source.spec)
    told = [0]

    def progress(done: int, total: int) -> None:
        if done - told[0] >= total // 20:
            told[0] = done
            sys.stderr.write(f"{done} of {total} queries a record\n")

    walk = replace(Walk(), queries=queries)
    made = make_set(
        decisions(source.twin), windows, per_pair=per_pair, walk=walk, seed=SEED, progress=progress
    )
    if not len(made.y):
        raise EvaluationError(
            f"{through}: the walk reached no other class from {made.tried} pairs; take more records"
        )
    return {
        "through": source.name,
        "queries": queries,
        "per_pair": per_pair,
        "seed": SEED,
        "pairs": made.tried,
        "windows": len(made.y),
        "mean_l2": float(made.distance.mean()),
        "rows": [row for subject in subjects for row in answers(subject, made)],
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.zoo.boundary", description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--through", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--per-pair", type=int, default=PER_PAIR)
    parser.add_argument("--queries", type=int, default=Walk().queries)
    parser.add_argument("--limit", type=int, help="only so many of the test records, for a trial")
    a = parser.parse_args(argv)
    try:
        found = boundary_rows(
            a.names, a.through, a.data, per_pair=a.per_pair, queries=a.queries, limit=a.limit
        )
        for row in found["rows"]:  # told first: where the file cannot be written, the walk is not lost
            low, high = row["accuracy_low"], row["accuracy_high"]
            sys.stdout.write(
                f"{row['model']} {row['target']}: {row['accuracy']:.3f} ({low:.3f} to {high:.3f}), "
                f"F1 {row['macro_f1']:.3f} of {row['n']}\n"
            )
        write_json(a.json, found)
    except (EdgeError, TrainerError) as error:
        sys.stderr.write(f"boundary: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
