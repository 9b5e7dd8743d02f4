"""The two attackers whose windows are drawn and put to the detector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.joint import Joint
from trainer.attacks.pgd import PGD
from trainer.data.base import Windows
from trainer.evaluate.answers import candidates
from trainer.evaluate.runner import CHUNK
from trainer.evaluate.scope import limits
from trainer.evaluate.subject import Subject
from trainer.report.detector import Seen, look

STEPS = 60
Progress = Callable[[int, int], None]


def attacker(kind: str, subject: Subject, epsilon: float) -> Attack:
    """``blind``: PGD on the margin, kept at its worst; ``aware``: the attack on label and detector at once."""
    if kind == "blind":
        return PGD(epsilon=epsilon, steps=STEPS, step_share=0.1, loss="margin", keep="worst")
    return Joint(epsilon=epsilon, steps=STEPS, **limits(subject))


def attacked(
    kind: str, subject: Subject, windows: Windows, epsilon: float, seed: int, progress: Progress = lambda done, n: None
) -> tuple[np.ndarray, Seen]:
    """Attacked windows and what the file said of them; of all surrogate gradients the best for the attacker.

    That is a wrong answer before a right one, for the aware attacker an unsuspected one before a suspected one, and
    then the least probability of the true class.
    """
    assert subject.device is not None
    attack = attacker(kind, subject, epsilon)
    parts: list[tuple[np.ndarray, Seen]] = []
    for start in range(0, len(windows), CHUNK):
        x, y, valid = (a[start : start + CHUNK] for a in (windows.x, windows.y, windows.valid))
        best: tuple[np.ndarray, Seen] | None = None
        for made in candidates(attack, subject.twin, x, y, valid, seed=[seed, start]):
            seen = look(subject.device, made.x, valid)
            best = (made.x, seen) if best is None else _merged(kind, best, (made.x, seen), y)
        assert best is not None
        parts.append(best)
        progress(start + len(x), len(windows))
    seen = Seen(*(np.concatenate([getattr(s, k) for _, s in parts]) for k in ("probabilities", "suspicion")))
    return np.concatenate([x for x, _ in parts]), seen


def _merged(
    kind: str, old: tuple[np.ndarray, Seen], new: tuple[np.ndarray, Seen], y: np.ndarray
) -> tuple[np.ndarray, Seen]:
    take = _better(kind, new[1], old[1], y)
    seen = Seen(
        np.where(take[:, None], new[1].probabilities, old[1].probabilities),
        np.where(take, new[1].suspicion, old[1].suspicion),
    )
    return np.where(take[:, None, None], new[0], old[0]), seen


def _better(kind: str, new: Seen, old: Seen, y: np.ndarray) -> np.ndarray:
    def rank(seen: Seen) -> np.ndarray:
        wrong = seen.prediction != y
        unseen = wrong & (seen.suspicion <= 1.0) if kind == "aware" else np.zeros(len(y), bool)
        return 2.0 * wrong + 2.0 * unseen - seen.probabilities[np.arange(len(y)), y]

    return rank(new) > rank(old)
