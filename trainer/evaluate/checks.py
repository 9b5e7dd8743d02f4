"""Warnings that a robustness figure may only show that the attack failed (gradient masking).

Source: A. Athalye, N. Carlini and D. Wagner, "Obfuscated gradients give a false sense of security", ICML
2018, section 3; F. Croce and M. Hein's auto-attack warns alike. Each check is a pure function of results; a
code in a row means that its accuracy must not be quoted without looking into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WARNINGS = {
    "zero_gradient": "the gradient is zero for some records: the attack could not start there",
    "black_box_beats_white_box": "an attack without gradients found more errors than this one",
    "more_steps_do_not_help": "a one-step attack found more errors than this one with many steps",
    "larger_epsilon_does_not_help": "the same attack found more errors with a smaller budget",
    "large_epsilon_leaves_some": "a budget that drowns every record left some right",
    "attack_helps": "more records are right under attack than without",
    "constant_gradient": "the attack moved every record of a class the same way, whatever the record",
    "coarse_first_step": "the file rounds the signal first, to steps larger than a quarter of epsilon",
}
BLACK_BOX = ("noise", "square", "boundary", "hopskipjump", "nes")
# These search a smaller set than the ball (SAP: smooth perturbations; joint: what a detector lets pass), so a rough
# one-step attack may rightly find more errors.
CONFINED = ("sap", "band", "universal", "smooth", "joint", "eot")
# Under a budget that drowns the signal a gradient attack should leave next to nothing right.
LEFT_AT_MOST = 0.1


@dataclass(frozen=True)
class Outcome:
    """What the checks need of one row: how many of ``n`` records stayed right under which attack.

    ``drowned``: epsilon is larger than the signal. ``constant_gradient``: every record of a class moved the same way.
    ``first_step``: size of the file's first rounding of the signal, in the units of epsilon; None without one.
    """

    target: str
    attack: str
    epsilon: float
    steps: int
    n: int
    correct: int
    zero_gradient_share: float = 0.0
    drowned: bool = False
    constant_gradient: bool = False
    first_step: float | None = None


def warnings_of(outcome: Outcome, others: Sequence[Outcome]) -> list[str]:
    """Codes of every check that ``outcome`` fails among the other rows of the same evaluation, in fixed
    order.
    """
    peers = [o for o in others if o is not outcome and o.target == outcome.target and o.n == outcome.n]
    checks = {
        "zero_gradient": zero_gradient(outcome),
        "black_box_beats_white_box": black_box_beats_white_box(outcome, peers),
        "more_steps_do_not_help": more_steps_do_not_help(outcome, peers),
        "larger_epsilon_does_not_help": larger_epsilon_does_not_help(outcome, peers),
        "large_epsilon_leaves_some": large_epsilon_leaves_some(outcome),
        "attack_helps": attack_helps(outcome, peers),
        "constant_gradient": outcome.constant_gradient,
        "coarse_first_step": coarse_first_step(outcome),
    }
    return [code for code, failed in checks.items() if failed]


def zero_gradient(outcome: Outcome) -> bool:
    """Some record had no gradient to follow under any surrogate."""
    return outcome.zero_gradient_share > 0.0


def black_box_beats_white_box(outcome: Outcome, peers: Sequence[Outcome]) -> bool:
    """A gradient attack left more records right than one that never sees a gradient, at the same budget."""
    if outcome.attack == "clean" or outcome.attack in BLACK_BOX:
        return False
    return any(
        p.attack in BLACK_BOX and p.epsilon == outcome.epsilon and p.correct < outcome.correct for p in peers
    )


def more_steps_do_not_help(outcome: Outcome, peers: Sequence[Outcome]) -> bool:
    """An attack of many steps left more records right than a one-step attack of the same budget."""
    if outcome.steps < 2 or outcome.attack in CONFINED:
        return False
    return any(p.steps == 1 and p.epsilon == outcome.epsilon and p.correct < outcome.correct for p in peers)


def larger_epsilon_does_not_help(outcome: Outcome, peers: Sequence[Outcome]) -> bool:
    """The same attack left more records right than it did with a smaller budget."""
    return any(
        p.attack == outcome.attack and 0 < p.epsilon < outcome.epsilon and p.correct < outcome.correct
        for p in peers
    )


def large_epsilon_leaves_some(outcome: Outcome) -> bool:
    """A budget larger than the signal, with which any record can become any other, left some right."""
    if not outcome.drowned or outcome.attack in ("clean", "universal", "joint", *BLACK_BOX):
        return False
    return outcome.correct > LEFT_AT_MOST * outcome.n


def coarse_first_step(outcome: Outcome) -> bool:
    """The signal is rounded, before anything looks at it, to steps larger than a quarter of epsilon."""
    if outcome.attack == "clean" or outcome.first_step is None:
        return False
    return outcome.first_step > outcome.epsilon / 4


def attack_helps(outcome: Outcome, peers: Sequence[Outcome]) -> bool:
    """More records are right under attack than clean: the attack climbs the wrong way."""
    if outcome.attack == "clean":
        return False
    return any(p.attack == "clean" and p.correct < outcome.correct for p in peers)
