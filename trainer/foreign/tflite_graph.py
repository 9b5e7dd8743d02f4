"""Two TFLite files as one: the encode-decode's, and a foreign classifier that is run on the window and on what the
encode-decode makes of it.

The file format is a table of tensors and operators, so nothing is converted: the classifier's operators are copied
twice, its weights are shared, and both runs compute to the bit what the file alone computes. Quantized inputs and
outputs, logits, and one number for two labels get the operators that turn them into float probabilities.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer import tflite
from trainer.errors import ExportError

SUBTRACT, CONCATENATE, RESHAPE, TRANSPOSE, SOFTMAX, LOGISTIC, QUANTIZE, DEQUANTIZE = (
    "SUB", "CONCATENATION", "RESHAPE", "TRANSPOSE", "SOFTMAX", "LOGISTIC", "QUANTIZE", "DEQUANTIZE"
)  # fmt: skip


def parse(model: bytes, name: str) -> Any:
    """The file as objects.

    Raises:
        ExportError: no TFLite file, or one with control flow, custom operators, or not one input and one output.
    """
    if model[4:8] != b"TFL3":
        raise ExportError(f"{name}: not a TFLite file")
    try:
        parsed = tflite.unpack(model)
        graphs = parsed.subgraphs
        inputs, outputs = graphs[0].inputs, graphs[0].outputs
    except Exception as error:  # the generated parser raises what struct and numpy raise
        raise ExportError(f"{name}: a damaged TFLite file ({type(error).__name__})") from error
    if len(graphs) != 1:
        raise ExportError(f"{name}: {len(graphs)} subgraphs (loops or several signatures); one is wrapped")
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(f"{name}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is wrapped")
    if any(code.customCode for code in parsed.operatorCodes):
        raise ExportError(f"{name}: has custom operators, which the agent's interpreter does not know")
    if any(tensor.isVariable for tensor in graphs[0].tensors):
        raise ExportError(f"{name}: keeps state from one window to the next; a bundle's model may not")
    return parsed


@dataclass
class Merged:
    """A model under construction: ``model`` is the first file's, others are added to it."""

    model: Any

    @property
    def graph(self) -> Any:
        return self.model.subgraphs[0]

    def constant(self, values: np.ndarray, name: str) -> int:
        """A constant tensor; gives its index."""
        schema = tflite.schema()
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        return self._tensor(values.shape, kind, name, len(self.model.buffers) - 1)

    def operator(self, kind: str, inputs: Sequence[int], shape: Sequence[int], name: str, **more: Any) -> int:
        """One operator with one output of ``shape``, float32 unless ``like`` is a tensor; gives the output's index."""
        schema = tflite.schema()
        like = more.pop("like", None)
        options = more.pop("options", None)
        output = self._tensor(shape, schema.TensorType.FLOAT32, name, 0)
        if like is not None:
            self.graph.tensors[output].type = like.type
            self.graph.tensors[output].quantization = copy.deepcopy(like.quantization)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(kind)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            operator.builtinOptions = options
        self.graph.operators.append(operator)
        return output

    def add(self, other: Any, entry: int, copies: dict[int, int] | None = None) -> tuple[int, dict[int, int]]:
        """Run ``other`` on tensor ``entry``; gives its output's index and where its constants are.

        ``copies``: what an earlier call gave, so that constants are shared.
        """
        first = copies is None
        where: dict[int, int] = {} if copies is None else copies
        graph = other.subgraphs[0]
        made = {int(i) for op in graph.operators for i in op.outputs}
        place: dict[int, int] = {-1: -1, int(graph.inputs[0]): entry}
        for at, tensor in enumerate(graph.tensors):
            if at in place:
                continue
            constant = at not in made
            if constant and at in where:
                place[at] = where[at]
                continue
            new = copy.deepcopy(tensor)
            if not first and not constant and new.name:  # names of activations stay apart
                new.name = bytes(new.name) + b"_raw"
            new.buffer = self._buffer(other, tensor.buffer) if constant else 0
            new.shapeSignature = None  # an open batch is one here
            self.graph.tensors.append(new)
            place[at] = len(self.graph.tensors) - 1
            if constant:
                where[at] = place[at]
        for op in graph.operators:
            new = copy.deepcopy(op)
            new.opcodeIndex = self._same_code(other.operatorCodes[op.opcodeIndex])
            for key in ("inputs", "outputs", "intermediates"):
                indices = getattr(op, key)
                if indices is not None:
                    setattr(new, key, np.array([place[int(i)] for i in indices], np.int32))
            self.graph.operators.append(new)
        return place[int(graph.outputs[0])], where

    def pack(self, outputs: Sequence[int]) -> bytes:
        """The file with these tensors as its outputs, in this order."""
        self.graph.outputs = np.array(outputs, np.int32)
        # signatures and metadata are those of the parts
        self.model.signatureDefs, self.model.metadata, self.model.metadataBuffer = [], [], []
        self.model.description = b"encode-decode and a wrapped classifier"
        return tflite.pack(self.model)

    def _tensor(self, shape: Sequence[int], kind: int, name: str, buffer: int) -> int:
        tensor = tflite.schema().TensorT()
        tensor.shape, tensor.type, tensor.name = np.array(shape, np.int32), kind, name.encode()
        tensor.buffer, tensor.hasRank = buffer, True
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _buffer(self, other: Any, index: int) -> int:
        data = other.buffers[index].data
        if index == 0 or data is None or not len(data):
            return 0
        self.model.buffers.append(copy.deepcopy(other.buffers[index]))
        return len(self.model.buffers) - 1

    def _code(self, kind: str) -> int:
        schema = tflite.schema()
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, kind)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        return self._same_code(code)

    def _same_code(self, code: Any) -> int:
        for at, known in enumerate(self.model.operatorCodes):
            if known.builtinCode == code.builtinCode and known.version == code.version:
                return at
        self.model.operatorCodes.append(copy.deepcopy(code))
        return len(self.model.operatorCodes) - 1


