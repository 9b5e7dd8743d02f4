"""One window through a bundle's model: preprocess, run, dequantise."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from edge.bundle import Bundle, Manifest, preprocess
from edge.errors import BundleError
from edge.types import BoolArray, FloatArray, Scores, Window

from .runtime import Interpreter, load_interpreter

__all__ = ["Classifier"]

# Outputs that classify reads for every window; the rest only when asked, as a feature map can be large.
_ALWAYS = ("probabilities", "probabilities_raw", "reconstruction")


@dataclass(frozen=True, slots=True)
class _Output:
    tensor: int
    scale: float
    zero_point: int


class Classifier:
    """A bundle's model in one interpreter with one input array. Not to be shared between threads."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.manifest: Manifest = bundle.manifest
        self._interpreter: Interpreter = load_interpreter(bundle.model, threads)
        self._input_tensor = _check_input(self._interpreter, bundle.manifest)
        self._outputs = _find_outputs(self._interpreter, bundle.manifest)
        self._steps = bundle.manifest.preprocess
        self._always = tuple(name for name in _ALWAYS if name in self._outputs)

    @property
    def steps(self) -> dict[str, float]:
        """Size of one int8 step of each output that the file stores as integers; 0 for a float output."""
        return {name: output.scale for name, output in self._outputs.items()}

    def classify(self, window: Window, *, explain: bool = False) -> Scores:
        """Scores of one window; `explain` also fetches embedding and features. Raises BundleError."""
        started = time.perf_counter()
        values, valid = window.values, window.valid
        if values.shape != self.manifest.window_shape or valid.shape != values.shape[:1]:
            raise BundleError(
                f"window of stream {window.stream!r} has shape {values.shape}, {self.manifest.ref} takes "
                f"{self.manifest.window_shape}; cut windows by the bundle's input"
            )
        x = preprocess.apply(self._steps, values, valid)
        self._invoke(x[None])
        got = {name: self._get(name) for name in (self._outputs if explain else self._always)}
        probabilities = got["probabilities"][0]
        raw = got["probabilities_raw"][0] if "probabilities_raw" in got else None
        reconstruction = got["reconstruction"][0] if "reconstruction" in got else None
        residual = None if reconstruction is None else _residual(reconstruction, x, valid)
        return Scores(
            probabilities=probabilities,
            probabilities_raw=raw,
            reconstruction=reconstruction,
            embedding=got["embedding"][0] if "embedding" in got else None,
            features=got["features"][0] if "features" in got else None,
            residual=residual,
            disagreement=None if raw is None else 0.5 * float(np.abs(probabilities - raw).sum()),
            latency_ms=(time.perf_counter() - started) * 1000.0,
        )

    def run(self, x: FloatArray) -> dict[str, FloatArray]:
        """Every output, name -> (1, ...), for a model input float32 (1, n, channel), already preprocessed."""
        self._invoke(np.ascontiguousarray(x, dtype=np.float32))
        return {name: self._get(name) for name in self._outputs}

    def _invoke(self, x: FloatArray) -> None:
        if x.shape != (1, *self.manifest.window_shape):
            raise BundleError(f"model input has shape {x.shape}, not {(1, *self.manifest.window_shape)}")
        self._interpreter.set_tensor(self._input_tensor, x)
        self._interpreter.invoke()

    def _get(self, name: str) -> FloatArray:
        output = self._outputs[name]
        value = self._interpreter.get_tensor(output.tensor)
        if output.scale:
            steps: FloatArray = value.astype(np.float32) - np.float32(output.zero_point)
            steps *= np.float32(output.scale)
            return steps
        return value


def _residual(reconstruction: FloatArray, x: FloatArray, valid: BoolArray) -> float:
    difference = reconstruction - x
    if not valid.all():
        difference = difference[valid]
    # Squares are summed in float64: a window of 300,000 values in µV would lose digits in float32.
    flat = difference.ravel().astype(np.float64)
    return math.sqrt(flat.dot(flat) / flat.size) if flat.size else 0.0


def _check_input(interpreter: Interpreter, manifest: Manifest) -> int:
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise _wrong(f"takes {len(inputs)} inputs; a bundle's model takes one window")
    shape, expected = tuple(int(side) for side in inputs[0]["shape"]), (1, *manifest.window_shape)
    if shape != expected:
        raise _wrong(f"input shape is {shape}, the manifest's window needs {expected}")
    if inputs[0]["dtype"] != np.float32:
        raise _wrong(
            f"input is {np.dtype(inputs[0]['dtype'])}, not float32; keep the input float at conversion"
        )
    return int(inputs[0]["index"])


def _find_outputs(interpreter: Interpreter, manifest: Manifest) -> dict[str, _Output]:
    details = interpreter.get_output_details()
    outputs: dict[str, _Output] = {}
    for name, spec in manifest.outputs.items():
        if spec.index >= len(details):
            raise _wrong(f"has {len(details)} outputs, the manifest wants {name!r} at index {spec.index}")
        found = details[spec.index]
        shape = tuple(int(side) for side in found["shape"])
        if shape != spec.shape:
            raise _wrong(f"output {name!r} has shape {shape}, the manifest says {spec.shape}")
        scale, zero_point = found["quantization"]
        dtype = np.dtype(found["dtype"])
        if dtype.kind in "iu" and not scale:
            raise _wrong(f"output {name!r} is {dtype} without a scale")
        if dtype.kind not in "iu" and dtype != np.float32:
            raise _wrong(f"output {name!r} is {dtype}; use float32 or int8")
        is_float = dtype == np.float32
        outputs[name] = _Output(int(found["index"]), 0.0 if is_float else float(scale), int(zero_point))
    return outputs


def _wrong(what: str) -> BundleError:
    return BundleError(f"model.tflite: {what}; export the bundle again", member="model.tflite")
