"""Make tests/edge/data/tiny-*.tflite, so that the tests of edge need no TensorFlow.

    python tests/edge/make_tiny_model.py

Input float32 (1, 64, 1) in uV. Thermometer of 8 levels, one strided Conv1D and an upsampling decoder, a
classifier of 3 labels on the raw and the reconstructed signal. tiny-float is float32 throughout, tiny-int8 is
int8 after the float32 thermometer, as shipped bundles are; tiny-int8out also gives its outputs as int8.
Weights are random: only the plumbing is of interest.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

DATA = Path(__file__).parent / "data"
WINDOW, LABELS, SCALE_UV = 64, 3, 100.0
THRESHOLDS = [-150.0, -100.0, -50.0, -10.0, 10.0, 50.0, 100.0, 150.0]
OUTPUTS = ("probabilities", "probabilities_raw", "reconstruction", "embedding", "features")


class Thermometer(keras.layers.Layer):
    """Hard encoder: float compare in the graph."""

    def call(self, x):
        return tf.cast(x >= tf.constant(THRESHOLDS, tf.float32), tf.float32)


def build() -> keras.Model:
    keras.utils.set_random_seed(7)
    x = keras.Input((WINDOW, 1), batch_size=1, name="window")
    code = keras.layers.Conv1D(8, 5, strides=4, padding="same", activation="relu")(Thermometer()(x))
    decoded = keras.layers.Conv1D(1, 5, padding="same")(keras.layers.UpSampling1D(4)(code))
    features = keras.layers.Conv1D(4, 5, strides=4, padding="same", activation="relu")
    pool, dense = keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(LABELS, activation="softmax")
    clean = features(decoded)
    embedding = pool(clean)
    raw = dense(pool(features(x / SCALE_UV)))
    outputs = {
        "probabilities": dense(embedding),
        "probabilities_raw": raw,
        "reconstruction": decoded * SCALE_UV,
        "embedding": embedding,
        "features": clean,
    }
    return keras.Model(x, [outputs[name] for name in OUTPUTS])


def windows():
    rng = np.random.default_rng(3)
    for _ in range(64):
        yield [rng.normal(0, 100, (1, WINDOW, 1)).astype(np.float32)]


def main() -> None:
    model = build()
    DATA.mkdir(exist_ok=True)
    float_model = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = windows
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["GREATER_EQUAL", "CAST"])

    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=windows, debug_options=options
    )
    int8_model = debugger.get_nondebug_quantized_model()
    plain = tf.lite.TFLiteConverter.from_keras_model(model)
    plain.optimizations = [tf.lite.Optimize.DEFAULT]
    plain.representative_dataset = windows
    plain.inference_output_type = tf.int8
    models = {"tiny-float": float_model, "tiny-int8": int8_model, "tiny-int8out": plain.convert()}
    sample = next(iter(windows()))[0]
    expected = [np.asarray(value) for value in model(sample)]
    for name, content in models.items():
        print(name)
        (DATA / f"{name}.tflite").write_bytes(content)
        (DATA / f"{name}.json").write_text(json.dumps(describe(content, sample, expected), indent=1) + "\n")


def describe(content: bytes, sample, expected) -> dict:
    """Outputs as a manifest lists them: matched by name, since the converter may order them otherwise."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
    interpreter.invoke()
    print([(d["name"], d["dtype"].__name__) for d in interpreter.get_input_details()])
    outputs = {}
    for name, want in zip(OUTPUTS, expected, strict=True):
        found = []
        for index, details in enumerate(interpreter.get_output_details()):
            scale, zero = details["quantization"]
            got = interpreter.get_tensor(details["index"]).astype(np.float32)
            got = (got - zero) * scale if scale else got
            if got.shape == want.shape:
                found.append((float(np.abs(got - want).max()), index, scale))
        error, index, scale = min(found)
        scale = scale or step_before(interpreter, interpreter.get_output_details()[index]["index"])
        print(name, index, want.shape, "largest error", error, "step", scale)
        outputs[name] = {"index": index, "shape": list(want.shape), "step": float(scale)}
    assert len({entry["index"] for entry in outputs.values()}) == len(OUTPUTS)
    return outputs


def step_before(interpreter, tensor: int) -> float:
    """One int8 step of a float output: the scale of what the last DEQUANTIZE reads; 0 when there is none."""
    scales = {details["index"]: details["quantization"][0] for details in interpreter.get_tensor_details()}
    for op in interpreter._get_ops_details():
        if op["op_name"] == "DEQUANTIZE" and tensor in op["outputs"]:
            return float(scales[op["inputs"][0]])
    return 0.0


if __name__ == "__main__":
    main()