def merge(front: bytes, classifier: bytes, labels: int, kind: str, name: str) -> tuple[bytes, dict[str, int]]:
    """The two files as one, and its outputs' places: reconstruction, probabilities, probabilities_raw.

    Args:
        front: float32 window (1, time, channel) -> reconstruction of the same shape.
        kind: what the classifier gives: "probabilities" or "logits".
    """
    foreign = parse(classifier, name)
    merged = Merged(parse(front, "the encode-decode"))
    window, reconstruction = int(merged.graph.inputs[0]), int(merged.graph.outputs[0])
    shape = [int(side) for side in merged.graph.tensors[window].shape]
    entry = foreign.subgraphs[0].tensors[int(foreign.subgraphs[0].inputs[0])]
    exits, copies = [], None
    for tensor, mark in ((reconstruction, ""), (window, "_raw")):
        given = _enter(merged, tensor, shape, entry, mark, name)
        out, copies = merged.add(foreign, given, copies)
        exits.append(_leave(merged, out, labels, kind, mark))
    return merged.pack([reconstruction, *exits]), {"reconstruction": 0, "probabilities": 1, "probabilities_raw": 2}


def input_layout(shape: Sequence[int], window: Sequence[int]) -> str | None:
    """How a window (1, time, channel) becomes an input of ``shape``: "same", "reshape", "transpose" or None."""
    shape, (_, time, channels) = list(shape), window
    if shape == [1, time, channels]:
        return "same"
    if shape in ([1, time, channels, 1], [1, time, 1, channels], [1, 1, time, channels], [1, time * channels]):
        return "reshape"
    return "transpose" if shape == [1, channels, time] else None


