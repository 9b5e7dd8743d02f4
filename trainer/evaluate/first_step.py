"""The first rounding inside a TFLite file: how coarse the signal is before anything has looked at it.

Plain int8 conversion puts a QUANTIZE first. Over 3 mV its steps are larger than a perturbation of 10 µV, which is then
rounded away, and what looks robust is that rounding (ADR 0002). Only what reaches the window before any computation
is found: a comparison in float32, or a coarse and a fine channel, are no such rounding.
"""

from __future__ import annotations

from typing import Any

from trainer import tflite

# Operators that give on the same values in another shape.
_SHAPES = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "TRANSPOSE", "PAD", "STRIDED_SLICE")


def first_step(model: bytes) -> float | None:
    """Size of one integer step of the window, in the units of the model's input; None where there is no such step."""
    names = {v: k for k, v in vars(tflite.schema().BuiltinOperator).items() if not k.startswith("_")}
    parsed = tflite.unpack(model)
    graph = parsed.subgraphs[0]
    steps: list[float] = []
    reached = [int(i) for i in graph.inputs]
    for tensor in reached:  # grows while it is walked
        own = _scale(graph.tensors[tensor])
        if own is not None:
            steps.append(own)
            continue
        for operator in graph.operators:
            if tensor not in [int(i) for i in operator.inputs]:
                continue
            code = parsed.operatorCodes[operator.opcodeIndex]
            name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
            if name == "QUANTIZE":
                steps.append(_scale(graph.tensors[int(operator.outputs[0])]) or 0.0)
            elif name in _SHAPES:
                reached += [int(i) for i in operator.outputs if int(i) not in reached]
            else:
                return None  # something reads the window unrounded
    return min(steps) if steps else None


def _scale(tensor: Any) -> float | None:
    scale = None if tensor.quantization is None else tensor.quantization.scale
    return float(scale[0]) if scale is not None and len(scale) else None
