"""What the tensors of a TFLite file hold, and the file without what no interpreter needs."""

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


def slim(model: bytes) -> bytes:
    """The same tensors and operators, a tenth smaller where the model is small.

    Inner tensors lose their names (inputs and outputs keep theirs), and tensors without contents share one buffer.
    """
    import flatbuffers

    _, parsed = _parse(model)
    full: dict[bytes, int] = {b"": 0}  # the format's first buffer is the empty one
    buffers = parsed.buffers[:1]
    for graph in parsed.subgraphs:
        outer = {int(i) for i in (*graph.inputs, *graph.outputs)}
        for at, tensor in enumerate(graph.tensors):
            if at not in outer:
                tensor.name = None
            held = parsed.buffers[tensor.buffer]
            content = b"" if held.data is None else bytes(bytearray(held.data))
            if content not in full:
                full[content] = len(buffers)
                buffers.append(held)
            tensor.buffer = full[content]
    for item in parsed.metadata or []:
        buffers.append(parsed.buffers[item.buffer])
        item.buffer = len(buffers) - 1
    parsed.buffers, parsed.metadataBuffer = buffers, None
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _parse(model: bytes) -> tuple[Any, Any]:
    from ai_edge_litert import schema_py_generated as schema

    return schema, schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