def _enter(merged: Merged, tensor: int, shape: list[int], entry: Any, mark: str, name: str) -> int:
    schema = tflite.schema()
    wanted = [int(side) for side in entry.shape]
    layout = input_layout(wanted, shape)
    if layout is None:
        raise ExportError(f"{name}: takes windows of shape {wanted[1:]}, the spec's are {shape[1:]}")
    if layout == "reshape":
        to = merged.constant(np.array(wanted, np.int32), f"shape_in{mark}")
        options = schema.ReshapeOptionsT()
        options.newShape = np.array(wanted, np.int32)
        tensor = merged.operator(RESHAPE, (tensor, to), wanted, f"shaped{mark}", options=options)
    elif layout == "transpose":
        order = merged.constant(np.array([0, 2, 1], np.int32), f"order{mark}")
        tensor = merged.operator(
            TRANSPOSE, (tensor, order), wanted, f"channels_first{mark}", options=schema.TransposeOptionsT()
        )
    if entry.type == schema.TensorType.FLOAT32:
        return tensor
    if entry.type not in (schema.TensorType.INT8, schema.TensorType.UINT8):
        raise ExportError(f"{name}: its input is neither float32 nor 8 bits")
    return merged.operator(
        QUANTIZE, (tensor,), wanted, f"quantized{mark}", like=entry, options=schema.QuantizeOptionsT()
    )


def _leave(merged: Merged, tensor: int, labels: int, kind: str, mark: str) -> int:
    schema = tflite.schema()
    found = merged.graph.tensors[tensor]
    shape = [int(side) for side in found.shape]
    if found.type != schema.TensorType.FLOAT32:
        options = schema.DequantizeOptionsT()
        tensor = merged.operator(DEQUANTIZE, (tensor,), shape, f"dequantized{mark}", options=options)
    columns = int(np.prod(shape))
    if shape != [1, columns]:
        to = merged.constant(np.array([1, columns], np.int32), f"shape_out{mark}")
        options = schema.ReshapeOptionsT()
        options.newShape = np.array([1, columns], np.int32)
        tensor = merged.operator(RESHAPE, (tensor, to), [1, columns], f"flat{mark}", options=options)
    if columns == labels and kind == "logits":
        softmax = schema.SoftmaxOptionsT()
        softmax.beta = 1.0
        return merged.operator(SOFTMAX, (tensor,), [1, labels], f"probabilities{mark}", options=softmax)
    if columns == labels:
        return tensor
    if kind == "logits":  # one number for two labels: that of the second
        tensor = merged.operator(LOGISTIC, (tensor,), [1, 1], f"second{mark}")
    one = merged.constant(np.ones((1, 1), np.float32), f"one{mark}")
    first = merged.operator(SUBTRACT, (one, tensor), [1, 1], f"first{mark}", options=schema.SubOptionsT())
    joined = schema.ConcatenationOptionsT()
    joined.axis = 1
    return merged.operator(CONCATENATE, (first, tensor), [1, 2], f"probabilities{mark}", options=joined)


def runner(model: bytes, name: str, window: Sequence[int]) -> Any:
    """The file alone as ``run(x float32 (time, channel)) -> float32 (numbers,)``.

    Raises:
        ExportError: the interpreter refuses the file, or its input does not fit.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"{name}: LiteRT cannot load it: {' '.join(str(error).split())[:200]}") from error
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape = [int(side) for side in entry["shape"]]
    layout = input_layout(shape, window)
    if layout is None:
        raise ExportError(f"{name}: takes windows of shape {shape[1:]}, the spec's are {list(window[1:])}")

    def run(x: np.ndarray) -> np.ndarray:
        given: Any = x.T if layout == "transpose" else x
        given = np.ascontiguousarray(given, np.float32).reshape(shape)
        if entry["dtype"] != np.float32:
            given = _quantize(given, entry)
        interpreter.set_tensor(entry["index"], given)
        interpreter.invoke()
        got = np.array(interpreter.get_tensor(out["index"]), np.float32).reshape(-1)
        scale, zero = out["quantization"]
        return (got - zero) * np.float32(scale) if scale else got

    return run


def _quantize(x: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.asarray(np.clip(np.round(x / scale) + zero, limits.min, limits.max), details["dtype"])
