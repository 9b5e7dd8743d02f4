"""Arrays in a bundle: the .npz format without its dangers.

np.load trusts a header enough to allocate what it claims, unpacks what is compressed, and has pickles one
flag away. This reader takes version 1.0 arrays of plain little-endian numbers whose size is exactly that of
their member. numpy.load reads what is written here.
"""

from __future__ import annotations

import ast
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError

from .archive import read_stored, write_stored

__all__ = ["read_arrays", "write_arrays"]

_DTYPES = frozenset({"<f2", "<f4", "<f8", "|b1", "|i1", "|u1", "<i2", "<i4", "<i8"})
_MAGIC = b"\x93NUMPY\x01\x00"
# A header of one line; numpy pads it to 118 bytes for anything we store.
_MAX_HEADER = 1024
_MAX_DIMENSIONS = 8


def write_arrays(arrays: Mapping[str, npt.ArrayLike]) -> bytes:
    """An .npz of these arrays, stored, with equal bytes for equal arrays."""
    members: dict[str, bytes] = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        if array.ndim:
            array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in _DTYPES:
            raise BundleError(
                f"array {name!r} is {array.dtype}; use plain numbers such as float32", member=name
            )
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
    return write_stored(members)


def read_arrays(data: bytes, member: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays by name from the stored bytes of `member`; read-only views. Raises BundleError."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, content in read_stored(data, member).items():
        if not name.endswith(".npy"):
            raise BundleError(
                f"{member}: {name[:80]!r} is not an array; export the bundle again", member=member
            )
        try:
            arrays[name[:-4]] = _read_array(content)
        except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
            message = f"{member}: array {name[:80]!r} cannot be read ({error}); export the bundle again"
            raise BundleError(message, member=member) from error
    return arrays


def _read_array(content: bytes) -> npt.NDArray[Any]:
    if content[:8] != _MAGIC:
        raise ValueError("not an array of format 1.0")
    length = int.from_bytes(content[8:10], "little")
    if length > _MAX_HEADER or len(content) < 10 + length:
        raise ValueError("header is cut off or too long")
    header = ast.literal_eval(content[10 : 10 + length].decode("latin-1").strip())
    descr, shape = header["descr"], header["shape"]
    if not isinstance(descr, str) or descr not in _DTYPES:
        raise ValueError(f"type {descr!r:.40} is not a plain number")
    if header["fortran_order"] is not False:
        raise ValueError("column order is not supported")
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("shape is not a tuple of at most eight numbers")
    if not all(isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape):
        raise ValueError("shape is not made of whole numbers")
    dtype = np.dtype(descr)
    body = content[10 + length :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"shape {shape} needs another size than its {len(body)} bytes")
    return np.frombuffer(body, dtype).reshape(shape)
