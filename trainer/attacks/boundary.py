"""Boundary attack on ECG with a low-pass Hanning filter: targeted, from decisions alone (Lam and others 2020).

Source: J. Lam and others, "Hard-label black-box adversarial attack on deep electrocardiogram classifier", 2020,
after W. Brendel and others, "Decision-based adversarial attacks", 2018. A walk starts at a record of the target
class and goes towards the original, on the target's side of the decision boundary. Each proposal adds Gaussian
noise, smoothed by a Hanning window of 41 samples, along the sphere around the original (``spherical_step``), then
goes inwards (``source_step``); both step sizes follow how often proposals succeed.

It shortens an L2 distance and has no budget per sample: ``boundary`` is a function of its own, and ``Boundary`` walks
away from a label and cuts what it found to a budget, as the attack suite wants it. All records walk at once: a round
is one proposal for each, and every tenth round also asks about the point on the sphere. ``queries`` bounds what is
asked for one record, the first look at its start included.

Departures from the authors' code: one proposal a round instead of up to 25 in a row from one place (the same
walk, counted in queries); success is judged over blocks of 30 proposals and 20 sphere points instead of the last
30 and 100; the padding of the original is never touched (paper 2 clears it at the end and drops records that
then leave the target class).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.decision import START_QUERIES, starts
from trainer.attacks.norms import Ball
from trainer.data.base import Windows
from trainer.errors import AttackError
from trainer.models.wrap import AttackModel

# (x (n, time, channel), valid (n, time)) -> (n,) class indices
Decide = Callable[[np.ndarray, np.ndarray], np.ndarray]
CHECK_EVERY = 10
STEP_BLOCK, SPHERE_BLOCK = 30, 20
PER_PAIR = 50


def hanning_taps(length: int) -> np.ndarray:
    """``length`` taps, odd, .5 - .5 cos(2 pi k / (length - 1)), scaled to sum 1; length 1 filters nothing."""
    if length < 1 or length % 2 == 0 or length == 3:
        raise AttackError(f"the filter has an odd number of taps, 1 or at least 5, not {length}")
    taps = np.hanning(length) if length > 1 else np.ones(1)
    return np.asarray(taps / taps.sum())


def low_pass(noise: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """``noise`` (n, time, channel) convolved over time with ``taps``, zeros outside."""
    from scipy.ndimage import convolve1d

    return np.asarray(convolve1d(noise, taps, axis=1, mode="constant"), noise.dtype)


@dataclass(frozen=True)
class Walk:
    """How the walk is made. ``queries``: budget a record; paper 2 walked 8,000 rounds with a filter of 41."""

    queries: int = 8_800
    filter_length: int = 41
    source_step: float = 0.01
    spherical_step: float = 0.01
    adaptation: float = 1.5


@dataclass(frozen=True)
class BoundaryResult:
    """``x`` (n, time, channel), the original where ``found`` (n,) is False; L2 ``distance`` (n,); ``queries`` asked
    about each record at most.
    """

    x: np.ndarray
    found: np.ndarray
    distance: np.ndarray
    queries: int


def decisions(model: AttackModel) -> Decide:
    """What a hard-label attacker sees of ``model``."""
    return lambda x, valid: np.asarray(model.predict(x, valid).argmax(-1))


def boundary(
    decide: Decide,
    x: np.ndarray,
    start: np.ndarray,
    target: np.ndarray,
    valid: np.ndarray,
    *,
    walk: Walk | None = None,
    rng: np.random.Generator | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    away: bool = False,
) -> BoundaryResult:
    """Windows near ``x`` that ``decide`` calls ``target``; with ``away`` anything but ``target``.

    Args:
        x, start: (n, time, channel) originals, and windows of the target classes to start from.
        target: (n,) classes to reach.
        valid: (n, time) bool, the samples of ``x`` that may change.
        progress: told (queries so far, budget).

    A record whose start, with the original's padding, is not of the target class is not found.

    Raises:
        AttackError: shapes that do not fit, or a budget of no query.
    """
    walk, rng = walk or Walk(), rng or np.random.default_rng(0)
    if x.shape != start.shape or valid.shape != x.shape[:2] or target.shape != x.shape[:1]:
        raise AttackError(
            f"originals {x.shape}, starts {start.shape}, targets {target.shape} and mask {valid.shape} do not fit"
        )
    if walk.queries < 1:
        raise AttackError(f"the budget must be at least 1 query, not {walk.queries}")
    taps = hanning_taps(walk.filter_length).astype(np.float32)
    mask = valid[..., None].astype(np.float32)
    x = np.asarray(x, np.float32)
    at = np.where(mask > 0, start, x).astype(np.float32)
    found = (np.asarray(decide(at, valid)) == target) != away
    queries, turn = 1, 0
    steps = _Steps(len(x), walk)
    while found.any():
        turn += 1
        check = turn % CHECK_EVERY == 0
        if queries + 1 + check > walk.queries:
            break
        # a start that equals its original leaves nowhere to go
        rows = np.flatnonzero(found & np.any(at != x, axis=(1, 2)))
        if not len(rows):
            break
        noise = low_pass(rng.standard_normal(x[rows].shape, np.float32), taps) * mask[rows]
        sphere, proposal = propose(x[rows], at[rows], noise, steps.spherical[rows], steps.source[rows])
        if check:
            steps.saw_sphere(rows, (np.asarray(decide(sphere, valid[rows])) == target[rows]) != away)
        good = (np.asarray(decide(proposal, valid[rows])) == target[rows]) != away
        at[rows[good]] = proposal[good]
        steps.saw_proposal(rows, good)
        queries += 1 + check
        progress(queries, walk.queries)
    at = np.where(found[:, None, None], at, x)
    return BoundaryResult(at, found, _norm(at - x)[:, 0, 0], queries)


class Boundary(Attack):
    """The walk away from the true label, from the nearest window of the batch that is answered otherwise.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``. What the walk leaves outside
            of the ball is cut to it, which may undo the attack.
        queries: forward passes a record.
        filter_length: taps of the Hanning filter, odd; 1 filters nothing.
    """

    name = "boundary"
    queries_model = True

    def __init__(
        self, *, epsilon: float | np.ndarray, queries: int = 1000, filter_length: int = 41, **common: Any
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if queries <= START_QUERIES:
            raise ValueError(f"queries must be more than {START_QUERIES}, which the start may take")
        hanning_taps(filter_length)
        self.walk, self.steps = Walk(queries - START_QUERIES, filter_length), queries

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        start, _ = starts(model, x, y, ball, rng)
        found = boundary(decisions(model), x, start, y, ball.valid, walk=self.walk, rng=rng, away=True)
        return found.x


def propose(
    x: np.ndarray, at: np.ndarray, noise: np.ndarray, spherical: np.ndarray, source: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(point on the sphere, point further in): from ``at``, by ``noise`` made orthogonal to the way to ``x``.

    ``spherical`` and ``source`` (n,) are steps as shares of the distance; the second point's distance from ``x`` is
    that of ``at`` times 1 - source.
    """
    spherical, source = spherical[:, None, None], source[:, None, None]
    way = x - at
    distance = _norm(way)
    inward = way / distance
    noise = noise - (noise * inward).sum(axis=(1, 2), keepdims=True) * inward
    noise = noise * (spherical * distance / np.maximum(_norm(noise), 1e-12))
    sphere = x + (noise - way) / np.sqrt(spherical**2 + 1.0)
    back = x - sphere
    reached = _norm(back)
    length = np.maximum(source * distance + reached - distance, 0.0) / reached
    return sphere.astype(np.float32), (sphere + length * back).astype(np.float32)


