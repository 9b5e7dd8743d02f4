"""Classifiers by the name that a recipe uses. Each module has ``build(spec, **arguments) -> keras.Model``."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainer.data.base import DataSpec
from trainer.errors import RecipeError

if TYPE_CHECKING:
    import keras

MODELS = ("compact", "ecg13", "fcn", "resnet")


def build(name: str, spec: DataSpec, **arguments: Any) -> keras.Model:
    """The classifier ``name`` for windows of ``spec``: (time, channel) in raw units -> logits (class,).

    Raises:
        RecipeError: unknown name, or an argument that the model does not take (names the nearest).
    """
    if name not in MODELS:
        raise RecipeError(f"model.name: unknown model {name!r}; {_choice(name, MODELS)}")
    # imported by name, because each of them loads keras
    builder: Callable[..., keras.Model] = importlib.import_module(f"trainer.models.{name}").build
    known = [key for key in inspect.signature(builder).parameters if key != "spec"]
    for key in arguments:
        if key not in known:
            raise RecipeError(f"model.arguments.{key}: {name} takes no such argument; {_choice(key, known)}")
    try:
        return builder(spec, **arguments)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"model.arguments: {name} cannot be built for {spec.name}: {error}") from error


def _choice(name: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(known)}"
