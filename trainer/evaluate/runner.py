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
from trainer.evaluate import standard
from trainer.evaluate.answers import Answers, Attacked, candidates
from trainer.evaluate.checks import CONFINED, Outcome, warnings_of
from trainer.evaluate.intervals import wilson
from trainer.evaluate.metrics import measure
from trainer.evaluate.subject import Subject
from trainer.evaluate.targets import DeviceTarget, FloatTarget, ForeignTarget, Target

CLEAN = "clean"
TARGETS = ("float", "int8", "file")
CHUNK = (
    64  # the attack engine's batch, so that every chunk is one compiled call; also the progress bar's step
)
# Records without any gradient count as wrong; above this share the figure would say more of them than of the
# attack.
MAX_ZERO_GRADIENT_SHARE = 0.01
LEAST_COMPARED = 8  # records whose changes are alike before that is worth a warning
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What to run: attacks by name, budgets in the window's units, targets (of ``TARGETS``) and the seed.

    ``settings`` are by attack; ``ball`` holds norm, bounds and quantum for every attack (see ``Attack``).
    """

    attacks: tuple[str, ...] = (CLEAN,)
    epsilons: tuple[float, ...] = ()
    targets: tuple[str, ...] = ("float", "int8")
    seed: int = 0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ball: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One attack at one budget against one target: the worst (n, class) probabilities found for each record.

    ``noticed`` (n,): whether the device's verdict on them was other than "ok"; None where nothing judges.
    ``drowned``, ``constant_gradient``, ``first_step``: see ``checks.Outcome``.
    """

    target: str
    attack: str
    epsilon: float
    about: Mapping[str, Any]
    y: np.ndarray
    probabilities: np.ndarray
    zero_gradient: np.ndarray
    noticed: np.ndarray | None = None
    drowned: bool = False
    constant_gradient: bool = False
    first_step: float | None = None

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
            self.target, self.attack, self.epsilon, int(self.about["steps"]), len(self.y), correct, share,
            self.drowned, self.constant_gradient, self.first_step,
        )  # fmt: skip


