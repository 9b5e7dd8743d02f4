"""What was answered: the worst answer to each record, and the attacked windows that lead to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.errors import ZeroGradientError

if TYPE_CHECKING:  # both import Keras, which an evaluation of the file alone does without
    from trainer.attacks.base import Attack
    from trainer.models.wrap import AttackModel


@dataclass
class Answers:
    """The worst answer so far to each of n records whose classes are ``y``.

    ``probabilities`` is (n, class); ``seen`` tells where there is an answer yet.
    """

    y: np.ndarray
    probabilities: np.ndarray
    seen: np.ndarray
    noticed: np.ndarray

    @classmethod
    def none(cls, y: np.ndarray, classes: int) -> Answers:
        n = len(y)
        return cls(y, np.zeros((n, classes), np.float32), np.zeros(n, bool), np.zeros(n, bool))

    @property
    def prediction(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def correct(self) -> int:
        return int((self.prediction == self.y).sum())

    def merge(self, index: np.ndarray, probabilities: np.ndarray, noticed: np.ndarray | None = None) -> None:
        """Keep, record by record, the answer that is wrong, of two wrong ones that which a detector did not notice,
        and of two alike the less sure of the true class.
        """
        old, true = self.probabilities[index], self.y[index]
        rows = np.arange(len(index))
        old_right, new_right = old.argmax(1) == true, probabilities.argmax(1) == true
        less_sure = probabilities[rows, true] < old[rows, true]
        told = np.zeros(len(index), bool) if noticed is None else noticed
        before = self.noticed[index]
        hidden, seen_through = before & ~told & ~new_right, ~before & told & ~new_right
        alike = (old_right == new_right) & (hidden | (less_sure & ~seen_through))
        take = ~self.seen[index] | (old_right & ~new_right) | alike
        self.probabilities[index[take]] = probabilities[take]
        self.noticed[index[take]] = told[take]
        self.seen[index] = True

    def give_up(self, records: np.ndarray) -> None:
        """Count ``records`` as wrong: their true class goes below every other."""
        self.probabilities[records, self.y[records]] = -1.0


@dataclass(frozen=True)
class Attacked:
    """Windows of one batch under one gradient; ``stuck`` (n,) tells which had none and stay as they were."""

    gradient: str
    x: np.ndarray
    stuck: np.ndarray


def candidates(
    attack: Attack,
    twin: AttackModel,
    x: np.ndarray,
    y: np.ndarray,
    valid: np.ndarray,
    *,
    seed: Any,
    only: str | None = None,
) -> list[Attacked]:
    """``x`` (n, time, channel) attacked once for every gradient surrogate of ``twin``, the same seed for each;
    ``only``: by the gradient of this name alone.
    """
    found = []
    for surrogate in twin.surrogates:
        if only is not None and only != ("exact" if surrogate is None else f"bpda:{surrogate}"):
            continue
        with twin.surrogate(surrogate):
            x_adv, stuck = attacked(attack, twin, x, y, valid, seed)
        found.append(Attacked("exact" if surrogate is None else f"bpda:{surrogate}", x_adv, stuck))
    return found


def attacked(
    attack: Attack, twin: AttackModel, x: np.ndarray, y: np.ndarray, valid: np.ndarray, seed: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(windows, (n,) which had no gradient and stay as they were) under the gradient that ``twin`` has now.

    A window without gradient stops the attack on its batch: another one takes its place and the batch runs again.
    """
    stuck = np.zeros(len(x), bool)
    while not stuck.all():
        rows = np.where(stuck, np.flatnonzero(~stuck)[0], np.arange(len(x)))
        try:
            x_adv = attack.run(twin, x[rows], y[rows], valid[rows], np.random.default_rng(seed))
        except ZeroGradientError as error:
            stuck[rows[list(error.records)]] = True
            continue
        return np.where(stuck[:, None, None], x, x_adv), stuck
    return x.copy(), stuck
