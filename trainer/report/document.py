"""The content of ``report.json``: everything that the page and the pictures show, and nothing beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.data.base import Dataset, Windows
from trainer.evaluate.calibration import calibration_error, error_interval, reliability
from trainer.evaluate.plan import CLEAN, Plan, Trial
from trainer.evaluate.rows import rows_of
from trainer.evaluate.runner import Runner, describe
from trainer.evaluate.scope import needing_gradients
from trainer.evaluate.subject import Subject
from trainer.evaluate.targets import FloatTarget
from trainer.evaluate.windows import choose, fit
from trainer.report import detector, stored

SCHEMA = "wavewall.report/1"
HERE = "this report"
STEPS = (0.2, 0.5, 1.0, 2.0, 5.0)  # budgets of the curves, in units of the base: 2 to 50 uV
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What is computed where no stored row has it: ``attacks`` at ``epsilons`` on ``limit`` records of ``split``.

    ``base`` is the budget at which tables, confusions and records are shown, ``epsilons`` those of the curves; where
    they are None each bundle's unit decides.
    """

    attacks: tuple[str, ...]
    limit: int
    epsilons: tuple[float, ...] | None = None
    base: float | None = None
    split: str = "test"
    seed: int = 0

    def base_of(self, units: str) -> float:
        """10 uV, as in both papers' main tables, or a tenth of a standard deviation."""
        return self.base if self.base is not None else 10.0 if units == "uV" else 0.1

    def budgets(self, units: str) -> tuple[float, ...]:
        base = self.base_of(units)
        given = self.epsilons if self.epsilons is not None else tuple(round(base * step, 9) for step in STEPS)
        return tuple(sorted({*given, base}))


def make(
    subjects: Sequence[Subject],
    files: Mapping[str, Mapping[str, Any]],
    data: Dataset | None,
    wanted: Wanted,
    tell: Tell = lambda stage, done, total: None,
) -> dict[str, Any]:
    """The report on ``subjects``; without ``data`` only what is stored.

    Raises:
        EvaluationError: files of other bundles, or records that do not fit a bundle.
    """
    stored.check_used(files, subjects)
    return {
        "schema": SCHEMA,
        "data": None if data is None else f"{data.spec.name}/{wanted.split}",
        "seed": wanted.seed,
        "limit": wanted.limit,
        "interval": "95 %",
        "bundles": [_bundle(subject, stored.rows_of(subject, files), data, wanted, tell) for subject in subjects],
    }


def _bundle(
    subject: Subject, rows: list[stored.Row], data: Dataset | None, wanted: Wanted, tell: Tell
) -> dict[str, Any]:
    base = wanted.base_of(subject.spec.units)
    nothing: dict[str, list[Any]] = {"notes": [], "reliability": [], "detector": [], "examples": []}
    found = {**_facts(subject), "base": base, "rows": rows, **nothing}
    if data is None:
        found["notes"].append("No data was given: only figures of earlier evaluations are shown.")
        return _sorted(found)
    whole = fit(data, subject.spec)
    few = fit(choose(data, None, wanted.limit), subject.spec)
    measured = _Measured(subject, whole, few, wanted, tell)
    found["rows"] = rows + measured.rows(rows, data.spec.name)
    found["reliability"] = measured.reliability()
    found["notes"] += measured.notes
    if subject.twin_at is not None:
        found["detector"], found["examples"] = measured.detector()
        found["reliability"] += measured.attacked_reliability
    return _sorted(found)


def _facts(subject: Subject) -> dict[str, Any]:
    assert subject.bundle is not None
    manifest, card = subject.bundle.manifest, subject.bundle.card
    decision = manifest.decision
    model = card.get("model")
    parameters = model.get("parameters") if isinstance(model, dict) else None
    return {
        "bundle": manifest.ref,
        "sha256": subject.bundle.sha256,
        "labels": list(manifest.labels),
        "units": manifest.input.units,
        "rate_hz": manifest.input.rate_hz,
        "window_samples": manifest.input.window_samples,
        "quantization": manifest.quantization,
        "parameters": parameters,
        "model_bytes": len(subject.bundle.model),
        "thermometer_levels": len(manifest.thermometer.thresholds) if manifest.thermometer else 0,
        "suspect_residual": decision.suspect_residual,
        "suspect_disagreement": decision.suspect_disagreement,
        "abstain_score": decision.abstain_score,
        "intended_use": str(card.get("intended_use", "the card does not say")),
    }


