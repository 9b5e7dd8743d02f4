"""The float graph of a wrapped Keras classifier: raw window -> reconstruction, probabilities, probabilities_raw."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from trainer.errors import ExportError
from trainer.export import graph
from trainer.foreign.spec import WindowFile


def reconstruction(one: Any, file: WindowFile) -> Any:
    """The encode-decode alone, batch 1: window (time, channel) -> reconstruction, with hard comparisons."""
    inputs = keras.Input((file.window_samples, len(file.channels)), batch_size=1, name="window")
    return keras.Model(inputs, {"reconstruction": _rebuilt(one, inputs, file)}, name="front")


def build(classifier: Any, one: Any, file: WindowFile, x: np.ndarray, mode: str) -> tuple[Any, np.ndarray]:
    """(graph, representative windows). ``x``: preprocessed windows (n, time, channel).

    Raises:
        ExportError: int8 for a classifier whose raw path cannot be split into coarse and fine.
    """
    inputs = keras.Input((file.window_samples, len(file.channels)), batch_size=1, name="window")
    rebuilt = _rebuilt(one, inputs, file)
    clean, raw = classifier, classifier(inputs) if mode != "int8" else None
    if raw is None:
        resolution = _resolution(file, x)
        clean, split_reader = rewired(classifier, file, resolution)
        raw = split_reader(graph.CoarseFine(resolution, name="coarse_fine")(inputs))
    outputs = {
        "reconstruction": rebuilt,
        "probabilities": layers.Softmax(name="probabilities")(clean(rebuilt)),
        "probabilities_raw": layers.Softmax(name="probabilities_raw")(raw),
    }
    return keras.Model(inputs, outputs, name="bundle"), x[:256]


def rewired(classifier: Any, file: WindowFile, resolution: float) -> tuple[Any, Any]:
    """Two copies of the classifier for int8: one of a window, one of its coarse and fine parts.

    Raises:
        ExportError: more than one channel, or not a plain classifier of convolutions.
    """
    if len(file.channels) != 1:
        raise ExportError("int8 takes one channel; use --quantize none or float16")
    flat, made = _flat(classifier), []
    for name, factors in (("clean", [1.0]), ("raw", [graph.BASE * resolution, resolution])):
        window = keras.Input((file.window_samples, len(factors)), batch_size=1)
        try:
            copy = graph.rewired(flat, window, factors)
        except (TypeError, ValueError, AttributeError) as error:  # what Keras raises where a layer cannot be copied
            raise ExportError(f"int8: this classifier cannot be rewired ({error}); use --quantize none") from error
        made.append(keras.Model(copy.inputs[0], copy.outputs[0], name=name))
    return made[0], made[1]


def _rebuilt(one: Any, inputs: Any, file: WindowFile) -> Any:
    if len(file.channels) == 1:
        return graph.reconstruct(one, inputs)
    single = keras.Input((file.window_samples, 1), batch_size=1)
    hard = keras.Model(single, graph.reconstruct(one, single))
    parts = [hard(inputs[:, :, i : i + 1]) for i in range(len(file.channels))]
    return layers.Concatenate(name="reconstruction")(parts)


def _flat(classifier: Any) -> Any:
    """The model inside the adapter, where the adapter does nothing but rename: its layers can be rewired."""
    inner = [layer for layer in classifier.layers if isinstance(layer, keras.Model)]
    rest = [layer for layer in classifier.layers if not isinstance(layer, (keras.Model, layers.InputLayer))]
    if len(inner) != 1 or any(not isinstance(layer, layers.Dense) for layer in rest):
        raise ExportError("int8: only a plain classifier of Conv1D layers; use --quantize none or float16")
    out = inner[0].outputs[0]
    for layer in rest:
        out = layer(out)
    return keras.Model(inner[0].inputs[0], out, name="foreign_flat")


def _resolution(file: WindowFile, x: np.ndarray) -> float:
    """What one fine step holds: 1 uV for plain voltages, else what the largest value needs."""
    if file.units == "uV" and {step["op"] for step in file.preprocess} <= {"remove_dc", "clip"}:
        return 1.0
    return float(np.abs(x).max()) / (graph.BASE * 100) or 0.005