class _Steps:
    """Step sizes of each record: larger when more than half of the tries succeed, smaller under a fifth."""

    def __init__(self, n: int, walk: Walk) -> None:
        self.spherical = np.full(n, walk.spherical_step)
        self.source = np.full(n, walk.source_step)
        self._factor = walk.adaptation
        self._tries, self._hits = np.zeros((2, n), int), np.zeros((2, n), int)

    def saw_sphere(self, rows: np.ndarray, good: np.ndarray) -> None:
        factor = self._judge(0, rows, good, SPHERE_BLOCK)
        self.spherical *= factor  # the boundary looks flat, or bent, at this size: both steps follow
        self.source *= factor

    def saw_proposal(self, rows: np.ndarray, good: np.ndarray) -> None:
        self.source *= self._judge(1, rows, good, STEP_BLOCK)

    def _judge(self, kind: int, rows: np.ndarray, good: np.ndarray, block: int) -> np.ndarray:
        tries, hits = self._tries[kind], self._hits[kind]
        tries[rows] += 1
        hits[rows] += good
        full, share = tries >= block, hits / np.maximum(tries, 1)
        tries[full] = hits[full] = 0
        factor = np.where(share > 0.5, self._factor, np.where(share < 0.2, 1.0 / self._factor, 1.0))
        return np.where(full, factor, 1.0)


def _norm(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(x, dtype=np.float64).sum(axis=(1, 2), keepdims=True))


@dataclass(frozen=True)
class BoundarySet:
    """Adversarial windows made on one network, to be put to others (paper 2, Table 6).

    ``x`` (n, time, channel), ``valid`` (n, time), true classes ``y`` and classes reached ``target`` (n,), L2
    ``distance`` (n,); ``tried``: pairs of records that the network classified rightly.
    """

    x: np.ndarray
    valid: np.ndarray
    y: np.ndarray
    target: np.ndarray
    distance: np.ndarray
    tried: int


def make_set(
    decide: Decide,
    windows: Windows,
    *,
    per_pair: int = PER_PAIR,
    walk: Walk | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BoundarySet:
    """``per_pair`` random pairs of records for every ordered pair of classes, attacked; the successes.

    As in paper 2, a pair of which the network gets one record wrong is left out, so fewer than 12 x 50 remain.
    """
    rng = np.random.default_rng(seed)
    present = [np.flatnonzero(windows.y == label) for label in range(len(windows.spec.labels))]
    drawn = [
        (rng.choice(first), rng.choice(second))
        for i, first in enumerate(present)
        for j, second in enumerate(present)
        if i != j and len(first) and len(second)
        for _ in range(per_pair)
    ]
    pairs = np.array(drawn, np.int64).reshape(-1, 2)
    right = np.asarray(decide(windows.x, windows.valid)) == windows.y
    pairs = pairs[right[pairs].all(axis=1)]
    original, start = pairs.T
    result = boundary(
        decide,
        windows.x[original],
        windows.x[start],
        windows.y[start],
        windows.valid[original],
        walk=walk,
        rng=rng,
        progress=progress,
    )
    kept = result.found
    return BoundarySet(
        result.x[kept],
        windows.valid[original][kept],
        windows.y[original][kept],
        windows.y[start][kept],
        result.distance[kept],
        len(pairs),
    )
