"""What a gradient attack raises, one value a record, from logits (n, class): each above, the surer the error.

``cross_entropy`` and ``margin`` (best wrong logit less the true one; Carlini and Wagner 2017) as in ``gradient``;
``dlr``, the margin over the spread of the logits, so that their scale does not matter, and ``targeted``, the same
towards one class (Croce and Hein 2020, eq. 6 and section 4.2).

Departures: ``dlr`` divides by the first less the third logit and is the margin where there are two classes;
``targeted`` divides by the first less the mean of third and fourth, the third alone where there are three.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from trainer.attacks.gradient import objective

LOSSES = ("cross_entropy", "margin", "dlr", "targeted")
_FLOOR = 1e-9


def loss(name: str, logits: Any, target: Any, aim: Any) -> Any:
    """(n,) loss called ``name``; ``target`` and ``aim`` (n, class) mark the true class and the one aimed at."""
    if name in ("cross_entropy", "margin"):
        return objective(name, logits, target)
    true = ops.sum(logits * target, axis=-1)
    if name == "dlr":
        return objective("margin", logits, target) / _spread(logits, 1)
    if name == "targeted":
        return (ops.sum(logits * aim, axis=-1) - true) / _spread(logits, 2)
    raise ValueError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")


def _spread(logits: Any, tail: int) -> Any:
    """The first logit less the mean of ``tail`` from the third on; 1 where there is no third."""
    classes = logits.shape[-1]
    if classes < 3:
        return 1.0
    ranked = ops.flip(ops.sort(logits, axis=-1), axis=-1)
    return ranked[:, 0] - ops.mean(ranked[:, 2 : min(classes, 2 + tail)], axis=-1) + _FLOOR
