"""Float graph -> TFLite: float32, float16, dynamic range, or int8 with a float32 front end.

Plain int8 conversion puts QUANTIZE first, so a thermometer would compare int8 with int8 and steps of 10 uV or
more would be rounded away before anything sees them. Some operations therefore stay in float32: the comparison
and its cast, the coarse and fine split, what is counted of heart beats, and the softmax. Everything between is int8,
per channel.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

import keras
import numpy as np

from trainer import tflite
from trainer.errors import ExportError

MODES = ("int8", "float16", "dynamic", "none")
FLOAT_OPS = (
    *("GREATER_EQUAL", "CAST", "MUL", "SUB", "FLOOR", "MINIMUM", "MAXIMUM", "CONCATENATION", "SOFTMAX"),
    "TOPK_V2",  # of FLOAT_LAYERS, which the converter does not find by name
)
FLOAT_LAYERS = ("rhythm", "forest")  # places, intervals and comparisons


def convert(graph: keras.Model, mode: str, representative: np.ndarray) -> bytes:
    """The TFLite file of ``graph``.

    Args:
        mode: one of ``MODES``; ``none`` keeps float32.
        representative: (n, time, channel) float32 preprocessed windows whose ranges int8 must hold; the coarse
            and fine split's own extremes are added here, so that its scale is exactly 1.
    """
    import tensorflow as tf

    if mode not in MODES:
        raise ExportError(f"--quantize {mode}: choose one of {', '.join(MODES)}")
    try:
        with redirect_stdout(io.StringIO()):  # Keras lists every variable of what it saves
            if mode == "int8":
                return _int8(graph, representative)
            converter = tf.lite.TFLiteConverter.from_keras_model(graph)
            if mode != "none":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if mode == "float16":
                converter.target_spec.supported_types = [tf.float16]
            return bytes(converter.convert())
    except ExportError:
        raise
    except Exception as error:  # the converter raises many kinds; all mean that it cannot convert
        raise ExportError(f"{graph.name}: TensorFlow Lite cannot convert this model: {error}") from error


def _int8(graph: keras.Model, representative: np.ndarray) -> bytes:
    import tensorflow as tf

    windows = _with_extremes(graph, np.asarray(representative, np.float32))

    def dataset() -> Iterable[list[np.ndarray]]:
        for window in windows:
            yield [window[None]]

    converter = tf.lite.TFLiteConverter.from_keras_model(graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = dataset
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=list(FLOAT_OPS), denylisted_nodes=_float_nodes(graph)
        ),
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _float_nodes(graph: keras.Model) -> list[str]:
    """Names of what the layers ``FLOAT_LAYERS`` compute, in the converter's words."""
    import tensorflow as tf

    if not any(layer.name in FLOAT_LAYERS for layer in graph.layers):
        return []
    parsed = tflite.unpack(tf.lite.TFLiteConverter.from_keras_model(graph).convert()).subgraphs[0]
    names = [parsed.tensors[at].name.decode() for node in parsed.operators for at in node.outputs]
    return [name for name in names if any(f"/{layer}_" in name or f"/{layer}/" in name for layer in FLOAT_LAYERS)]


def _with_extremes(graph: keras.Model, windows: np.ndarray) -> np.ndarray:
    """The windows and one that drives the coarse and fine split to both ends of its range."""
    split: Any = next((layer for layer in graph.layers if layer.name == "coarse_fine"), None)
    if split is None:
        return windows
    limit = 4096.0 * split.resolution
    edge = np.zeros_like(windows[:1])
    edge[0, 0], edge[0, 1] = -limit, limit
    return np.concatenate([windows, edge])


def find_outputs(model: bytes, probes: np.ndarray) -> dict[str, int]:
    """Index in the interpreter's list of outputs of each named output of the file's signature.

    The file keeps names in its signature, but the list's order is its own; both are run on the ``probes`` and
    matched by value, and outputs that cannot be told apart are an error rather than a guess.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    # a second interpreter, since the signature's answers keep references into its own
    signature = Interpreter(model_content=model, num_threads=1).get_signature_runner()
    details = interpreter.get_output_details()
    entry = interpreter.get_input_details()[0]["index"]
    candidates: dict[str, set[int]] = {
        name: set(range(len(details))) for name in signature.get_output_details()
    }
    for probe in probes:
        named = {k: np.array(v) for k, v in signature(window=probe[None]).items()}
        interpreter.set_tensor(entry, probe[None])
        interpreter.invoke()
        listed = [np.array(interpreter.get_tensor(d["index"])) for d in details]
        for name, value in named.items():
            candidates[name] &= {i for i, g in enumerate(listed) if np.array_equal(g, value)}
    found = {name: min(left) for name, left in candidates.items() if len(left) == 1}
    if len(found) != len(candidates):
        raise ExportError(
            f"outputs {sorted(set(candidates) - set(found))} of the converted file cannot be told apart"
        )
    return found


def logit_step(model: bytes, classes: int) -> float:
    """The int8 step of the logits, the largest of the int8 tensors of that shape; 0 in a float file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    steps = [
        float(t["quantization"][0])
        for t in interpreter.get_tensor_details()
        if t["dtype"] == np.int8 and tuple(t["shape"]) == (1, classes)
    ]
    return max(steps, default=0.0)
