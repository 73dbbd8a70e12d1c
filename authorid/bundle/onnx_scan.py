"""Scan an ONNX file for references to other files, without running it.

A graph may refer to other files: tensors with "external data", and compiled blobs of execution providers. An untrusted
bundle must not make the runtime read files outside its directory, so every graph is scanned before onnxruntime opens
it. The scan reads only as much of protobuf's wire format as it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from authorid.errors import BundleCorruptError

__all__ = ["check_graph", "external_files"]

# Message types of onnx.proto, each with its fields that contain another message to scan: {field number: type}.
_MESSAGES = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Pair"},
}
_OPERATOR = ("Node", 4)
_KEY, _VALUE = 1, 2

_MAX_DEPTH = 64
"""Levels of nested messages; protobuf itself stops at 100."""

_MAX_TAG = 0xFFFFFFFF
"""protobuf ignores the bits of a tag beyond 32. A larger tag could hide external data: we would read another field."""


def check_graph(path: Path, files: frozenset[str]) -> None:
    """Check that the graph at `path` refers to no file but `files`, the names that have a digest in its bundle.

    Raises `BundleCorruptError`.
    """
    for name in external_files(path):
        if name not in files:
            raise BundleCorruptError(f"{path}: refers to a file outside its bundle ({name!r}); refusing to load it")


def external_files(path: Path) -> Iterator[str]:
    """Names of the files in which the ONNX graph at `path` stores tensors.

    Raises `BundleCorruptError` when the file is not an ONNX graph, or contains a node that loads compiled code.
    """
    try:
        for kind, field, value in _fields(memoryview(path.read_bytes()), "Model", 0):
            if (kind, field) == _OPERATOR and bytes(value) == b"EPContext":
                raise BundleCorruptError(f"{path}: contains a compiled blob (EPContext); refusing to load it")
            if kind == "Pair" and field == 0:
                pair = {number: bytes(part) for _, number, part in _fields(value, "Text", 0)}
                if pair.get(_KEY) == b"location":
                    yield pair.get(_VALUE, b"").decode("utf-8")  # onnxruntime opens these very bytes
    except (ValueError, IndexError):
        raise BundleCorruptError(f"{path}: is not an ONNX graph, or is damaged") from None


def _fields(data: memoryview, kind: str, depth: int) -> Iterator[tuple[str, int, memoryview]]:
    """Yield ``(message type, field number, bytes)`` of every length-delimited field, nested messages included.

    A nested message is also yielded as a whole, with its own type and field number 0.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("too deep")
    inner = _MESSAGES.get(kind, {})
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag > _MAX_TAG:
            raise ValueError("not a tag")
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            _, position = _varint(data, position)
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        elif wire == 2:
            size, position = _varint(data, position)
            value = data[position : position + size]
            if len(value) < size:
                raise ValueError("truncated")
            position += size
            yield kind, field, value
            if field in inner:
                yield inner[field], 0, value
                if inner[field] != "Pair":
                    yield from _fields(value, inner[field], depth + 1)
        else:
            raise ValueError("ONNX has no groups")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("not a varint")