class Runner:
    """Runs a plan on one subject; attacked windows are made once and put to every target.

    Args:
        through: attack this model's float twin instead of the subject's own (paper 2's situation I; without it,
            situation II).
        undefended: whose twin the transfer attack of ``standard`` is made on; without it that one is left out.

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
        undefended: Subject | None = None,
    ) -> None:
        check(subject, plan, through)
        self.through = through
        if undefended is not None:
            _check_through(subject, undefended)
        self.undefended = undefended
        if through is not None and set(plan.attacks) - {CLEAN}:
            _ = through.twin  # without one, say so before any work
        self.subject, self.windows, self.plan, self.progress = subject, windows, plan, progress
        self.targets: list[Target] = []
        if "float" in plan.targets:
            self.targets.append(FloatTarget(subject.twin))
        for name in ("int8", "file"):
            if name in plan.targets:
                self.targets.append(_file_target(subject, name))
        self.first_step = subject.first_step
        self.reach = reach(windows)

    def run(self) -> list[Trial]:
        """Every attack of the plan at every budget, in its order, each against every target."""
        trials: list[Trial] = []
        for name in dict.fromkeys(self.plan.attacks):
            for epsilon in self.plan.epsilons if name != CLEAN else (0.0,):
                trials += self._trials(name, epsilon)
        return trials

    def _trials(self, name: str, epsilon: float) -> list[Trial]:
        if name == standard.NAME:
            return self._standard(epsilon)
        n = len(self.windows)
        attack = self._make(name, epsilon, self.plan.settings.get(name, {}))
        work = _Work(n, self.windows.y, len(self.subject.spec.labels), self.targets)
        stage = name if attack is None else f"{name} {epsilon:g} {self.subject.spec.units}"
        gradients = self._attack(attack, np.arange(n), work, stage)
        return self._made(name, epsilon, describe(attack, epsilon), work, list(gradients))

    def _standard(self, epsilon: float) -> list[Trial]:
        """The suite of record: every member on what some target still has right; the worst answer of all counts."""
        n = len(self.windows)
        work = _Work(n, self.windows.y, len(self.subject.spec.labels), self.targets)
        told, steps, strongest = [], 0, None
        for member in standard.members(self.subject.spec):
            attack = self._make(member.name, epsilon, member.settings)
            source = self.undefended if member.transfer else self.through or self.subject
            if source is None or (not attack.queries_model and source.twin_at is None):
                told.append({"attack": member.label, "attacked": 0, "turned": {}})
                continue
            rows = work.still_right()
            before = {name: worst.correct for name, worst in work.answers.items()}
            every = member.every_surrogate or member.transfer
            stage = f"{standard.NAME} {epsilon:g}: {member.label}"
            turned = self._attack(
                attack, rows, work, stage, source, None if every else strongest, transfer=member.transfer
            )
            if member.every_surrogate and turned:
                strongest = max(turned, key=lambda gradient: turned[gradient])
            after = {name: worst.correct for name, worst in work.answers.items()}
            first = not told
            told.append(
                {
                    "attack": member.label,
                    "attacked": len(rows),
                    "turned": {k: (n if first else before[k]) - after[k] for k in after},
                }
            )
            steps += int(attack.steps)
        about = {"steps": steps, "step_size": 0.0, "restarts": sum(m["attacked"] > 0 for m in told)}
        suite = {"name": standard.NAME, "version": standard.VERSION, "strongest": strongest, "members": told}
        return self._made(standard.NAME, epsilon, {**about, "suite": suite}, work, ["suite"])

    def _made(
        self, name: str, epsilon: float, about: Mapping[str, Any], work: _Work, gradients: Sequence[str]
    ) -> list[Trial]:
        trials = []
        for target in self.targets:
            worst = work.answers[target.name]
            worst.give_up(np.flatnonzero(work.zero))
            text = gradient_text(gradients, transferred=target.name != "float" or self.through is not None)
            facts = {**about, "gradient": text}
            for key, told in (("ball", self.plan.ball), ("settings", self.plan.settings.get(name, {}))):
                if told:
                    facts[key] = dict(told)
            trials.append(
                Trial(
                    target.name, name, epsilon, facts, self.windows.y, worst.probabilities, work.zero,
                    worst.noticed if target.noticed is not None else None,
                    drowned=name != CLEAN and epsilon >= self.reach,
                    constant_gradient=name not in CONFINED and work.constant,
                    first_step=None if target.name == "float" else self.first_step,
                )
            )
        return trials

    def _make(self, name: str, epsilon: float, settings: Mapping[str, Any]) -> Any | None:
        if name == CLEAN:
            return None
        from trainer.attacks.registry import make

        given = {**(limits(self.subject) if name == "joint" else {}), **self.plan.ball, **settings}
        return make(name, epsilon=epsilon, **given)

    def _attack(
        self,
        attack: Any | None,
        rows: np.ndarray,
        work: _Work,
        stage: str,
        source: Subject | None = None,
        surrogate: str | None = None,
        *,
        transfer: bool = False,
    ) -> dict[str, int]:
        """Attack the records ``rows``, put the windows to every target and keep the worst answers in ``work``.

        Args:
            source: whose twin is attacked; the subject's own, or that of ``through``, if None.
            surrogate: the only gradient to try, by its name in ``candidates``; all if None.
            transfer: an attack without gradients asks ``source``, too, instead of each target.

        Returns:
            Each gradient's name with how many of ``rows`` the first target had wrong under it.
        """
        turned: dict[str, int] = {}
        asks = attack is not None and attack.queries_model and self.through is None and not transfer
        self.progress(stage, 0, len(rows))
        for start in range(0, len(rows), CHUNK):
            index = rows[start : start + CHUNK]
            valid = self.windows.valid[index]
            if attack is not None and asks:
                # Without gradients each target is asked itself: the int8 file through its own answers.
                for target in self.targets:
                    x, y = self.windows.x[index], self.windows.y[index]
                    seed = np.random.default_rng([self.plan.seed, int(index[0])])
                    x_adv = attack.run(Asked(target), x, y, valid, seed)
                    answers = target.probabilities(x_adv, valid)
                    work.answers[target.name].merge(index, answers, target.noticed)
                turned["none"] = 0
            else:
                found = self._attacked(attack, index, source or self.through or self.subject, surrogate)
                for candidate in found:
                    for target in self.targets:
                        probabilities = target.probabilities(candidate.x, valid)
                        work.answers[target.name].merge(index, probabilities, target.noticed)
                        if target is self.targets[0]:
                            wrong = int((probabilities.argmax(1) != self.windows.y[index]).sum())
                            turned[candidate.gradient] = turned.get(candidate.gradient, 0) + wrong
                work.zero[index] |= np.all([candidate.stuck for candidate in found], axis=0)
                if attack is not None and attack.gradient != "none":
                    work.saw(self.windows.x[index], self.windows.y[index], found)
            self.progress(stage, start + len(index), len(rows))
        return turned

    def _attacked(
        self, attack: Any | None, index: np.ndarray, source: Subject, surrogate: str | None
    ) -> list[Attacked]:
        x, y, valid = (array[index] for array in (self.windows.x, self.windows.y, self.windows.valid))
        whole = np.zeros(len(index), bool)
        if attack is None:
            return [Attacked("none", x, whole)]
        seed = [self.plan.seed, int(index[0])]
        if attack.gradient == "none":
            asked = source.twin if attack.queries_model else None
            return [Attacked("none", attack.run(asked, x, y, valid, np.random.default_rng(seed)), whole)]
        return candidates(attack, source.twin, x, y, valid, seed=seed, only=surrogate)


class _Work:
    """The worst answers so far of every target, and the records that had no gradient."""

    def __init__(self, n: int, y: np.ndarray, classes: int, targets: Sequence[Target]) -> None:
        self.answers = {target.name: Answers.none(y, classes) for target in targets}
        self.zero = np.zeros(n, bool)
        self._alike, self._compared = 0, 0

    @property
    def constant(self) -> bool:
        """Every record of a class was moved the same way."""
        return self._compared >= LEAST_COMPARED and self._alike == self._compared

    def saw(self, x: np.ndarray, y: np.ndarray, found: Sequence[Attacked]) -> None:
        """Compare the direction of each record's change with that of the first of its class."""
        for candidate in found:
            moved = np.sign(candidate.x - x)
            for label in np.unique(y):
                group = moved[y == label]
                # padding stands still, so records are compared where both move
                both = (group[1:] != 0) & (group[:1] != 0)
                alike = ~np.any((group[1:] != group[:1]) & both, axis=(1, 2)) & both.any((1, 2))
                self._alike += int(alike.sum())
                self._compared += len(alike)

    def still_right(self) -> np.ndarray:
        """Indices of the records that some target has right, or has not been asked about."""
        open_ = [~a.seen | (a.prediction == a.y) for a in self.answers.values()]
        return np.flatnonzero(np.any(open_, axis=0))


class Asked:
    """A target as an attack without gradients sees it: ``predict`` gives logits (the logs of its answers)."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.name = target.name

    def predict(self, x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        valid = np.ones(x.shape[:2], bool) if valid is None else valid
        return np.log(np.maximum(self._target.probabilities(x, valid), 1e-12))


def _file_target(subject: Subject, name: str) -> Target:
    if subject.foreign is not None:
        return ForeignTarget(subject.foreign, name)
    assert subject.device is not None
    return DeviceTarget(subject.device, name)


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
        _check_through(subject, through)
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
    if list(gradients) == ["suite"]:
        return "suite"
    exact = list(gradients) == ["exact"]
    text = "exact" if exact else "bpda:" + "+".join(name.removeprefix("bpda:") for name in gradients)
    return f"transfer:{text}" if transferred else text


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
