"""A TFLite file as objects and back: the one place that knows the generated schema and the file's frame."""

from __future__ import annotations

from typing import Any, ClassVar

LARGEST_SHARED = 1 << 12  # bytes; a buffer's alignment is its own


def schema() -> Any:
    """The module of generated classes."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def unpack(model: bytes) -> Any:
    """The file's ``ModelT``; a damaged file raises what struct and numpy raise."""
    return schema().ModelT.InitFromPackedBuf(bytearray(model), 0)


def pack(model: Any) -> bytes:
    """The file of a ``ModelT``; vectors of the same numbers (shapes, zero points) are written once and referred to."""
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        written: ClassVar[dict[tuple[str, bytes], int]] = {}

        def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802  (flatbuffers' own name)
            key = (x.dtype.str, x.tobytes())
            if key not in self.written or len(key[1]) > LARGEST_SHARED:
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

    Builder.written = {}
    builder = Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
