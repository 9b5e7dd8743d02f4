"""What the tensors of a TFLite file hold, and the file without what no interpreter needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer import tflite


def ranges(model: bytes) -> list[dict[str, Any]]:
    """Each int8 tensor: ``name``, ``shape``, the values that it can hold (``low`` to ``high``), its ``step`` (the
    coarsest of its channels) and the number of ``channels`` that have a step of their own (1: one for all).
    """
    parsed, kind = tflite.unpack(model), tflite.schema().TensorType.INT8
    found = []
    for tensor in parsed.subgraphs[0].tensors:
        told = tensor.quantization
        if tensor.type != kind or told is None or told.scale is None or not len(told.scale):
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

    Inner tensors lose their names (inputs and outputs keep theirs), all lose what says nothing, and tensors without
    contents share one buffer.
    """
    parsed = tflite.unpack(model)
    full: dict[bytes, int] = {b"": 0}  # the format's first buffer is the empty one
    buffers = parsed.buffers[:1]
    for graph in parsed.subgraphs:
        outer = {int(i) for i in (*graph.inputs, *graph.outputs)}
        for at, tensor in enumerate(graph.tensors):
            if at not in outer:
                tensor.name = None
            held = parsed.buffers[tensor.buffer]
            content = b"" if held.data is None else bytes(bytearray(held.data))
            tensor.shapeSignature = None  # of shapes that change; these do not
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
            if content not in full:
                full[content] = len(buffers)
                buffers.append(held)
            tensor.buffer = full[content]
    for item in parsed.metadata or []:
        buffers.append(parsed.buffers[item.buffer])
        item.buffer = len(buffers) - 1
    parsed.buffers, parsed.metadataBuffer = buffers, None
    return tflite.pack(parsed)
