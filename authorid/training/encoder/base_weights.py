"""The weights of a base model: which tensors an encoder has, and where they are in its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.safetensors import BFLOAT16
from authorid.training.encoder.classifier import Geometry
from authorid.training.encoder.model_directory import Tensors

__all__ = [
    "EMBEDDINGS",
    "LAYERS",
    "POOLER",
    "LayerNames",
    "encoder_tensors",
    "to_numbers",
]

EMBEDDINGS = "embeddings"
POOLER = "pooler.dense"


@dataclass(frozen=True, slots=True)
class LayerNames:
    """What Hugging Face checkpoints call the parts of layer `{}`."""

    query: str
    key: str
    value: str
    output: str
    attention_norm: str
    inner: str
    outer: str
    norm: str


LAYERS = {
    "bert": LayerNames(
        query="encoder.layer.{}.attention.self.query",
        key="encoder.layer.{}.attention.self.key",
        value="encoder.layer.{}.attention.self.value",
        output="encoder.layer.{}.attention.output.dense",
        attention_norm="encoder.layer.{}.attention.output.LayerNorm",
        inner="encoder.layer.{}.intermediate.dense",
        outer="encoder.layer.{}.output.dense",
        norm="encoder.layer.{}.output.LayerNorm",
    ),
    "distilbert": LayerNames(
        query="transformer.layer.{}.attention.q_lin",
        key="transformer.layer.{}.attention.k_lin",
        value="transformer.layer.{}.attention.v_lin",
        output="transformer.layer.{}.attention.out_lin",
        attention_norm="transformer.layer.{}.sa_layer_norm",
        inner="transformer.layer.{}.ffn.lin1",
        outer="transformer.layer.{}.ffn.lin2",
        norm="transformer.layer.{}.output_layer_norm",
    ),
}

_OLD_NAMES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
"""Names in checkpoints that were converted from the first BERT."""


def to_numbers(tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The `tensor` itself, or as float32 when it is of bfloat16."""
    return (tensor["upper"].astype(np.uint32) << 16).view(np.float32) if tensor.dtype == BFLOAT16 else tensor


def encoder_tensors(tensors: Tensors, geometry: Geometry) -> Tensors:
    """The `tensors` that make up the encoder, by their names without a prefix such as ``bert.``.

    Every tensor must be there once and have the shape that `geometry` says; others, such as those of a head, are
    left out. A BERT without a pooler gets one of zeros, which `build_classifier` ignores. Raises `ValueError`.
    """
    suffix = f"{EMBEDDINGS}.word_embeddings.weight"
    tables = [name for name in tensors if name == suffix or name.endswith(f".{suffix}")]
    if len(tables) != 1:
        raise ValueError(
            f"{len(tables) or 'no'} tensors {suffix!r} among its {len(tensors)}; "
            f"use the checkpoint of one {geometry.family} encoder"
        )
    prefix = tables[0].removesuffix(suffix)
    found = {}
    # One by one, so that a config.json that promises a billion layers ends with the first that is missing.
    for name, shape in _shapes(geometry):
        tensor = tensors.get(prefix + name)
        for new, old in _OLD_NAMES.items():
            if tensor is None and name.endswith(new):
                tensor = tensors.get(prefix + name.removesuffix(new) + old)
        if tensor is None and name.startswith(f"{POOLER}."):
            tensor = np.zeros(shape, np.float32)
        if tensor is None:
            raise ValueError(f"its weights have no tensor {prefix + name!r}, which config.json asks for")
        if tensor.shape != shape or (tensor.dtype.kind != "f" and tensor.dtype != BFLOAT16):
            raise ValueError(
                f"tensor {prefix + name!r} is {tensor.dtype} {list(tensor.shape)}, but config.json says {list(shape)}"
            )
        found[name] = tensor
    if (f"{prefix}{POOLER}.weight" in tensors) != (f"{prefix}{POOLER}.bias" in tensors):
        raise ValueError("its pooler has only one of weight and bias")
    return found


def _shapes(geometry: Geometry) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of an encoder."""
    width, inner = geometry.hidden_dim, geometry.intermediate_dim
    yield f"{EMBEDDINGS}.word_embeddings.weight", (geometry.vocabulary_size, width)
    yield f"{EMBEDDINGS}.position_embeddings.weight", (geometry.max_sequence_length, width)
    if geometry.num_segments:
        yield f"{EMBEDDINGS}.token_type_embeddings.weight", (geometry.num_segments, width)
    yield from _pair(f"{EMBEDDINGS}.LayerNorm", (width,))
    names = LAYERS[geometry.family]
    for layer in range(geometry.num_layers):
        for square in (names.query, names.key, names.value, names.output):
            yield from _pair(square.format(layer), (width, width))
        yield from _pair(names.inner.format(layer), (inner, width))
        yield from _pair(names.outer.format(layer), (width, inner))
        for norm in (names.attention_norm, names.norm):
            yield from _pair(norm.format(layer), (width,))
    if geometry.family == "bert":
        yield from _pair(POOLER, (width, width))


def _pair(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
