"""The safetensors format: what is written reads back, files of other tools are read, broken files are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from authorid.bundle.safetensors import read_tensors, write_tensors

TENSORS = {
    "a": np.arange(6, dtype=np.float64).reshape(2, 3),
    "b": np.arange(5, dtype=np.float32),
    "c": np.arange(3, dtype=np.int64),
    "d": np.array([1, 2, 3], dtype=np.uint8),
    "e": np.zeros((0, 4), dtype=np.int32),
    "f": np.array([True, False]),
}


def as_file(header: object, body: bytes, padding: int = 0) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode() + b" " * padding
    return len(text).to_bytes(8, "little") + text + body


def split(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_what_is_written_reads_back():
    tensors, metadata = read_tensors(write_tensors(TENSORS, {"key": "value"}))
    assert metadata == {"key": "value"}
    assert {name: (array.dtype, array.shape) for name, array in tensors.items()} == {
        name: (array.dtype, array.shape) for name, array in TENSORS.items()
    }
    assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("padding", range(9))
def test_tensors_behind_a_header_of_any_length_are_aligned_and_right(padding):
    """The format does not oblige other tools to pad the header."""
    header, body = split(write_tensors(TENSORS, {}))
    tensors, _ = read_tensors(as_file(header, body, padding))
    for name, array in tensors.items():
        assert array.flags.aligned and not array.flags.writeable
        assert np.array_equal(array, TENSORS[name])


def test_tensors_in_any_order_are_aligned():
    header = {
        "byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "wide": {"dtype": "F64", "shape": [2], "data_offsets": [1, 17]},
    }
    wide = np.array([1.5, -2.5])
    tensors, _ = read_tensors(as_file(header, b"\x07" + wide.tobytes()))
    assert tensors["wide"].flags.aligned and np.array_equal(tensors["wide"], wide)
    assert tensors["byte"].tolist() == [7]


def test_aligned_tensors_are_not_copied():
    data = np.frombuffer(write_tensors(TENSORS, {}), np.uint8)
    tensors, _ = read_tensors(data.data)
    assert all(np.shares_memory(array, data) for array in tensors.values() if array.size)


@pytest.mark.parametrize("padding", range(4))
def test_the_safetensors_package_reads_the_same(padding):
    safetensors = pytest.importorskip("safetensors")
    numpy_format = pytest.importorskip("safetensors.numpy")
    ours = write_tensors(TENSORS, {})
    header, body = split(ours)
    try:
        theirs = numpy_format.load(as_file(header, body, padding))
    except safetensors.SafetensorError:
        pytest.skip("this version of safetensors refuses unpadded headers")
    tensors, _ = read_tensors(as_file(header, body, padding))
    assert all(np.array_equal(theirs[name], tensors[name]) for name in TENSORS)


ONE = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        ('{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "a": 1}', b"x", "twice"),
        (' {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"x", "not an object"),
        ("[]", b"", "not an object"),
        ({"__metadata__": {"a": 1}}, b"", "metadata"),
        ({"a": ONE}, b"xy", "belong to no tensor"),
        ({"a": {**ONE, "data_offsets": [1, 2]}}, b"xy", "does not lie where"),
        ({"a": {**ONE, "shape": [2]}}, b"xy", "does not lie where"),
        ({"a": ONE, "b": ONE}, b"x", "does not lie where"),
        ({"a": {**ONE, "dtype": "F8_E4M3"}}, b"x", "does not know"),
        ({"a": {**ONE, "shape": [True]}}, b"x", "not a number"),
        ({"a": {**ONE, "shape": [-1]}}, b"x", "not a number"),
    ],
)
def test_headers_that_break_the_rules_are_refused(header, body, message):
    with pytest.raises(ValueError, match=message):
        read_tensors(as_file(header, body))


@pytest.mark.parametrize("data", [b"", b"1234567", (1 << 40).to_bytes(8, "little") + b"{}"])
def test_files_shorter_than_their_header_are_refused(data):
    with pytest.raises(ValueError, match="shorter"):
        read_tensors(data)
