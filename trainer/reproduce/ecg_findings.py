"""How a statement of paper 2 is decided: from finished cells to held, not held or not decidable here.

A statement about a difference is decided by the 95 % interval of the paired difference over records (all runs
together, McNemar's exact test beside it): held where the whole interval agrees with it, not held where the whole
interval contradicts it, else not decidable here. So is one about a level, by Wilson's interval.

Each function here takes what a statement is about and gives a function of the evidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.evaluate.drops import over_runs
from trainer.evaluate.intervals import wilson
from trainer.evaluate.paired import Paired, paired
from trainer.reproduce.ecg_cells import BUDGETS, HONEST, SAP_SHOT, SMOOTHING, Shot
from trainer.reproduce.ecg_evidence import Evidence
from trainer.reproduce.ecg_nets import NETS

Decide = Callable[[Evidence], "Finding"]
HELD, NOT_HELD, OPEN = "held", "not held", "not decidable here"
DEFENDED = ("jr", "nsr", "dd", "at", "init_adt", "dist_adt", "adt")
# Table 2's and Table 3's order, best first; the paper says that PGD gives the same
ORDER = {
    "I": ("adt", "dist_adt", "at", "init_adt", "nsr", "dd", "jr"),
    "II": ("adt", "dist_adt", "at", "init_adt", "nsr", "dd", "jr"),
}


@dataclass(frozen=True)
class Finding:
    """What decides a claim. ``low`` and ``high`` bound ``value``; None where nothing was measured."""

    verdict: str
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


MISSING = Finding(OPEN, "its networks or attacks have not been run")


def above(value: float, low: float, high: float, limit: float, text: str) -> Finding:
    """Whether a figure lies above ``limit``."""
    verdict = HELD if low > limit else NOT_HELD if high < limit else OPEN
    return Finding(verdict, text, value, low, high)


def _below(value: float, low: float, high: float, limit: float, text: str) -> Finding:
    verdict = HELD if high < limit else NOT_HELD if low > limit else OPEN
    return Finding(verdict, text, value, low, high)


def _level(
    evidence: Evidence, net: str, shot: Shot | None, situation: str
) -> tuple[float, float, float] | None:
    right = evidence.right(net, shot, situation)
    if right is None:
        return None
    low, high = wilson(int(right.sum()), right.size)
    return float(right.mean()), low, high


def _difference(
    evidence: Evidence, first: tuple[str, Shot | None, str], second: tuple[str, Shot | None, str]
) -> Paired | None:
    a, b = evidence.right(*first), evidence.right(*second)
    if a is None or b is None:
        return None
    runs = min(len(a), len(b))
    return paired(a[:runs], b[:runs])


def _told(found: Paired, names: str) -> str:
    return (
        f"{names}: {100 * found.difference:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f}), "
        f"{found.only_first} records against {found.only_second}, McNemar p = {found.p:.2g}"
    )


def beats(first: str, seconds: Sequence[str], shot: Shot, situation: str) -> Decide:
    """``first`` is better than each of ``seconds``: the nearest rival decides."""

    def decide(evidence: Evidence) -> Finding:
        found = []
        for second in seconds:
            difference = _difference(evidence, (first, shot, situation), (second, shot, situation))
            if difference is None:
                return MISSING
            found.append((difference.difference, second, difference))
        _, rival, nearest = min(found, key=lambda item: item[0])
        text = _told(nearest, f"{NETS[first].label} less {NETS[rival].label}")
        a, b = evidence.right(first, shot, situation), evidence.right(rival, shot, situation)
        assert a is not None
        assert b is not None
        if min(len(a), len(b)) > 1:
            pairs = a.mean(1)[: len(b)] - b.mean(1)[: len(a)]
            spread = over_runs(list(pairs))
            text += f"; over {spread.n} runs {100 * spread.mean:+.1f} ± {100 * spread.deviation:.1f}"
        return above(nearest.difference, nearest.low, nearest.high, 0.0, text)

    return decide


def at_least(nets: Sequence[str], shot: Shot, situation: str, limit: float) -> Decide:
    """Each of ``nets`` keeps an accuracy above ``limit``: the worst decides."""

    def decide(evidence: Evidence) -> Finding:
        levels = [(_level(evidence, net, shot, situation), net) for net in nets]
        known = [(level, net) for level, net in levels if level is not None]
        if len(known) < len(nets):
            return MISSING
        (value, low, high), net = min(known)
        text = f"{NETS[net].label}: {value:.3f} ({low:.3f} to {high:.3f})"
        return above(value, low, high, limit, text)

    return decide


def drop_below(net: str, shot: Shot, situation: str, limit: float, *, more: bool = False) -> Decide:
    """The accuracy lost, as a share of the clean accuracy, is below ``limit`` (``more``: above it)."""

    def decide(evidence: Evidence) -> Finding:
        difference = _difference(evidence, (net, None, situation), (net, shot, situation))
        clean = evidence.right(net, None)
        if difference is None or clean is None or not clean.any():
            return MISSING
        whole = float(clean.mean())
        value, low, high = (v / whole for v in (difference.difference, difference.low, difference.high))
        text = f"{NETS[net].label}: {100 * value:.1f} % of {whole:.3f} ({100 * low:.1f} to {100 * high:.1f})"
        return (above if more else _below)(value, low, high, limit, text)

    return decide


def order(shot: Shot, situation: str) -> Decide:
    """The paper's order of methods: not held where two neighbours are the other way round beyond doubt."""

    def decide(evidence: Evidence) -> Finding:
        order, certain, reversed_ = ORDER[situation], 0, []
        for better, worse in itertools.pairwise(order):
            difference = _difference(evidence, (better, shot, situation), (worse, shot, situation))
            if difference is None:
                return MISSING
            certain += difference.low > 0
            if difference.high < 0:
                reversed_.append(f"{NETS[worse].label} above {NETS[better].label}")
        levels = [_level(evidence, net, shot, situation) for net in order]
        text = " > ".join(
            f"{NETS[net].label} {level[0]:.3f}"
            for level, net in sorted(
                ((level, net) for level, net in zip(levels, order, strict=True) if level), reverse=True
            )
        )
        if reversed_:
            return Finding(NOT_HELD, f"{text}; {', '.join(reversed_)}")
        verdict = HELD if certain == len(order) - 1 else OPEN
        return Finding(verdict, f"{text}; {certain} of {len(order) - 1} neighbours beyond doubt")

    return decide


