"""A boosted forest of small trees as a layer: hard comparisons forward, a surrogate's gradient backward.

Few thousand records teach trees on a hundred numbers better than a dense net (``docs/experiments.md``). Each tree has
``DEPTH`` comparisons one below the other, so that all trees answer in a handful of operations. A comparison is a
thermometer of one level, and attacks pass it as they pass a thermometer (BPDA, ``layers.surrogate_slope``).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.models.layers import PACKAGE, SURROGATES, surrogate_slope

DEPTH = 3
NODES, LEAVES = 2**DEPTH - 1, 2**DEPTH


@keras.saving.register_keras_serializable(PACKAGE)
class Forest(keras.layers.Layer):
    """(n, number) -> (n, class) scores: the sum over each class's ``trees`` of the leaf that is reached.

    Nodes of a tree in heap order (0; 1, 2; 3 to 6), right where number > threshold; leaves from left to right. Not
    trained by gradients: ``trainer.forest`` grows it. Weights: ``feature``, ``threshold`` and ``spacing`` (tree,
    class, node), ``leaf`` (tree, class, leaf), ``bias`` (class,). ``spacing``: half a width over which the surrogate
    sees a comparison.
    """

    def __init__(self, trees: int, classes: int, *, surrogate: str = "sigmoid", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if surrogate not in SURROGATES:
            raise ValueError(f"unknown surrogate {surrogate!r}; choose one of {', '.join(SURROGATES)}")
        self.trees, self.classes, self.surrogate = trees, classes, surrogate

    def build(self, shape: tuple[int | None, ...]) -> None:
        def add(name: str, *rest: int, value: str = "zeros") -> Any:
            return self.add_weight(name=name, shape=rest, initializer=value, trainable=False)

        # places as numbers, since weights of one kind can be averaged, stored and compared alike
        self.feature = add("feature", self.trees, self.classes, NODES)
        self.threshold = add("threshold", self.trees, self.classes, NODES)
        self.spacing = add("spacing", self.trees, self.classes, NODES, value="ones")
        self.leaf = add("leaf", self.trees, self.classes, LEAVES)
        self.bias = add("bias", self.classes)

    def call(self, x: Any) -> Any:
        at = ops.cast(ops.reshape(self.feature, (-1,)), "int32")
        value = ops.reshape(ops.take(x, at, axis=1), (-1, self.trees * self.classes, NODES))
        shape = (self.trees * self.classes, NODES)
        threshold, spacing = (ops.reshape(w, shape) for w in (self.threshold, self.spacing))

        @ops.custom_gradient
        def over(value: Any) -> tuple[Any, Any]:
            def backward(*args: Any, upstream: Any = None) -> Any:
                upstream = args[0] if upstream is None else upstream
                u, levels = value / spacing, threshold / spacing
                return upstream * surrogate_slope(u, levels, 1.0, self.surrogate) / spacing

            return ops.cast(value > threshold, "float32"), backward

        scores = descend(over(value), ops.reshape(self.leaf, (shape[0], LEAVES)))
        return ops.sum(ops.reshape(scores, (-1, self.trees, self.classes)), 1) + self.bias

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], self.classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "trees": self.trees,
            "classes": self.classes,
            "surrogate": self.surrogate,
        }


def descend(bits: Any, leaf: Any) -> Any:
    """(n, tree): the leaf (tree, ``LEAVES``) that bits (n, tree, ``NODES``) of 0 and 1 lead to; linear in each bit."""
    value = leaf[None]
    for depth in reversed(range(DEPTH)):
        left, right = value[..., 0::2], value[..., 1::2]
        value = left + bits[..., 2**depth - 1 : 2 ** (depth + 1) - 1] * (right - left)
    return value[..., 0]
