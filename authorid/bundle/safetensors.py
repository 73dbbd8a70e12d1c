"""Reads and writes the safetensors format with numpy alone: eight bytes of length, a JSON header, the arrays.

https://github.com/huggingface/safetensors#format. Nothing in a file is code. A file that breaks a rule of the format is
refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BFLOAT16", "read_tensors", "write_tensors"]

BFLOAT16 = np.dtype([("upper", "<u2")])
"""The type of arrays of bfloat16, which numpy does not have: the upper halves of float32 numbers."""

_DTYPES: dict[str, Any] = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}

_LONGEST_HEADER = 100_000_000

_MOST_DIMENSIONS = 32
_LARGEST_NUMBER = 1 << 62

Tensors = dict[str, npt.NDArray[Any]]


def read_tensors(file: bytes | memoryview) -> tuple[Tensors, dict[str, str]]:
    """Arrays by name, and the metadata; raises `ValueError` when `file` is not safetensors.

    Arrays are read-only, and views of the `file`. The format does not oblige other tools to pad the header, so an array
    may lie at an address that is no multiple of its item size; such an array is copied to one that is.
    """
    data = memoryview(file)
    if len(data) < 8:
        raise ValueError("shorter than its own header")
    length = int.from_bytes(data[:8], "little")
    if length > min(_LONGEST_HEADER, len(data) - 8):
        raise ValueError("shorter than its own header")
    header = _parse_header(bytes(data[8 : 8 + length]))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("the metadata is not an object of strings")
    body = data[8 + length :]
    tensors: Tensors = {}
    expected = 0
    spans = [(name, *_span(name, item)) for name, item in header.items()]
    for name, dtype, shape, start, stop in sorted(spans, key=lambda span: span[3:]):
        if start != expected or stop - start != math.prod(shape) * dtype.itemsize or stop > len(body):
            raise ValueError(f"tensor {name!r} does not lie where the header says")
        tensors[name] = _aligned(np.frombuffer(body[start:stop], dtype=dtype)).reshape(shape)
        expected = stop
    if expected != len(body):
        raise ValueError("there are bytes that belong to no tensor")
    return tensors, metadata


def _parse_header(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise ValueError("the header is not an object")
    header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    assert isinstance(header, dict)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("the header has a name twice")
    return found


def _aligned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not array.flags.aligned:
        array = array.copy()
    array.flags.writeable = False
    return array


def _span(name: str, item: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """Data type, shape, and where the bytes of a tensor begin and end."""
    try:
        dtype = np.dtype(_DTYPES[item["dtype"]])
        start, stop = item["data_offsets"]
        numbers = (*item["shape"], start, stop)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"tensor {name!r} is described in a way this release does not know") from None
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        raise ValueError(f"tensor {name!r} has a shape or offset that is not a number")
    if len(numbers) > _MOST_DIMENSIONS or max(numbers) > _LARGEST_NUMBER:
        raise ValueError(f"tensor {name!r} has a shape or offset that no array has")
    return dtype, tuple(numbers[:-2]), start, stop


def write_tensors(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file. The header is padded, the widest types come first: every array is aligned."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    offset = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        array = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        raw = array.tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        parts.append(raw)
        offset += len(raw)
    text = json.dumps(header, ensure_ascii=True, sort_keys=True).encode("ascii")
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
