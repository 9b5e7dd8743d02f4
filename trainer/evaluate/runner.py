"""Attack every record within its budget and count what stays right, on the float twin and on the device's
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.data.base import Windows
from trainer.evaluate import standard
from trainer.evaluate.answers import Answers
from trainer.evaluate.checks import CONFINED
from trainer.evaluate.pieces import Answer, Errand, Piece, Share, answer
from trainer.evaluate.plan import CLEAN, TARGETS, Plan, Trial
from trainer.evaluate.scope import check, check_through, limits, reach
from trainer.evaluate.subject import Subject

CHUNK = (
    64  # the attack engine's batch, so that every chunk is one compiled call; also the progress bar's step
)
LEAST_COMPARED = 8  # records whose changes are alike before that is worth a warning
Progress = Callable[[str, int, int], None]


class Runner:
    """Runs a plan on one subject; attacked windows are made once and put to every target.

    Args:
        through: attack this model's float twin instead of the subject's own (paper 2's situation I; without it,
            situation II).
        undefended: whose twin the transfer attack of ``standard`` is made on; without it that one is left out.
        share: does the pieces elsewhere (``trainer.evaluate.pieces``); in this process if None.

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
        share: Share | None = None,
    ) -> None:
        check(subject, plan, through)
        self.share = share
        self.through = through
        if undefended is not None:
            check_through(subject, undefended)
        self.undefended = undefended
        if through is not None and set(plan.attacks) - {CLEAN}:
            _ = through.twin  # without one, say so before any work
        self.subject, self.windows, self.plan, self.progress = subject, windows, plan, progress
        if "float" in plan.targets and share is None:
            _ = subject.twin  # a wrong one is told before any work
        self.targets = [name for name in TARGETS if name in plan.targets]
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
        settings = self._given(name, self.plan.settings.get(name, {}))
        attack = self._make(name, epsilon, settings)
        work = _Work(n, self.windows.y, len(self.subject.spec.labels), self.targets)
        stage = name if attack is None else f"{name} {epsilon:g} {self.subject.spec.units}"
        gradients = self._attack(name, epsilon, settings, np.arange(n), work, stage)
        return self._made(name, epsilon, describe(attack, epsilon), work, list(gradients))

    def _standard(self, epsilon: float) -> list[Trial]:
        """The suite of record: every member on what some target still has right; the worst answer of all counts."""
        n = len(self.windows)
        work = _Work(n, self.windows.y, len(self.subject.spec.labels), self.targets)
        told, steps, strongest = [], 0, None
        for member in standard.members(self.subject.spec):
            settings = self._given(member.name, member.settings)
            attack = self._make(member.name, epsilon, settings)
            source = self.undefended if member.transfer else self.through or self.subject
            if source is None or (not attack.queries_model and source.twin_at is None):
                told.append({"attack": member.label, "attacked": 0, "turned": {}})
                continue
            rows = work.still_right()
            before = {name: worst.correct for name, worst in work.answers.items()}
            every = member.every_surrogate or member.transfer
            stage = f"{standard.NAME} {epsilon:g}: {member.label}"
            turned = self._attack(
                member.name, epsilon, settings, rows, work, stage, source, None if every else strongest,
                transfer=member.transfer,
            )  # fmt: skip
            if member.every_surrogate and turned:
                strongest = max(turned, key=lambda gradient: turned[gradient])
            after = {name: worst.correct for name, worst in work.answers.items()}
            first = not any(m["attacked"] for m in told)
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
            worst = work.answers[target]
            worst.give_up(np.flatnonzero(work.zero))
            text = gradient_text(gradients, transferred=target != "float" or self.through is not None)
            facts = {**about, "gradient": text}
            for key, told in (("ball", self.plan.ball), ("settings", self.plan.settings.get(name, {}))):
                if told:
                    facts[key] = dict(told)
            trials.append(
                Trial(
                    target, name, epsilon, facts, self.windows.y, worst.probabilities, work.zero,
                    worst.noticed if target in work.judged else None,
                    drowned=name != CLEAN and epsilon >= self.reach,
                    constant_gradient=name not in CONFINED and work.constant,
                    first_step=None if target == "float" else self.first_step,
                )
            )
        return trials

    def _make(self, name: str, epsilon: float, settings: Mapping[str, Any]) -> Any | None:
        if name == CLEAN:
            return None
        from trainer.attacks.registry import make

        return make(name, epsilon=epsilon, **settings)

    def _given(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All that the attack is told beside its budget."""
        more: dict[str, Any] = limits(self.subject) if name == "joint" else {}
        if name == "quantized":  # of the same windows, whoever attacks which records first
            more = {"sample": (self.windows.x[:CHUNK], self.windows.valid[:CHUNK])}
        return {**more, **(self.plan.ball if name != CLEAN else {}), **settings}

    def _attack(
        self,
        name: str,
        epsilon: float,
        settings: Mapping[str, Any],
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
        attack = self._make(name, epsilon, settings)
        asks = attack is not None and attack.queries_model and self.through is None and not transfer
        source = source or self.through or self.subject
        blocks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        w = self.windows
        pieces = [
            Piece(
                w.x[index], w.valid[index], w.y[index], None if attack is None else name, epsilon, settings,
                tuple(self.targets), (self.plan.seed, int(index[0])), surrogate, asks,
            )
            for index in blocks
        ]  # fmt: skip
        done = 0
        self.progress(stage, 0, len(rows))
        for number, answers in self._answers(pieces, source):
            index = blocks[number]
            for found in answers:
                work.merge(index, found)
                wrong = int((found.probabilities[self.targets[0]].argmax(1) != w.y[index]).sum())
                turned[found.gradient] = turned.get(found.gradient, 0) + (0 if asks else wrong)
            work.zero[index] |= np.all([found.stuck for found in answers], axis=0)
            done += len(index)
            self.progress(stage, done, len(rows))
        return turned

    def _answers(self, pieces: Sequence[Piece], source: Subject) -> Iterator[tuple[int, list[Answer]]]:
        if self.share is None:
            yield from ((number, answer(piece, self.subject, source)) for number, piece in enumerate(pieces))
        else:
            names = self.subject.opening, source.opening
            yield from self.share([Errand(piece, *names) for piece in pieces])


class _Work:
    """The worst answers so far of every target, and the records that had no gradient."""

    def __init__(self, n: int, y: np.ndarray, classes: int, targets: Sequence[str]) -> None:
        self.answers = {target: Answers.none(y, classes) for target in targets}
        self.zero = np.zeros(n, bool)
        self.judged: set[str] = set()
        self._alike, self._compared = 0, 0

    @property
    def constant(self) -> bool:
        """Every record of a class was moved the same way."""
        return self._compared >= LEAST_COMPARED and self._alike == self._compared

    def merge(self, index: np.ndarray, found: Answer) -> None:
        for target, probabilities in found.probabilities.items():
            self.answers[target].merge(index, probabilities, found.noticed.get(target))
        self.judged |= set(found.noticed)
        self._alike, self._compared = self._alike + found.alike, self._compared + found.compared

    def still_right(self) -> np.ndarray:
        """Indices of the records that some target has right, or has not been asked about."""
        open_ = [~a.seen | (a.prediction == a.y) for a in self.answers.values()]
        return np.flatnonzero(np.any(open_, axis=0))


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
