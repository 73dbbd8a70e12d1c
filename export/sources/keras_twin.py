"""The same classifier in Keras: keras-hub's layers with the weights of a Hugging Face checkpoint.

Export compares its graphs with this model, converted to ONNX by tf2onnx. keras-hub fixes the GELU and the epsilon of
each family; here they are what the checkpoint's config.json says, as in transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from authorid.export.encoder_weights import Floats
from authorid.export.sources.huggingface_weights import ClassifierTensors
from authorid.training.encoder.base_weights import EMBEDDINGS
from authorid.training.encoder.keras_setup import import_keras, import_keras_hub

__all__ = ["keras_classifier"]


def keras_classifier(tensors: ClassifierTensors) -> Any:
    """A Keras model: ``token_ids``, ``padding_mask`` and perhaps ``segment_ids``, int32 [b, s] -> logits [b, labels].

    Raises `ExportError` when a tensor is missing or has another shape.
    """
    keras = import_keras()
    tokens, positions, segments = tensors.tables()
    backbone = _backbone(tensors, len(tokens), len(positions), segments)
    _set_numerics(backbone, tensors)
    if segments is not None and not _has(backbone, "segment_embedding"):
        positions = positions + segments[0]
    _set_embeddings(backbone, tokens, positions, segments)
    for variable, value in _encoder(backbone, tensors):
        variable.assign(value.reshape(variable.shape))
    states = backbone(backbone.input)
    if isinstance(states, dict):
        states = states["sequence_output"]
    family = tensors.family
    hidden = keras.layers.Dense(tensors.width, name="head_hidden", activation=_ACTIVATIONS[family.activation](keras))
    logits = keras.layers.Dense(len(tensors.config.labels), name="logits")
    model = keras.Model(backbone.input, logits(hidden(states[:, 0, :])), name="classifier")
    for layer, name, outputs in (
        (hidden, family.hidden, tensors.width),
        (logits, family.logits, len(tensors.config.labels)),
    ):
        weight, bias = tensors.head(name, outputs)
        layer.set_weights([weight.T, bias])
    return model


_ACTIVATIONS = {
    "relu": lambda keras: keras.activations.relu,
    "tanh": lambda keras: keras.activations.tanh,
    "gelu": lambda keras: _exact_gelu(keras),
}


def _exact_gelu(keras: Any) -> Any:
    return lambda x: keras.activations.gelu(x, approximate=False)


def _backbone(tensors: ClassifierTensors, vocabulary: int, positions: int, segments: Floats | None) -> Any:
    """keras-hub's encoder of these sizes, with random weights."""
    kind = getattr(import_keras_hub().models, tensors.family.backbone)
    sizes: dict[str, Any] = {
        "num_layers": tensors.layers,
        "num_heads": tensors.heads,
        "hidden_dim": tensors.width,
        "intermediate_dim": tensors.inner,
        "max_sequence_length": positions,
        "dropout": 0.0,
    }
    if tensors.family.backbone == "ElectraBackbone":
        sizes |= {"vocab_size": vocabulary, "embedding_dim": tensors.embedding}
    else:
        sizes["vocabulary_size"] = vocabulary
    if tensors.family.backbone in ("BertBackbone", "ElectraBackbone"):
        sizes["num_segments"] = 1 if segments is None else len(segments)
    return kind(**sizes, dtype="float32", name="backbone")


def _has(backbone: Any, name: str) -> bool:
    return any(layer.name == name for layer in backbone.layers)


def _set_numerics(backbone: Any, tensors: ClassifierTensors) -> None:
    """Give every layer the GELU and the epsilon of the checkpoint."""
    keras = import_keras()
    approximate = tensors.gelu == "tanh"

    def gelu(x: Any) -> Any:
        return keras.activations.gelu(x, approximate=approximate)

    norms = [backbone.get_layer("embeddings_layer_norm")]
    for number in range(tensors.layers):
        layer = backbone.get_layer(f"transformer_layer_{number}")
        layer._feedforward_intermediate_dense.activation = gelu
        norms += [layer._self_attention_layer_norm, layer._feedforward_layer_norm]
    for norm in norms:
        norm.epsilon = tensors.epsilon


def _set_embeddings(backbone: Any, tokens: Floats, positions: Floats, segments: Floats | None) -> None:
    """Assign the tables, wherever the family keeps them."""
    for name in ("embeddings", "token_and_position_embedding"):
        if _has(backbone, name):
            both = backbone.get_layer(name)
            both.token_embedding.embeddings.assign(tokens)
            both.position_embedding.position_embeddings.assign(positions)
            return
    backbone.get_layer("token_embedding").embeddings.assign(tokens)
    backbone.get_layer("position_embedding").position_embeddings.assign(positions)
    table = backbone.get_layer("segment_embedding").embeddings
    table.assign(np.zeros(table.shape, np.float32) if segments is None else segments)


def _encoder(backbone: Any, tensors: ClassifierTensors) -> Iterator[tuple[Any, Floats]]:
    """Every variable of the encoder but the tables, with its value: [inputs, outputs] where it is a matrix."""
    names, width, inner = tensors.family.names, tensors.width, tensors.inner

    def dense(layer: Any, name: str, outputs: int, inputs: int) -> Iterator[tuple[Any, Floats]]:
        weight, bias = tensors.dense(name, outputs, inputs)
        yield layer.kernel, weight.T
        yield layer.bias, bias

    def norm(layer: Any, name: str, size: int) -> Iterator[tuple[Any, Floats]]:
        gamma, beta = tensors.norm(name, size)
        yield layer.gamma, gamma
        yield layer.beta, beta

    yield from norm(backbone.get_layer("embeddings_layer_norm"), f"{EMBEDDINGS}.LayerNorm", tensors.embedding)
    if tensors.embedding != width:
        projection = backbone.get_layer("embeddings_projection")
        yield from dense(projection, "embeddings_project", width, tensors.embedding)
    for number in range(tensors.layers):
        layer = backbone.get_layer(f"transformer_layer_{number}")
        attention = layer._self_attention_layer
        for part, name in (
            (attention.query_dense, names.query),
            (attention.key_dense, names.key),
            (attention.value_dense, names.value),
            (attention.output_dense, names.output),
        ):
            yield from dense(part, name.format(number), width, width)
        yield from dense(layer._feedforward_intermediate_dense, names.inner.format(number), inner, width)
        yield from dense(layer._feedforward_output_dense, names.outer.format(number), width, inner)
        yield from norm(layer._self_attention_layer_norm, names.attention_norm.format(number), width)
        yield from norm(layer._feedforward_layer_norm, names.norm.format(number), width)
