"""What the tensors of a TFLite file hold, and the file without the names of those that nothing asks for by name."""

from __future__ import annotations

from typing import Any

import numpy as np


def ranges(model: bytes) -> list[dict[str, Any]]:
    """Each int8 tensor: ``name``, ``shape``, the values that it can hold (``low`` to ``high``), its ``step`` (the
    coarsest of its channels) and the number of ``channels`` that have a step of their own (1: one for all).
    """
    schema, parsed = _parse(model)
    found = []
    for tensor in parsed.subgraphs[0].tensors:
        told = tensor.quantization
        if tensor.type != schema.TensorType.INT8 or told is None or told.scale is None or not len(told.scale):
            continue
        scale, zero = np.asarray(told.scale, np.float64), np.asarray(told.zeroPoint, np.float64)
        found.append(
            {
                "name": bytes(tensor.name).decode("utf-8", "replace"),
                "shape": [int(side) for side in tensor.shape],
                "low": float(((-128 - zero) * scale).min()),
                "high": float(((127 - zero) * scale).max()),
                "step": float(scale.max()),
                "channels": len(scale),
            }
        )
    return found


def without_names(model: bytes) -> bytes:
    """The same tensors and operators, a tenth smaller where the model is small; inputs and outputs keep their names."""
    import flatbuffers

    _, parsed = _parse(model)
    for graph in parsed.subgraphs:
        outer = {int(i) for i in (*graph.inputs, *graph.outputs)}
        for at, tensor in enumerate(graph.tensors):
            if at not in outer:
                tensor.name = b""
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _parse(model: bytes) -> tuple[Any, Any]:
    from ai_edge_litert import schema_py_generated as schema

    return schema, schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