def smoothing(situation: str) -> Decide:
    """From t' = 0 to 10 the accuracy rises (mean over the defended methods that were run)."""

    def decide(evidence: Evidence) -> Finding:
        return _pooled(evidence, SMOOTHING[1], SMOOTHING[0], situation, "t' = 10 less t' = 0")

    return decide


def no_further(situation: str) -> Decide:
    """From t' = 10 to 40 it changes by less than a point."""

    def decide(evidence: Evidence) -> Finding:
        found = _pooled(evidence, SMOOTHING[4], SMOOTHING[1], situation, "t' = 40 less t' = 10")
        if found.low is None or found.high is None:
            return found
        inside, outside = found.low > -0.01 and found.high < 0.01, found.low > 0.01 or found.high < -0.01
        return Finding(
            HELD if inside else NOT_HELD if outside else OPEN, found.text, found.value, found.low, found.high
        )

    return decide


def _pooled(evidence: Evidence, first: Shot, second: Shot, situation: str, names: str) -> Finding:
    rights = [
        (a[: len(b)], b[: len(a)])
        for net in DEFENDED
        if (a := evidence.right(net, first, situation)) is not None
        and (b := evidence.right(net, second, situation)) is not None
    ]
    if not rights:
        return MISSING
    found = paired(np.concatenate([a for a, _ in rights]), np.concatenate([b for _, b in rights]))
    text = _told(found, f"{names}, {len(rights)} methods")
    return above(found.difference, found.low, found.high, 0.0, text)


