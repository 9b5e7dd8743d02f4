"""Golden vectors: a few windows and what the model must answer to them, stored with the bundle.

Here is their form; the comparison, which needs an interpreter, is edge/pipeline/golden.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError
from edge.types import BoolArray, FloatArray

from .manifest import Manifest

__all__ = ["Vectors", "parse_vectors"]

MEMBER = "vectors.npz"
_STEP = "step_"


@dataclass(frozen=True, slots=True)
class Vectors:
    """`windows` float32 (m, n, channel) raw units; `valid` bool (m, n); `outputs` by name float32 (m, ...).

    `steps` by output: the size of one int8 step, 0 where the output is float.
    """

    windows: FloatArray
    valid: BoolArray
    outputs: Mapping[str, FloatArray]
    steps: Mapping[str, float]


def parse_vectors(arrays: Mapping[str, npt.NDArray[Any]], manifest: Manifest) -> Vectors:
    """Check the arrays against the manifest. Raises BundleError that names the array."""
    windows = _array(arrays, "windows", np.dtype(np.float32))
    valid = _array(arrays, "valid", np.dtype(np.bool_))
    count = windows.shape[0] if windows.ndim else 0
    if count < 1:
        raise _wrong("windows", "holds no window; store at least one")
    _check_shape("windows", windows, (count, *manifest.window_shape))
    _check_shape("valid", valid, (count, manifest.input.window_samples))
    outputs: dict[str, FloatArray] = {}
    steps: dict[str, float] = {}
    for name, spec in manifest.outputs.items():
        outputs[name] = _array(arrays, name, np.dtype(np.float32))
        _check_shape(name, outputs[name], (count, *spec.shape[1:]))
        steps[name] = _step(arrays, name)
    known = {"windows", "valid", *outputs, *(_STEP + name for name in outputs)}
    for name in arrays:
        if name not in known:
            raise _wrong(name, "belongs to no output of the manifest; remove it")
    return Vectors(windows, valid, outputs, steps)


def _array(arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if name not in arrays:
        raise _wrong(name, "is missing; export the bundle again")
    array = arrays[name]
    if array.dtype != dtype:
        raise _wrong(name, f"is {array.dtype}; store it as {dtype}")
    if dtype.kind == "f" and not bool(np.isfinite(array).all()):
        raise _wrong(name, "holds NaN or infinity; export the bundle again")
    return array


def _check_shape(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise _wrong(name, f"has shape {array.shape}, the manifest needs {shape}; export the bundle again")


def _step(arrays: Mapping[str, npt.NDArray[Any]], output: str) -> float:
    name = _STEP + output
    if name not in arrays:
        return 0.0
    array = arrays[name]
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise _wrong(name, "is not one number; store the scale of that output")
    value = float(array.reshape(())[()])
    if not 0.0 <= value < float("inf"):
        raise _wrong(name, f"is {value}; store the scale of that output, or 0 for float")
    return value


def _wrong(name: str, what: str) -> BundleError:
    return BundleError(f"{MEMBER}: array {name[:80]!r} {what}", member=MEMBER)
