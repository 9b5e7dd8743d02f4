"""Large constants of a TFLite file in as few bytes as they need.

What a forest picks is whole numbers below 256, kept as bytes; what its leaves say is kept in half precision (2^-11 of
each). Thresholds stay as they are, since rounding one turns answers over. The file widens both where it begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer import tflite

LARGE = 1000  # numbers; below, the operation that widens costs more than it saves


def narrow(model: bytes) -> bytes:
    """The same file with narrower constants; as it is where it has none."""
    parsed, s = tflite.unpack(model), tflite.schema()
    graph = parsed.subgraphs[0]
    kinds, codes = s.TensorType, s.BuiltinOperator
    compared = {
        int(at)
        for node in graph.operators
        if _code(parsed, node) in (codes.GREATER, codes.GREATER_EQUAL, codes.LESS, codes.LESS_EQUAL)
        for at in node.inputs
    }
    wideners = []
    for at, tensor in enumerate(list(graph.tensors)):
        data = parsed.buffers[tensor.buffer].data
        if data is None or at in compared or len(data) < 4 * LARGE:
            continue
        if tensor.type == kinds.INT32:
            values = np.frombuffer(bytes(bytearray(data)), np.int32)
            if values.min() < 0 or values.max() > 255:
                continue
            small, kind, code = values.astype(np.uint8), kinds.UINT8, codes.CAST
        elif tensor.type == kinds.FLOAT32:
            with np.errstate(over="ignore"):  # what is too large stays as it is
                small = np.frombuffer(bytes(bytearray(data)), np.float32).astype(np.float16)
            if not np.isfinite(small).all():
                continue
            kind, code = kinds.FLOAT16, codes.DEQUANTIZE
        else:
            continue
        buffer = s.BufferT()
        buffer.data = np.frombuffer(small.tobytes(), np.uint8)
        parsed.buffers.append(buffer)
        source = s.TensorT()
        source.shape, source.type, source.buffer, source.name = tensor.shape, kind, len(parsed.buffers) - 1, b"narrow"
        graph.tensors.append(source)
        tensor.buffer = 0
        node = s.OperatorT()
        node.opcodeIndex = _opcode(parsed, code)
        node.inputs, node.outputs = (np.array([i], np.int32) for i in (len(graph.tensors) - 1, at))
        if code == codes.CAST:
            node.builtinOptionsType, node.builtinOptions = s.BuiltinOptions.CastOptions, s.CastOptionsT()
            node.builtinOptions.inDataType, node.builtinOptions.outDataType = kind, tensor.type
        else:
            node.builtinOptionsType = s.BuiltinOptions.DequantizeOptions
            node.builtinOptions = s.DequantizeOptionsT()
        wideners.append(node)
    if not wideners:
        return model
    graph.operators = [*wideners, *graph.operators]
    return tflite.pack(parsed)


def _code(parsed: Any, node: Any) -> int:
    found = parsed.operatorCodes[node.opcodeIndex]
    return int(max(found.builtinCode, found.deprecatedBuiltinCode))


def _opcode(parsed: Any, code: int) -> int:
    for at, found in enumerate(parsed.operatorCodes):
        if max(found.builtinCode, found.deprecatedBuiltinCode) == code:
            return at
    new = tflite.schema().OperatorCodeT()
    new.builtinCode = new.deprecatedBuiltinCode = code
    new.version = 3  # takes float16
    parsed.operatorCodes.append(new)
    return len(parsed.operatorCodes) - 1
