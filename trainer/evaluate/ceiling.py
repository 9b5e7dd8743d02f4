"""What no classifier can pass: pairs of test series of different label that one perturbed series lies between.

Two series closer than 2 epsilon in every sample have a common point within epsilon of both, and a classifier gives
it one label, so at least one of the two is lost. With such pairs as edges, the fewest series that any classifier
loses is the smallest vertex cover of the graph: the ceiling is 1 - cover / n.

The cover is found component by component as an integer program (HiGHS through scipy) over cliques that cover the
edges: of k series that all exclude each other at least k - 1 are lost, which bounds far better than pairs. Where a
component is not solved in time, the solver's lower bound counts, so that the ceiling stays an upper bound and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

BLOCK = 64  # series compared at once: 64 x n x time floats stay small


@dataclass(frozen=True)
class Ceiling:
    """``share`` of ``n`` series that can be kept; ``exact`` is False where it is only an upper bound."""

    share: float
    n: int
    conflicts: int
    cover: int
    exact: bool


def conflicts(x: np.ndarray, y: np.ndarray, epsilon: float, valid: np.ndarray | None = None) -> np.ndarray:
    """(pair, 2) indices i < j of different label, closer than 2 ``epsilon`` in every sample.

    Args:
        x: (n, time, channel). valid: (n, time) bool; series whose valid samples differ are told apart by that.
    """
    flat = x.reshape(len(x), -1)
    found = []
    for start in range(0, len(x), BLOCK):
        part = slice(start, min(len(x), start + BLOCK))
        distance = np.abs(flat[part, None, :] - flat[None, start:, :]).max(-1)
        close = (distance < 2 * epsilon) & (y[part, None] != y[None, start:])
        if valid is not None:
            close &= (valid[part, None] == valid[None, start:]).all(-1)
        i, j = np.nonzero(close)
        found.append(np.stack([i + start, j + start], 1)[i < j])
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def ceiling(
    x: np.ndarray, y: np.ndarray, epsilon: float, valid: np.ndarray | None = None, *, limit_s: float = 60.0
) -> Ceiling:
    """The ceiling of series (n, time, channel) with labels (n,) at ``epsilon``; ``limit_s`` a component."""
    edges = conflicts(x, y, epsilon, valid)
    total, exact = 0, True
    for part in _components(edges, len(x)):
        size, solved = _cover(part, limit_s)
        total += size
        exact &= solved
    return Ceiling((len(x) - total) / len(x), len(x), len(edges), total, exact)


def _components(edges: np.ndarray, n: int) -> list[np.ndarray]:
    """The edges of each connected component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(edges):
        return []
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    of_edge = label[edges[:, 0]]
    return [edges[of_edge == part] for part in np.unique(of_edge)]


def _cover(edges: np.ndarray, limit_s: float) -> tuple[int, bool]:
    """(size of the smallest vertex cover or a lower bound of it, whether it is exact)."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    nodes, index = np.unique(edges, return_inverse=True)
    cliques = _cliques(index.reshape(edges.shape), len(nodes))
    sizes = np.array([len(clique) for clique in cliques])
    rows, columns = np.repeat(np.arange(len(cliques)), sizes), np.concatenate(cliques)
    matrix = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(cliques), len(nodes)))
    result = milp(
        np.ones(len(nodes)),
        integrality=np.ones(len(nodes)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix.tocsr(), lb=sizes - 1),
        options={"time_limit": limit_s},
    )
    if result.status == 0:
        return round(result.fun), True
    bound = result.mip_dual_bound if result.mip_dual_bound is not None else 1.0
    return max(1, math.ceil(bound - 1e-6)), False


def _cliques(edges: np.ndarray, n: int) -> list[np.ndarray]:
    """Cliques that together hold every edge, each grown greedily from an edge that none holds yet."""
    adjacent = np.zeros((n, n), bool)
    adjacent[edges[:, 0], edges[:, 1]] = adjacent[edges[:, 1], edges[:, 0]] = True
    open_edges, found = adjacent.copy(), []
    for i, j in edges:
        if not open_edges[i, j]:
            continue
        clique, common = [i, j], adjacent[i] & adjacent[j]
        while common.any():
            # the neighbour that brings most edges not held yet
            options = np.flatnonzero(common)
            best = options[np.argmax(open_edges[np.ix_(options, clique)].sum(1))]
            clique.append(best)
            common &= adjacent[best]
        members = np.array(clique)
        open_edges[np.ix_(members, members)] = False
        found.append(members)
    return found
