"""What came of an evaluation as the rows of its JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.evaluate.checks import Outcome, warnings_of
from trainer.evaluate.intervals import wilson
from trainer.evaluate.metrics import measure
from trainer.evaluate.plan import CLEAN, Trial


def rows_of(trials: Sequence[Trial], units: str) -> list[dict[str, Any]]:
    """The JSON rows of the trials, with masking warnings; figures are null where the gradient was zero."""
    outcomes = [trial.outcome() for trial in trials]
    return [_row(t, outcome, trials, outcomes, units) for t, outcome in zip(trials, outcomes, strict=True)]


def _detected(trial: Trial, trials: Sequence[Trial]) -> dict[str, int]:
    """Records that the attack turned (right in the clean row, where there is one), and how many of them unnoticed."""
    clean = next((t for t in trials if t.attack == CLEAN and t.target == trial.target), None)
    turned = trial.prediction != trial.y
    if clean is not None:
        turned &= clean.prediction == clean.y
    assert trial.noticed is not None
    return {"turned": int(turned.sum()), "unnoticed": int((turned & ~trial.noticed).sum())}


def _row(
    trial: Trial, outcome: Outcome, trials: Sequence[Trial], outcomes: Sequence[Outcome], units: str
) -> dict[str, Any]:
    metrics = measure(trial.y, trial.prediction, trial.probabilities.shape[1])
    low, high = wilson(metrics.correct, metrics.n)
    figures = {
        "accuracy": metrics.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": metrics.macro_f1,
        "balanced_accuracy": metrics.balanced_accuracy,
        "confusion": metrics.confusion.tolist(),
    }
    return {
        "target": trial.target,
        "attack": trial.attack,
        "epsilon": trial.epsilon,
        "units": units,
        "n": metrics.n,
        **(dict.fromkeys(figures) if trial.refused else figures),
        "steps": trial.about["steps"],
        "step_size": trial.about["step_size"],
        "restarts": trial.about["restarts"],
        "gradient": trial.about["gradient"],
        **{key: trial.about[key] for key in ("suite", "ball", "settings") if key in trial.about},
        **({"detector": _detected(trial, trials)} if trial.attack == "joint" and trial.noticed is not None else {}),
        "warnings": warnings_of(outcome, outcomes),
    }
