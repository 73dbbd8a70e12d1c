"""The weights of a Keras classifier as `EncoderWeights`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from authorid.errors import ExportError, require
from authorid.export.encoder_weights import Dense, EncoderWeights, Floats, GeluKind, Head, LayerWeights, Norm
from authorid.training.encoder.funnel import FUNNEL
from authorid.training.encoder.layer_classifier import LAYER_POOLING, RANDOM

__all__ = ["from_keras"]


def from_keras(model: Any) -> EncoderWeights:
    """Read the weights of a Keras classifier that is built on keras-hub's BertBackbone or DistilBertBackbone.

    Layers are found by name, inside the nested backbone or inlined: ``token_embedding``..., ``pooling`` (masked
    mean) or ``layer_pooling`` (with ``random_features_1``..., optional; without any of them the first token is taken),
    ``head_hidden`` (optional) and ``logits``. Raises `ExportError`
    when the model is something else.
    """
    layers = _layers(model)
    if "logits" not in layers:
        raise ExportError("the model has no layer 'logits'; only classifiers made by `authorid train` can be exported")
    family, tokens, positions, segments = _embeddings(layers)
    funnel = layers.get(FUNNEL)
    if funnel is not None:
        layers[funnel.encoder.name] = funnel.encoder
    encoders: list[Any] = []
    while (name := f"transformer_layer_{len(encoders)}") in layers:
        encoders.append(layers[name])
    if not encoders:
        raise ExportError("the encoder has no transformer layers")
    epsilon, gelu = _common_settings(layers, encoders)
    return EncoderWeights(
        family=family,
        heads=int(encoders[0].num_heads),
        epsilon=epsilon,
        gelu=gelu,
        token_embedding=tokens,
        position_embedding=positions,
        embedding_norm=_norm(layers["embeddings_layer_norm"]),
        layers=tuple(_layer(encoder) for encoder in encoders),
        head=_head(layers),
        halved=None if funnel is None else encoders.index(funnel.encoder),
        segments=segments,
    )


def _embeddings(layers: dict[str, Any]) -> tuple[str, Floats, Floats, Floats | None]:
    """Family, token table [v, h], position table [positions, h] with segment row 0, and segment table less that row."""
    if "segment_embedding" in layers:
        positions = _array(layers["position_embedding"].position_embeddings)
        segments = _array(layers["segment_embedding"].embeddings)
        tokens = _array(layers["token_embedding"].embeddings)
        return "bert", tokens, positions + segments[0], segments - segments[0]
    if "token_and_position_embedding" in layers:
        both = layers["token_and_position_embedding"]
        tokens, positions = both.token_embedding.embeddings, both.position_embedding.position_embeddings
        return "distilbert", _array(tokens), _array(positions), None
    raise ExportError("the model is neither a BertBackbone nor a DistilBertBackbone with a head")


def _common_settings(layers: dict[str, Any], encoders: list[Any]) -> tuple[float, GeluKind]:
    """The epsilon of all layer normalisations and the GELU of all layers; raises `ExportError` where they differ."""
    norms = [layers["embeddings_layer_norm"]]
    norms += [norm for e in encoders for norm in (e._self_attention_layer_norm, e._feedforward_layer_norm)]
    epsilons = {float(norm.epsilon) for norm in norms}
    gelus = {_gelu_kind(encoder.activation) for encoder in encoders}
    if len(epsilons) != 1 or len(gelus) != 1:
        raise ExportError(f"layers differ in epsilon {sorted(epsilons)} or GELU {sorted(gelus)}")
    if any(encoder.normalize_first for encoder in encoders):
        raise ExportError("pre-norm encoders are not supported")
    return epsilons.pop(), gelus.pop()


def _layers(model: Any) -> dict[str, Any]:
    """All layers by name; a layer of a nested model takes precedence over a sibling of the same name."""
    found: dict[str, Any] = {}
    for layer in model.layers:
        for name, inner in (_layers(layer) if hasattr(layer, "layers") else {layer.name: layer}).items():
            found.setdefault(name, inner)
    return found


def _layer(encoder: Any) -> LayerWeights:
    attention = encoder._self_attention_layer
    return LayerWeights(
        q=_projection(attention._query_dense),
        k=_projection(attention._key_dense),
        v=_projection(attention._value_dense),
        attention_output=_projection(attention._output_dense, joins_heads=True),
        attention_norm=_norm(encoder._self_attention_layer_norm),
        ffn_inner=_dense(encoder._feedforward_intermediate_dense),
        ffn_output=_dense(encoder._feedforward_output_dense),
        ffn_norm=_norm(encoder._feedforward_layer_norm),
    )


def _head(layers: dict[str, Any]) -> Head:
    hidden = layers.get("head_hidden")
    activation: Literal["relu", "tanh"] | None = None
    if hidden is not None:
        name = getattr(hidden.activation, "__name__", str(hidden.activation))
        if name not in ("relu", "tanh"):
            raise ExportError(f"the head's hidden layer has activation {name!r}; only relu and tanh are supported")
        activation = "relu" if name == "relu" else "tanh"
    pooled = layers.get(LAYER_POOLING)
    random = [] if pooled is None else [f"{RANDOM}_{state}" for state in pooled.states]
    return Head(
        pooling="layers" if pooled is not None else "mean" if "pooling" in layers else "first",
        hidden=None if hidden is None else _dense(hidden),
        activation=activation,
        logits=_dense(layers["logits"]),
        states=() if pooled is None else tuple(pooled.states),
        random=tuple(_dense(layers[name]) for name in random if name in layers),
    )


def _gelu_kind(activation: Any) -> GeluKind:
    """Which GELU a Keras activation computes, found by its values because names are ambiguous."""
    keras = require("keras", "train")
    x = np.linspace(-3, 3, 25, dtype=np.float32)
    y = np.asarray(keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(x))))
    kinds: tuple[GeluKind, ...] = ("tanh", "erf")
    for kind in kinds:
        exact = np.asarray(keras.ops.convert_to_numpy(keras.ops.gelu(x, approximate=kind == "tanh")))
        if np.abs(y - exact).max() < 1e-5:
            return kind
    raise ExportError(f"the encoder's activation {activation!r} is not a GELU; no other is supported")


def _array(variable: Any) -> Floats:
    keras = require("keras", "train")
    return np.asarray(keras.ops.convert_to_numpy(variable)).astype(np.float32)


def _norm(layer: Any) -> Norm:
    return Norm(_array(layer.gamma), _array(layer.beta))


def _dense(layer: Any) -> Dense:
    kernel = _array(layer.kernel)
    bias = _array(layer.bias) if layer.bias is not None else np.zeros(kernel.shape[1], np.float32)
    return Dense(kernel, bias)


def _projection(layer: Any, *, joins_heads: bool = False) -> Dense:
    """An EinsumDense between [h] and [heads, d] as a matrix [h, heads * d], or [heads * d, h] if it `joins_heads`."""
    kernel = _array(layer.kernel)
    kernel = kernel.reshape(-1, kernel.shape[-1]) if joins_heads else kernel.reshape(kernel.shape[0], -1)
    return Dense(np.ascontiguousarray(kernel), _array(layer.bias).reshape(-1))
