"""A temperature folded into a classifier: its logits divided, its answers the same, its scores less or more sure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def divide_logits(model: keras.Model, temperature: float) -> keras.Model:
    """``model`` itself, with the weights of every layer called "logits", nested ones included, divided.

    Every path that goes through such a layer has the temperature then, and so has every attack's gradient.

    Raises:
        ValueError: there is no such layer, and the temperature is not 1.
    """
    if temperature == 1.0:
        return model
    found = [layer for layer in _layers(model) if layer.name == "logits" and layer.weights]
    if not found:
        raise ValueError(f"{model.name}: no layer named logits to divide")
    for layer in found:
        layer.set_weights([weights / temperature for weights in layer.get_weights()])
    return model


def _layers(model: keras.Model) -> Iterator[Any]:
    seen: set[int] = set()
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif id(layer) not in seen:
            seen.add(id(layer))
            yield layer
