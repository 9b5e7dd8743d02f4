"""Ranges of int8: rare peaks must not swallow what tells classes apart."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from trainer.export.quantize import convert
from trainer.export.ranges import answers, convert_int8


def graph_and_windows() -> tuple[keras.Model, np.ndarray]:
    """Two classes by the sign of a mean of a few hundredths; two windows of 64 have a peak of 500."""
    inputs = keras.Input((16, 1), batch_size=1, name="window")
    x = layers.Conv1D(2, 1, name="sign")(inputs)
    x = layers.Dense(2, name="logits")(layers.GlobalAveragePooling1D()(x))
    graph = keras.Model(inputs, {"probabilities": layers.Softmax(name="probabilities")(x)})
    graph.get_layer("sign").set_weights([np.array([[[1.0, -1.0]]]), np.zeros(2)])
    graph.get_layer("logits").set_weights([np.eye(2) * 20, np.zeros(2)])
    rng = np.random.default_rng(0)
    windows = (rng.choice([-0.3, 0.3], (64, 1, 1)) + rng.normal(0, 0.05, (64, 16, 1))).astype(np.float32)
    windows[:2, 3] = 500.0
    return graph, windows


def test_windows_with_rare_peaks_are_left_out_where_they_cost_answers() -> None:
    graph, windows = graph_and_windows()
    expected = np.array([np.asarray(graph(w[None])["probabilities"]).argmax() for w in windows])
    plain = float(np.mean(answers(convert(graph, "int8", windows), windows) == expected))
    model, share, alike = convert_int8(graph, windows)
    assert plain < 0.9
    assert share == 0.75
    assert alike >= 0.99
    assert alike == np.mean(answers(model, windows) == expected)


def test_all_windows_count_where_they_cost_nothing() -> None:
    graph, windows = graph_and_windows()
    _, share, alike = convert_int8(graph, windows[2:])
    assert (share, alike) == (1.0, 1.0)
