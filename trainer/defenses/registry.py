"""Defences by name. A new defence is one file, one line here and one row in the family's shared tests."""

from __future__ import annotations

from typing import Any

from trainer.defenses.adt import AdversarialDistillation
from trainer.defenses.adversarial_training import AdversarialTraining
from trainer.defenses.base import Defense
from trainer.defenses.jacobian import JacobianRegularization
from trainer.defenses.nsr import NoiseToSignal
from trainer.defenses.trades import Trades
from trainer.errors import RecipeError


def make(name: str, **arguments: Any) -> Defense:
    """The defence called ``name``; ``none`` is training on clean windows."""
    makers = {
        "none": lambda **kw: AdversarialTraining(**{**kw, "steps": 0}),
        "adversarial_training": AdversarialTraining,
        "trades": Trades,
        "distillation": lambda **kw: AdversarialDistillation(**{**kw, "c": 0.0}),
        "adt": AdversarialDistillation,
        "jacobian": JacobianRegularization,
        "nsr": NoiseToSignal,
    }
    if name not in makers:
        raise RecipeError(f"unknown defence {name!r}; known are {', '.join(makers)}")
    try:
        return makers[name](**arguments)
    except TypeError as error:
        raise RecipeError(f"defense.arguments: {error}") from error
