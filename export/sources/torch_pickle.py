"""Reads weights that ``torch.save`` wrote (``pytorch_model.bin``), without PyTorch and without running a pickle's code.

A checkpoint is a ZIP archive: ``data.pkl`` describes the tensors, and ``data/KEY`` holds the numbers of each storage. A
pickle is a program; here it can name nothing but the few functions below, all of which only make arrays. That is what
PyTorch calls ``weights_only``. Older checkpoints, which are one long pickle, are refused.

https://github.com/pytorch/pytorch/blob/main/docs/source/notes/serialization.rst
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from authorid.bundle.safetensors import BFLOAT16
from authorid.training.encoder.model_directory import WeightsFormat

__all__ = ["PICKLED", "read_pickled_tensors"]

_STORAGES: Mapping[str, Any] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
"""PyTorch's classes of storages -> types of their numbers."""

_MOST_DESCRIPTION = 1 << 26
"""Bytes of a description, which has a few hundred for each tensor."""


class _Storage(NamedTuple):
    """The class of a storage; a pickle names it, and never makes one."""

    dtype: np.dtype[Any]


def read_pickled_tensors(content: bytes | memoryview) -> dict[str, npt.NDArray[Any]]:
    """Arrays by name; raises `ValueError` when `content` is no such checkpoint, or has more than tensors in it."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        descriptions = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(descriptions) != 1 or archive.getinfo(descriptions[0]).file_size > _MOST_DESCRIPTION:
            raise ValueError("it has no description of its tensors, or one that is too long")
        with archive.open(descriptions[0]) as stream:
            found = _Unpickler(stream, archive, descriptions[0].removesuffix("data.pkl")).load()
    except zipfile.BadZipFile:
        raise ValueError("not a ZIP archive: only files of PyTorch 1.6 or newer can be read") from None
    except ValueError:
        raise
    except Exception as error:  # a broken pickle raises anything
        raise ValueError(f"its description is damaged: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("it holds no dictionary of tensors")
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, np.ndarray)}
    if not tensors or len(tensors) < len(found):
        raise ValueError("it holds something else than tensors by name")
    return tensors


class _Unpickler(pickle.Unpickler):
    """Reads a description; `prefix` is where the archive has its files."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(stream)
        self._archive = archive
        self._prefix = prefix
        self._storages: dict[str, npt.NDArray[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may name; raises `ValueError` for anything else."""
        if module == "torch" and name in _STORAGES:
            return _Storage(np.dtype(_STORAGES[name]))
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        try:
            return known[module, name]
        except KeyError:
            raise ValueError(f"it wants to use {module}.{name}, which no weights need") from None

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:
        """The numbers of a storage, flat."""
        kind, storage, key, _, size = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not isinstance(key, str):
            raise ValueError("it refers to something that is no storage")
        if key not in self._storages:
            member = self._archive.getinfo(f"{self._prefix}data/{key}")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != size * storage.dtype.itemsize:
                raise ValueError(f"storage {key!r} is compressed, or has another size than its description")
            self._storages[key] = np.frombuffer(self._archive.read(member), storage.dtype)
        return self._storages[key]


def _tensor(
    storage: npt.NDArray[Any], offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any
) -> npt.NDArray[Any]:
    """The part of a `storage` that begins at `offset`, with `shape` and `strides` in numbers."""
    sizes = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise ValueError("a tensor has no valid shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) == 0 or last >= len(storage) or math.prod(shape) > len(storage):
        raise ValueError("a tensor is empty, or larger than its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(shape), steps, writeable=False)


def _parameter(tensor: npt.NDArray[Any], *_: Any) -> npt.NDArray[Any]:
    return tensor


PICKLED = WeightsFormat("PyTorch", "pytorch_model.bin", "pytorch_model.bin.index.json", ".bin", read_pickled_tensors)
