"""What an evaluation can say: plans that cannot be, budgets past the signal, classes that no record has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.base import Windows
from trainer.errors import EvaluationError
from trainer.evaluate import standard
from trainer.evaluate.plan import CLEAN, TARGETS, Plan
from trainer.evaluate.subject import Subject


def reach(windows: Windows) -> float:
    """How far the signal goes from its middle, in the windows' units: the median over records of the largest distance.

    A budget of that size can make any record of any other.
    """
    found = []
    for x, valid in zip(windows.x, windows.valid, strict=True):
        used = x[valid]
        found.append(float(np.abs(used - np.median(used, axis=0)).max()) if len(used) else 0.0)
    return float(np.median(found))


def missing_labels(windows: Windows) -> tuple[str, ...]:
    """Classes of the model that none of the records has."""
    present = set(windows.y.tolist())
    return tuple(label for i, label in enumerate(windows.spec.labels) if i not in present)


def limits(subject: Subject) -> dict[str, float | None]:
    """What the joint attack stays below: the thresholds in the bundle's manifest; none without a bundle."""
    if subject.bundle is None:
        return {}
    decision = subject.bundle.manifest.decision
    return {
        "residual": decision.suspect_residual,
        "disagreement": decision.suspect_disagreement,
        "score": decision.abstain_score,
    }


def needing_gradients(names: Sequence[str]) -> tuple[str, ...]:
    """Of these attacks, those that a model without a float twin cannot have."""
    from trainer.attacks.registry import ATTACKS

    return tuple(name for name in names if name in ATTACKS and ATTACKS[name].gradient != "none")


def check(subject: Subject, plan: Plan, through: Subject | None = None) -> None:
    """Refuse a plan before any work is done.

    Raises:
        EvaluationError: an unknown target, an int8 target without an int8 file, attacks without a budget, or
            an attack made through a model of other windows or classes.
        AttackError: an unknown attack or a budget that is none.
    """
    for target in plan.targets:
        if target not in TARGETS:
            raise EvaluationError(f"unknown target {target!r}; choose float, int8, file or both")
    if set(plan.targets) & {"int8", "file"} and subject.device is None and subject.foreign is None:
        raise EvaluationError(
            f"{subject.name}: a run has no int8 file; make one with `trainer export`, or use --target float"
        )
    if "int8" in plan.targets and subject.quantization != "int8":
        raise EvaluationError(
            f"{subject.name}: its file is quantized as {subject.quantization!r}, not int8; export it with "
            "--quantize int8, or use --target file"
        )
    if through is not None:
        check_through(subject, through)
    named = [name for name in plan.attacks if name != CLEAN]
    if not named:
        return
    if not plan.epsilons:
        raise EvaluationError("attacks need a budget: give --epsilon in the data's units")
    if standard.NAME in named and plan.ball:
        raise EvaluationError(
            f"'{standard.NAME}' is one suite for all: without --norm, --bounds and --quantum; name attacks one by one"
        )
    from trainer.attacks.registry import make

    for name in named:
        for epsilon in plan.epsilons:
            given = {**plan.ball, **plan.settings.get(name, {})}
            make("pgd" if name == standard.NAME else name, epsilon=epsilon, **given)


def check_through(subject: Subject, through: Subject) -> None:
    """Refuse to put windows made on ``through`` to ``subject`` where they take others."""
    for key in ("units", "rate_hz", "window_samples", "channels", "labels"):
        own, other = getattr(subject.spec, key), getattr(through.spec, key)
        if own != other:
            raise EvaluationError(
                f"{through.name}: {key} is {other}, that of {subject.name} is {own}; attacks made on one do not fit "
                "the other"
            )
