"""The float graph that is converted: thermometer, encode-decode and classifier in one, with named outputs.

Two things differ from the model that was trained, neither changes what it computes:

- Scalings are folded into the neighbouring convolution, so that int8 has fewer places to round.
- A path that reads the raw window enters int8 as two channels, coarse = floor(x / (32 q)) and fine = x / q - 32
  coarse. One int8 tensor over a 3 mV span has steps of 13 uV or more, which would round an attack of 10 uV away
  before anything sees it, and the measured robustness would be that of the rounding. Both channels are whole
  numbers of the resolution q, so with a tensor scale of exactly 1 nothing is lost.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from trainer.errors import ExportError
from trainer.models.forest import LEAVES, NODES, Forest, descend
from trainer.models.layers import PACKAGE, Thermometer
from trainer.models.rhythm import Rhythm

BASE = 32  # fine steps in a coarse one: 8 bits coarse and 5 fine, and a weight ratio that int8 still holds


@keras.saving.register_keras_serializable(PACKAGE)
class HardThermometer(keras.layers.Layer):
    """The thermometer's forward pass alone: a float32 comparison and a cast."""

    def __init__(self, thresholds: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thresholds = np.asarray(thresholds, np.float32)

    def call(self, x: Any) -> Any:
        return ops.cast(x >= self.thresholds, "float32")

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*shape[:-1], len(self.thresholds))


