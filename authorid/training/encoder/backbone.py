"""Pretrained encoders in Keras: keras-hub's backbone of the right sizes, with the weights of a base model.

keras-hub has a loader of its own. It believes whatever the directory says: a ``config.json`` with its keys is
deserialized as a Keras model, with weights from another file. Here it only builds the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from authorid.training.encoder.base_model import BaseModel, read_base_model
from authorid.training.encoder.base_weights import EMBEDDINGS, LAYERS, POOLER, to_numbers
from authorid.training.encoder.classifier import build_backbone
from authorid.training.encoder.model_directory import resolve_base_model

__all__ = ["backbone_of", "load_backbone"]


def load_backbone(base_model: str, dtype: str = "float32") -> Any:
    """Load the encoder `base_model`: a directory in Hugging Face layout, or a Hugging Face hub id.

    `dtype` is a Keras dtype policy ("float32", "mixed_bfloat16"). Tensor names may carry the model prefix
    (``bert.``, ``distilbert.``) or not. Returns a keras-hub backbone named "backbone"; raises
    `BaseModelError`.
    """
    return backbone_of(read_base_model(resolve_base_model(base_model)), dtype)


def backbone_of(base: BaseModel, dtype: str = "float32") -> Any:
    """The encoder of a base model, as in `load_backbone`."""
    backbone = build_backbone(base.geometry, dtype)
    for name, variable in _variables(backbone, base.geometry.family):
        # Dense layers of Hugging Face are [outputs, inputs]; those of keras-hub may divide a side into heads.
        tensor = to_numbers(base.tensors[name])
        if not name.startswith(f"{EMBEDDINGS}."):
            tensor = tensor.T
        variable.assign(tensor.reshape(variable.shape))
    return backbone


def _variables(backbone: Any, family: str) -> Iterator[tuple[str, Any]]:
    """Name in `encoder_tensors` and Keras variable of every weight of the encoder."""
    if family == "bert":
        yield f"{EMBEDDINGS}.word_embeddings.weight", backbone.get_layer("token_embedding").embeddings
        positions = backbone.get_layer("position_embedding").position_embeddings
        yield f"{EMBEDDINGS}.position_embeddings.weight", positions
        yield f"{EMBEDDINGS}.token_type_embeddings.weight", backbone.get_layer("segment_embedding").embeddings
        yield from _dense(POOLER, backbone.get_layer("pooled_dense"))
    else:
        both = backbone.get_layer("token_and_position_embedding")
        yield f"{EMBEDDINGS}.word_embeddings.weight", both.token_embedding.embeddings
        yield f"{EMBEDDINGS}.position_embeddings.weight", both.position_embedding.position_embeddings
    yield from _norm(f"{EMBEDDINGS}.LayerNorm", backbone.get_layer("embeddings_layer_norm"))
    names = LAYERS[family]
    for number in range(backbone.num_layers):
        layer = backbone.get_layer(f"transformer_layer_{number}")
        attention = layer._self_attention_layer
        yield from _dense(names.query.format(number), attention.query_dense)
        yield from _dense(names.key.format(number), attention.key_dense)
        yield from _dense(names.value.format(number), attention.value_dense)
        yield from _dense(names.output.format(number), attention.output_dense)
        yield from _norm(names.attention_norm.format(number), layer._self_attention_layer_norm)
        yield from _dense(names.inner.format(number), layer._feedforward_intermediate_dense)
        yield from _dense(names.outer.format(number), layer._feedforward_output_dense)
        yield from _norm(names.norm.format(number), layer._feedforward_layer_norm)


def _dense(name: str, layer: Any) -> Iterator[tuple[str, Any]]:
    yield f"{name}.weight", layer.kernel
    yield f"{name}.bias", layer.bias


def _norm(name: str, layer: Any) -> Iterator[tuple[str, Any]]:
    yield f"{name}.weight", layer.gamma
    yield f"{name}.bias", layer.beta