class _Measured:
    """What is computed for one bundle."""

    def __init__(self, subject: Subject, whole: Windows, few: Windows, wanted: Wanted, tell: Tell) -> None:
        assert subject.device is not None
        self.subject, self.whole, self.few, self.wanted, self.tell = subject, whole, few, wanted, tell
        self.base, self.budgets = wanted.base_of(subject.spec.units), wanted.budgets(subject.spec.units)
        self.notes: list[str] = []
        self.attacked_reliability: list[dict[str, Any]] = []
        self.file = "int8" if subject.quantization == "int8" else "file"
        tell(f"{subject.name}: clean", 0, 1)
        self.clean = detector.look(subject.device, whole.x, whole.valid)
        self.by_float = None
        if subject.twin_at is not None:
            self.by_float = FloatTarget(subject.twin).probabilities(whole.x, whole.valid)
        tell(f"{subject.name}: clean", 1, 1)

    def rows(self, there: Sequence[stored.Row], data: str) -> list[stored.Row]:
        """Rows for the cells that ``there`` lacks: clean ones on all records, the others on ``limit`` of them."""
        have = {(row["target"], row["attack"], float(row["epsilon"])) for row in there}
        w, targets = self.wanted, self.subject.targets
        trials = [t for t in self._clean_trials() if (t.target, CLEAN, 0.0) not in have]
        for attack in w.attacks:
            if attack == CLEAN:
                continue
            lacking = tuple(e for e in self.budgets if any((t, attack, e) not in have for t in targets))
            if not lacking:
                continue
            if self.subject.twin_at is None and needing_gradients((attack,)):
                self.notes.append(f"{attack} needs a float twin, which this bundle has not.")
                continue

            def progress(stage: str, done: int, total: int) -> None:
                self.tell(f"{self.subject.name}: {stage}", done, total)

            found = Runner(self.subject, self.few, Plan((attack,), lacking, targets, w.seed), progress).run()
            trials += [t for t in found if (t.target, attack, t.epsilon) not in have]
        more = {"source": HERE, "data": f"{data}/{w.split}", "seed": w.seed}
        return [{**row, **more} for row in rows_of(trials, self.subject.spec.units) if row["accuracy"] is not None]

    def _clean_trials(self) -> list[Trial]:
        answers = {} if self.by_float is None else {"float": self.by_float}
        answers[self.file] = self.clean.probabilities
        none = np.zeros(len(self.whole), bool)
        about = {**describe(None, 0.0), "gradient": "none"}
        return [Trial(t, CLEAN, 0.0, about, self.whole.y, p, none) for t, p in answers.items()]

    def reliability(self) -> list[dict[str, Any]]:
        return [self._reliable(t.target, CLEAN, 0.0, t.probabilities, t.y) for t in self._clean_trials()]

    def detector(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Curves of each attacker at the base and the largest budget, and the records to show, at the base."""
        from trainer.report import attackers, examples  # Keras comes with them

        assert self.subject.device is not None
        found: list[dict[str, Any]] = []
        shown: list[dict[str, Any]] = []
        few, w = self.few, self.wanted
        clean = detector.look(self.subject.device, few.x, few.valid)
        right = clean.prediction == few.y
        kinds = ("blind", "aware") if detector.has_detector(self.subject) else ("blind",)
        for epsilon in dict.fromkeys((self.base, max(self.budgets))):
            for kind in kinds:
                if len(kinds) == 1 and epsilon != self.base:
                    continue  # nothing to detect with; the records alone are wanted

                def progress(done: int, total: int, kind: str = kind, epsilon: float = epsilon) -> None:
                    self.tell(f"{self.subject.name}: {kind} attacker {epsilon:g}", done, total)

                x, seen = attackers.attacked(kind, self.subject, few, epsilon, w.seed, progress)
                flips = seen.suspicion[right & (seen.prediction != few.y)]
                if len(kinds) > 1:
                    about = {
                        "attacker": kind, "epsilon": epsilon, "units": self.subject.spec.units, "n": len(few),
                        "right": int(right.sum()), "flips": len(flips), "clean": len(self.whole), "seed": w.seed,
                    }  # fmt: skip
                    found.append({**about, **(detector.curve(self.clean.suspicion, flips) if len(flips) else {})})
                if (kind, epsilon) == ("blind", self.base):
                    self.attacked_reliability.append(
                        self._reliable(self.file, "pgd margin", epsilon, seen.probabilities, few.y)
                    )
                    for which, at in examples.choose(clean, seen, few.y).items():
                        shown.append(examples.describe(which, at, self.subject, few, x, clean, seen))
                        shown[-1]["epsilon"] = epsilon
        if len(kinds) == 1:
            self.notes.append("This bundle has no detector: it never says suspect.")
        return found, shown

    def _reliable(self, target: str, attack: str, epsilon: float, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        score, right = p.max(axis=1).astype(np.float64), p.argmax(axis=1) == y
        low, high = error_interval(score, right, self.wanted.seed)
        return {
            "target": target,
            "attack": attack,
            "epsilon": epsilon,
            "n": len(y),
            "seed": self.wanted.seed,
            "error": calibration_error(score, right),
            "error_low": low,
            "error_high": high,
            "bins": [asdict(found) for found in reliability(score, right)],
        }


def _sorted(found: dict[str, Any]) -> dict[str, Any]:
    order = {"float": 0, "int8": 1, "file": 1}
    found["rows"].sort(key=lambda r: (r["attack"] != CLEAN, r["attack"], r["epsilon"], order.get(r["target"], 2)))
    return found
