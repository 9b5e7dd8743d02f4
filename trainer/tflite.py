"""A TFLite file as objects and back: the one place that knows the generated schema and the file's frame."""

from __future__ import annotations

from typing import Any


def schema() -> Any:
    """The module of generated classes."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def unpack(model: bytes) -> Any:
    """The file's ``ModelT``; a damaged file raises what struct and numpy raise."""
    return schema().ModelT.InitFromPackedBuf(bytearray(model), 0)


def pack(model: Any) -> bytes:
    """The file of a ``ModelT``."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
