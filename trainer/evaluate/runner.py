"""Attack every record within its budget and count what stays right, on the float twin and on the device's
file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.data.base import Windows
from trainer.errors import EvaluationError
from trainer.evaluate.answers import Answers, Attacked, candidates
from trainer.evaluate.checks import Outcome, warnings_of
from trainer.evaluate.intervals import wilson
from trainer.evaluate.metrics import measure
from trainer.evaluate.subject import Subject
from trainer.evaluate.targets import DeviceTarget, FloatTarget, Target

CLEAN = "clean"
TARGETS = ("float", "int8", "file")
CHUNK = (
    64  # the attack engine's batch, so that every chunk is one compiled call; also the progress bar's step
)
# Records without any gradient count as wrong; above this share the figure would say more of them than of the
# attack.
MAX_ZERO_GRADIENT_SHARE = 0.01
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What to run: attacks by name, budgets in the window's units, targets (of ``TARGETS``) and the seed."""

    attacks: tuple[str, ...] = (CLEAN,)
    epsilons: tuple[float, ...] = ()
    targets: tuple[str, ...] = ("float", "int8")
    seed: int = 0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One attack at one budget against one target: the worst (n, class) probabilities found for each record."""

    target: str
    attack: str
    epsilon: float
    about: Mapping[str, Any]
    y: np.ndarray
    probabilities: np.ndarray
    zero_gradient: np.ndarray

    @property
    def prediction(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def refused(self) -> bool:
        """Too many records had no gradient for the figure to mean anything."""
        return float(self.zero_gradient.mean()) > MAX_ZERO_GRADIENT_SHARE

    def outcome(self) -> Outcome:
        correct = int((self.prediction == self.y).sum())
        share = float(self.zero_gradient.mean())
        return Outcome(
            self.target, self.attack, self.epsilon, int(self.about["steps"]), len(self.y), correct, share
        )


class Runner:
    """Runs a plan on one subject; attacked windows are made once and put to every target.

    Args:
        through: attack this model's float twin instead of the subject's own (paper 2's situation I; without it,
            situation II).

    Raises:
        EvaluationError: at construction, a target or attack that this subject cannot have, or ``through`` takes
            other windows.
        AttackError: an unknown attack or a budget that is none.
    """

    def __init__(
        self,
        subject: Subject,
        windows: Windows,
        plan: Plan,
        progress: Progress = lambda stage, done, total: None,
        through: Subject | None = None,
    ) -> None:
        check(subject, plan, through)
        self.through = through
        if through is not None and set(plan.attacks) - {CLEAN}:
            _ = through.twin  # without one, say so before any work
        self.subject, self.windows, self.plan, self.progress = subject, windows, plan, progress
        self.targets: list[Target] = []
        if "float" in plan.targets:
            self.targets.append(FloatTarget(subject.twin))
        for name in ("int8", "file"):
            if name in plan.targets:
                assert subject.device is not None
                self.targets.append(DeviceTarget(subject.device, name))

    def run(self) -> list[Trial]:
        """Every attack of the plan at every budget, in its order, each against every target."""
        trials: list[Trial] = []
        for name in dict.fromkeys(self.plan.attacks):
            for epsilon in self.plan.epsilons if name != CLEAN else (0.0,):
                trials += self._trials(name, epsilon)
        return trials

    def _trials(self, name: str, epsilon: float) -> list[Trial]:
        n, classes, y = len(self.windows), len(self.subject.spec.labels), self.windows.y
        answers = {target.name: Answers.none(y, classes) for target in self.targets}
        attack = self._make(name, epsilon)
        zero, gradients = np.zeros(n, bool), []
        stage = name if attack is None else f"{name} {epsilon:g} {self.subject.spec.units}"
        self.progress(stage, 0, n)
        for start in range(0, n, CHUNK):
            index = np.arange(start, min(n, start + CHUNK))
            found = self._attacked(attack, index)
            for candidate in found:
                for target in self.targets:
                    probabilities = target.probabilities(candidate.x, self.windows.valid[index])
                    answers[target.name].merge(index, probabilities)
            gradients = [candidate.gradient for candidate in found]
            zero[index] = np.all([candidate.stuck for candidate in found], axis=0)
            self.progress(stage, int(index[-1]) + 1, n)
        about = describe(attack, epsilon)
        trials = []
        for target in self.targets:
            worst = answers[target.name]
            worst.give_up(np.flatnonzero(zero))
            text = gradient_text(gradients, transferred=target.name != "float" or self.through is not None)
            trials.append(
                Trial(target.name, name, epsilon, {**about, "gradient": text}, y, worst.probabilities, zero)
            )
        return trials

    def _make(self, name: str, epsilon: float) -> Any | None:
        if name == CLEAN:
            return None
        from trainer.attacks.registry import make

        return make(name, epsilon=epsilon, **self.plan.settings.get(name, {}))

    def _attacked(self, attack: Any | None, index: np.ndarray) -> list[Attacked]:
        x, y, valid = (array[index] for array in (self.windows.x, self.windows.y, self.windows.valid))
        whole = np.zeros(len(index), bool)
        if attack is None:
            return [Attacked("none", x, whole)]
        seed = [self.plan.seed, int(index[0])]
        if attack.gradient == "none":
            asked = (self.through or self.subject).twin if attack.queries_model else None
            return [Attacked("none", attack.run(asked, x, y, valid, np.random.default_rng(seed)), whole)]
        return candidates(attack, (self.through or self.subject).twin, x, y, valid, seed=seed)


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
    if set(plan.targets) & {"int8", "file"} and subject.device is None:
        raise EvaluationError(
            f"{subject.name}: a run has no int8 file; make one with `trainer export`, or use --target float"
        )
    if "int8" in plan.targets and subject.quantization != "int8":
        raise EvaluationError(
            f"{subject.name}: its file is quantized as {subject.quantization!r}, not int8; export it with "
            "--quantize int8, or use --target file"
        )
    if through is not None:
        _check_through(subject, through)
    named = [name for name in plan.attacks if name != CLEAN]
    if not named:
        return
    if not plan.epsilons:
        raise EvaluationError("attacks need a budget: give --epsilon in the data's units")
    from trainer.attacks.registry import make

    for name in named:
        for epsilon in plan.epsilons:
            make(name, epsilon=epsilon, **plan.settings.get(name, {}))


def _check_through(subject: Subject, through: Subject) -> None:
    for key in ("units", "rate_hz", "window_samples", "channels", "labels"):
        own, other = getattr(subject.spec, key), getattr(through.spec, key)
        if own != other:
            raise EvaluationError(
                f"{through.name}: {key} is {other}, that of {subject.name} is {own}; attacks made on one do not fit "
                "the other"
            )


def describe(attack: Any | None, epsilon: float) -> dict[str, Any]:
    """``steps``, ``step_size`` and ``restarts`` of an attack; a one-step attack steps by epsilon."""
    if attack is None:
        return {"steps": 0, "step_size": 0.0, "restarts": 0}
    about = attack.describe()
    size = about["step_size"]
    if size is None:
        size = epsilon if about["steps"] == 1 else 0.0
    return {"steps": about["steps"], "step_size": float(size), "restarts": about["restarts"]}


def gradient_text(gradients: Sequence[str], *, transferred: bool) -> str:
    """How gradients were had: "none", "exact", "bpda:tent+sigmoid", with "transfer:" when another model gave
    them.
    """
    if not gradients or list(gradients) == ["none"]:
        return "none"
    exact = list(gradients) == ["exact"]
    text = "exact" if exact else "bpda:" + "+".join(name.removeprefix("bpda:") for name in gradients)
    return f"transfer:{text}" if transferred else text


def rows_of(trials: Sequence[Trial], units: str) -> list[dict[str, Any]]:
    """The JSON rows of the trials, with masking warnings; figures are null where the gradient was zero."""
    outcomes = [trial.outcome() for trial in trials]
    return [_row(trial, outcome, outcomes, units) for trial, outcome in zip(trials, outcomes, strict=True)]


def _row(trial: Trial, outcome: Outcome, outcomes: Sequence[Outcome], units: str) -> dict[str, Any]:
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
        "warnings": warnings_of(outcome, outcomes),
    }