def flat_from_twenty(situation: str) -> Decide:
    """Fig. 5 and 6 stand still from 20 uV on; with alpha = epsilon / 10 they do not."""

    def decide(evidence: Evidence) -> Finding:
        by_paper = _pooled(evidence, BUDGETS[4], BUDGETS[3], situation, "25 less 20 uV at alpha 1")
        honest = _pooled(evidence, HONEST[4], HONEST[3], situation, "at alpha epsilon/10")
        if by_paper.value is None:
            return by_paper
        text = f"{by_paper.text}: 20 steps of 1 uV cannot pass 20 uV; {honest.text}"
        return Finding(
            HELD if by_paper.value == 0 else NOT_HELD, text, by_paper.value, by_paper.low, by_paper.high
        )

    return decide


def situations(shot: Shot) -> Decide:
    """Every defended method loses more in situation II than in I: the least difference decides."""

    def decide(evidence: Evidence) -> Finding:
        found = []
        for net in DEFENDED:
            difference = _difference(evidence, (net, shot, "I"), (net, shot, "II"))
            if difference is None:
                return MISSING
            found.append((difference.difference, net, difference))
        _, net, least = min(found, key=lambda item: item[0])
        text = _told(least, f"{NETS[net].label}, I less II")
        return above(least.difference, least.low, least.high, 0.0, text)

    return decide


def boundary_level(limit: float) -> Decide:
    def decide(evidence: Evidence) -> Finding:
        rights = evidence.boundary()
        if any(net not in rights for net in DEFENDED):
            return MISSING
        net = min(DEFENDED, key=lambda name: float(rights[name].mean()))
        value = float(rights[net].mean())
        low, high = wilson(int(rights[net].sum()), rights[net].size)
        return above(value, low, high, limit, f"{NETS[net].label}: {value:.3f} ({low:.3f} to {high:.3f})")

    return decide


def boundary_near_best(evidence: Evidence) -> Finding:
    rights = evidence.boundary()
    if any(net not in rights for net in DEFENDED):
        return MISSING
    best = max(DEFENDED, key=lambda name: float(rights[name].mean()))
    found = paired(rights["adt"], rights[best])
    text = _told(found, f"ADT less {NETS[best].label}, the best")
    return above(found.difference, found.low, found.high, -0.02, text)


def f1_rises(evidence: Evidence) -> Finding:
    clean, attacked = evidence.f1("adt", None), evidence.f1("adt", SAP_SHOT, "I")
    if not clean or not attacked:
        return MISSING
    changes = [after - before for before, after in zip(clean, attacked, strict=False)]
    spread = over_runs(changes)
    text = f"mean F1 {np.mean(clean):.3f} clean, {np.mean(attacked):.3f} attacked, {spread.n} runs"
    if spread.n < 2:
        return Finding(OPEN, f"{text}; one run has no interval", spread.mean)
    half = _student(spread.n) * spread.deviation / spread.n**0.5
    return above(spread.mean, spread.mean - half, spread.mean + half, 0.0, text)


def _student(n: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def no_better_than_none(net: str, shot: Shot) -> Decide:
    def decide(evidence: Evidence) -> Finding:
        difference = _difference(evidence, (net, shot, "II"), ("none", shot, "II"))
        if difference is None:
            return MISSING
        text = _told(difference, f"{NETS[net].label} less none")
        return _below(difference.difference, difference.low, difference.high, 0.0, text)

    return decide


def clean_kept(evidence: Evidence) -> Finding:
    difference = _difference(evidence, ("adt", None, "II"), ("none", None, "II"))
    if difference is None:
        return MISSING
    text = _told(difference, "ADT less none, clean")
    return above(difference.difference, difference.low, difference.high, -0.01, text)
