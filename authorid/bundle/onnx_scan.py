"""What an ONNX file asks for, read without running it.

A graph may point at other files: tensors with "external data", and compiled blobs of execution providers. A bundle
from a stranger must not make the runtime read files outside its directory, so its graphs are looked through before
onnxruntime sees them. This reads only as much of protobuf's wire format as that takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from authorid.errors import BundleCorruptError

__all__ = ["check_graph", "external_files"]

# Fields of onnx.proto, by message: those that hold a message worth looking into.
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

_DEEPEST = 64
"""Messages within messages; protobuf itself stops at a hundred."""

_LARGEST_TAG = 0xFFFFFFFF
"""protobuf forgets what a tag has beyond 32 bits: what is another field here would be external data there."""


def check_graph(path: Path, files: frozenset[str]) -> None:
    """Refuse a graph that would read a file other than `files`, the names with a digest in its bundle.

    Raises `BundleCorruptError`.
    """
    for name in external_files(path):
        if name not in files:
            raise BundleCorruptError(f"{path}: refers to a file outside its bundle ({name!r}); refusing to load it")


def external_files(path: Path) -> Iterator[str]:
    """Names of the files that the ONNX graph at `path` keeps tensors in.

    Raises `BundleCorruptError` when the file is no ONNX graph, or holds a node that loads compiled code.
    """
    try:
        for kind, field, value in _fields(memoryview(path.read_bytes()), "Model", 0):
            if (kind, field) == _OPERATOR and bytes(value) == b"EPContext":
                raise BundleCorruptError(f"{path}: holds a compiled blob (EPContext); refusing to load it")
            if kind == "Pair" and field == 0:
                pair = {number: bytes(part) for _, number, part in _fields(value, "Text", 0)}
                if pair.get(_KEY) == b"location":
                    yield pair.get(_VALUE, b"").decode("utf-8")  # strictly: onnxruntime opens the bytes as they are
    except (ValueError, IndexError):
        raise BundleCorruptError(f"{path}: not an ONNX graph, or a damaged one") from None


def _fields(data: memoryview, kind: str, depth: int) -> Iterator[tuple[str, int, memoryview]]:
    """``(message, field, bytes)`` of every length-delimited field, messages within looked into; field 0: as a whole."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    inner = _MESSAGES.get(kind, {})
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        if tag > _LARGEST_TAG:
            raise ValueError("not a tag")
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            _, place = _varint(data, place)
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        elif wire == 2:
            size, place = _varint(data, place)
            value = data[place : place + size]
            if len(value) < size:
                raise ValueError("cut short")
            place += size
            yield kind, field, value
            if field in inner:
                yield inner[field], 0, value
                if inner[field] != "Pair":
                    yield from _fields(value, inner[field], depth + 1)
        else:
            raise ValueError("groups are not part of ONNX")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("not a varint")