@keras.saving.register_keras_serializable(PACKAGE)
class HardForest(keras.layers.Layer):
    """The forest's forward pass alone, its weights as constants."""

    def __init__(self, forest: Forest, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        count = forest.trees * forest.classes
        self.feature = np.asarray(forest.feature, np.int32).reshape(-1)
        self.threshold = np.asarray(forest.threshold).reshape(count, NODES)
        self.leaf = np.asarray(forest.leaf).reshape(count, LEAVES)
        self.bias, self.trees, self.classes = np.asarray(forest.bias), forest.trees, forest.classes

    def call(self, x: Any) -> Any:
        value = ops.reshape(ops.take(ops.reshape(x, (-1,)), self.feature, axis=0), (1, *self.threshold.shape))
        scores = descend(ops.cast(value > self.threshold, "float32"), self.leaf)
        return ops.sum(ops.reshape(scores, (1, self.trees, self.classes)), 1) + self.bias

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (1, self.classes)


@keras.saving.register_keras_serializable(PACKAGE)
class CoarseFine(keras.layers.Layer):
    """(n, time, 1) -> (n, time, 2): coarse in [-128, 127], fine in [0, 32), in units of ``resolution``."""

    def __init__(self, resolution: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.resolution = resolution

    def call(self, x: Any) -> Any:
        limit = float(128 * BASE)
        whole = ops.minimum(ops.maximum(x * (1.0 / self.resolution), -limit), limit - 1.0)
        coarse = ops.floor(whole * (1.0 / BASE))
        return ops.concatenate([coarse, whole - coarse * float(BASE)], axis=-1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*shape[:-1], 2)


def input_convolutions(classifier: keras.Model) -> tuple[float, list[str]]:
    """(input scale, names of the layers that read the window), looking through one Rescaling and past ``Rhythm``.

    Raises:
        ExportError: something other than convolutions of one channel reads the window.
    """
    scale = 1.0
    readers = [layer for layer in _readers(classifier, classifier.input) if not isinstance(layer, Rhythm)]
    if len(readers) == 1 and isinstance(readers[0], layers.Rescaling):
        scale = float(readers[0].scale)
        readers = _readers(classifier, readers[0].output)
    for layer in readers:
        if not isinstance(layer, layers.Conv1D) or layer.kernel.shape[1] != 1:
            raise ExportError(
                f"{classifier.name}: {layer.name} reads the window; export splits a window of one channel in front of "
                "Conv1D layers only"
            )
    return scale, [layer.name for layer in readers]


def _readers(model: keras.Model, tensor: Any) -> list[Any]:
    return [
        layer
        for layer in model.layers
        for node in layer._inbound_nodes
        if any(t is tensor for t in node.input_tensors)
    ]


def rewired(classifier: keras.Model, inputs: Any, factors: list[float]) -> keras.Model:
    """A copy of ``classifier`` that reads ``inputs`` (n, time, channel): its window is the sum of factor * channel."""
    scale, readers = input_convolutions(classifier)

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, layers.Rescaling):
            return layers.Activation("linear", name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(classifier, input_tensors=inputs, clone_function=clone)
    for layer in copy.layers:
        if not layer.weights:
            continue
        weights = classifier.get_layer(layer.name).get_weights()
        if layer.name in readers:
            weights[0] = np.concatenate([weights[0] * scale * f for f in factors], axis=1)
        layer.set_weights(weights)
    return copy


def build(classifier: keras.Model, front: keras.Model | None, resolution: float) -> keras.Model:
    """The graph to convert, batch 1: window (time, 1) -> dict of named outputs.

    ``probabilities``, ``embedding``, ``features``; with an encode-decode ``front`` also ``reconstruction`` and
    ``probabilities_raw`` (the same classifier on the window itself).
    """
    samples = classifier.input_shape[1]
    inputs = keras.Input((samples, 1), batch_size=1, name="window")
    outputs: dict[str, Any] = {}
    split = CoarseFine(resolution, name="coarse_fine")(inputs)
    seen = inputs if front is None else reconstruct(front, inputs)
    votes = _votes(classifier, seen)

    def answer(window: Any, factors: list[float], name: str) -> tuple[Any, Any, Any]:
        reader = keras.Input((samples, len(factors)), batch_size=1)
        body = keras.Model(reader, rewired(_body(classifier), reader, factors).outputs, name=name)
        return _head(classifier, body(window), votes)

    raw_factors = [BASE * resolution, resolution]
    if front is None:
        logits, embedding, features = answer(split, raw_factors, "classifier_raw")
    else:
        logits, embedding, features = answer(seen, [1.0], "classifier")
        outputs["reconstruction"] = seen
        raw_logits, _, _ = answer(split, raw_factors, "classifier_raw")
        outputs["probabilities_raw"] = layers.Softmax(name="probabilities_raw")(raw_logits)
    outputs["probabilities"] = layers.Softmax(name="probabilities")(logits)
    outputs["embedding"] = embedding
    outputs["features"] = features
    return keras.Model(inputs, outputs, name="bundle")


def _body(classifier: keras.Model) -> keras.Model:
    """Window -> [features, *what is pooled of them], without a forest."""
    try:
        features, embedding = classifier.get_layer("features"), classifier.get_layer("embedding")
        classifier.get_layer("logits")
    except ValueError as error:
        raise ExportError(
            f"{classifier.name}: a classifier needs layers named features, embedding, logits"
        ) from error
    made_by = _forest(classifier)
    pooled = [embedding.output] if made_by is None else [t for t in embedding.input if t is not made_by.output]
    return keras.Model(classifier.input, [features.output, *pooled], name="body")


def _head(classifier: keras.Model, body: list[Any], votes: Any | None) -> tuple[Any, Any, Any]:
    """(logits, embedding, features) of what the body gives and the forest's votes."""
    features, *embedding = body
    x = embedding[0] if votes is None else layers.Concatenate()([*embedding, votes])
    dense = classifier.get_layer("logits")
    copy = dense.__class__.from_config({**dense.get_config(), "name": None})
    logits = copy(x)
    copy.set_weights(dense.get_weights())
    return logits, x, features


def _forest(classifier: keras.Model) -> Forest | None:
    return next((layer for layer in classifier.layers if isinstance(layer, Forest)), None)


def _votes(classifier: keras.Model, window: Any) -> Any | None:
    """The forest's scores of a window in float32; the raw path shares them, its own would cost as much again."""
    forest = _forest(classifier)
    if forest is None:
        return None
    rhythm = next(layer for layer in classifier.layers if isinstance(layer, Rhythm))
    return HardForest(forest, name="forest")(rhythm.__class__.from_config(rhythm.get_config())(window))


def reconstruct(front: keras.Model, inputs: Any) -> Any:
    """The encode-decode with its last scaling folded into the decoder's convolution."""
    x = inputs
    pending = float(front.layers[-1].scale) if isinstance(front.layers[-1], layers.Rescaling) else 1.0
    convolutions = [layer for layer in front.layers if isinstance(layer, layers.Conv1D)]
    for layer in front.layers[1:]:
        if isinstance(layer, Thermometer):
            x = HardThermometer(layer.thresholds, name="thermometer")(x)
        elif isinstance(layer, layers.Rescaling):
            continue
        else:
            copy = layer.__class__.from_config(layer.get_config())
            x = copy(x)
            if layer.weights:
                factor = pending if layer is convolutions[-1] else 1.0
                copy.set_weights([w * factor for w in layer.get_weights()])
    return x
