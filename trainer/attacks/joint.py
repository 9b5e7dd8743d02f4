"""The attack on label and detector at once: turn the answer and stay below what makes a verdict suspect.

What is raised: the margin, no further than ``confidence``, less a price for every measure that is near its limit:
the residual (how far the encode-decode moves the signal), the disagreement (total variation of the answers with and
without it), and a top score too low (N. Carlini and D. Wagner 2017, "Adversarial examples are not easily detected",
put a detector into the objective like this).

The limits are those of a bundle's manifest; the evaluation passes them. A measure without a limit costs nothing.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.attacks.base import Attack
from trainer.attacks.climb import At, Climb, climb
from trainer.attacks.gradient import objective
from trainer.attacks.norms import Ball
from trainer.defenses.base import logits_of, reconstruction_of
from trainer.models.wrap import AttackModel, preprocess, thermometers

PATHS = ("defended", "raw", "both")
_ROOM = 0.95  # of a limit: the int8 file measures a little otherwise than its twin
_TINY = 1e-12


class Joint(Attack):
    """``steps`` of Adam on the margin and the detector's measures.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps, step_share: how many, and Adam's step as a share of epsilon.
        residual, disagreement, score: limits of the detector (residual in the units of the model's input; the least
            top score); None where there is none.
        price: logits that a measure at twice its limit costs.
        confidence: logits past the boundary at which only the detector counts.
        paths: whose answer is turned: "defended" (through the encode-decode), "raw" (around it), or "both", which
            keeps the disagreement low by itself.
    """

    name = "joint"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 100,
        step_share: float = 0.1,
        residual: float | None = None,
        disagreement: float | None = None,
        score: float | None = None,
        price: float = 10.0,
        confidence: float = 1.0,
        paths: str = "defended",
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or step_share <= 0 or price < 0 or confidence < 0:
            raise ValueError("steps must be at least 1, step_share above 0, price and confidence at least 0")
        if paths not in PATHS:
            raise ValueError(f"paths is one of {', '.join(PATHS)}")
        self.steps, self.step_share, self.price, self.confidence = steps, step_share, price, confidence
        self.residual, self.disagreement, self.score, self.paths = residual, disagreement, score, paths

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        classifier = behind(model.model)
        if classifier is None and self.paths != "defended":
            raise ValueError(f"{model.name} has no encode-decode, so no second path")
        key = ("joint", self.paths, self.residual, self.disagreement, self.score, self.price, self.confidence)

        def raised(model: AttackModel, at: At) -> tuple[Any, Any]:
            inside = preprocess(at.window, at.mask, model.steps)
            outputs = model.model(inside, training=False)
            logits, decoded = logits_of(outputs), reconstruction_of(outputs)
            raw = logits_of(classifier(inside, training=False)) if classifier is not None else logits
            margin = objective("margin", logits, at.true)
            around = objective("margin", raw, at.true)
            turned = {"defended": margin, "raw": around, "both": ops.minimum(margin, around)}[self.paths]
            cost = self._cost(ops.softmax(logits), ops.softmax(raw), inside, decoded, at.mask)
            return ops.minimum(turned, self.confidence) - self.price * cost, turned

        return climb(model, x, y, ball, Climb(key, raised, self.steps, self.step_share, adam=True, by_value=True))

    def _cost(self, answer: Any, raw: Any, inside: Any, decoded: Any | None, mask: Any) -> Any:
        """(n,) by how much the measures pass their limits, each as a share of it."""
        cost = ops.zeros_like(answer[:, 0])
        if self.residual is not None and decoded is not None:
            values = ops.sum(mask, axis=(1, 2)) * inside.shape[-1]
            squares = ops.sum(ops.square(decoded - inside) * mask, axis=(1, 2)) / ops.maximum(values, 1.0)
            cost += ops.relu(ops.sqrt(squares + _TINY) / self.residual - _ROOM)
        if self.disagreement is not None:
            apart = 0.5 * ops.sum(ops.abs(answer - raw), axis=-1)
            cost += ops.relu(apart / self.disagreement - _ROOM)
        if self.score is not None:
            cost += ops.relu(1.0 / _ROOM - ops.max(answer, axis=-1) / self.score)
        return cost

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": self.step_share * float(np.max(self.epsilon))}


def behind(model: keras.Model) -> keras.Model | None:
    """The classifier behind an encode-decode: it answers for the window itself on the raw path. None without one."""
    if not thermometers(model):
        return None
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model) and not thermometers(layer)]
    return nested[-1] if nested else None
