"""The trained numbers, lifted out of a Keras classifier into plain numpy.

Everything downstream (`authorid.export.graph.builder`, calibration) works on `EncoderWeights` and never sees Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from authorid.errors import ExportError, require
from authorid.training.encoder.classifier import Pooling
from authorid.training.encoder.funnel import FUNNEL

__all__ = ["Dense", "EncoderWeights", "Floats", "GeluKind", "Head", "LayerWeights", "Norm", "from_keras"]

Floats = npt.NDArray[np.float32]
Family = Literal["bert", "distilbert"]
GeluKind = Literal["tanh", "erf"]


@dataclass(frozen=True, slots=True)
class Dense:
    """``x @ kernel + bias``: kernel [inputs, outputs], bias [outputs].

    Where `scales` [outputs] are given, the kernel has been rounded: times the divisor of its input (`Range`), it is a
    whole number of these.
    """

    kernel: Floats
    bias: Floats
    scales: Floats | None = None

    def columns(self, chosen: slice) -> Dense:
        """Some of the outputs."""
        scales = None if self.scales is None else self.scales[chosen]
        return Dense(self.kernel[:, chosen], self.bias[chosen], scales)


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over the last axis: gamma [h], beta [h]."""

    gamma: Floats
    beta: Floats


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One post-norm transformer layer. Heads lie side by side in the columns of q, k and v."""

    q: Dense
    k: Dense
    v: Dense
    attention_output: Dense
    attention_norm: Norm
    ffn_inner: Dense
    ffn_output: Dense
    ffn_norm: Norm


@dataclass(frozen=True, slots=True)
class Head:
    """From token states to logits: pool, perhaps one hidden layer, then one column for each author."""

    pooling: Pooling
    hidden: Dense | None
    activation: Literal["relu", "tanh"] | None
    logits: Dense


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """A BERT-like encoder with its classification head.

    `token_embedding` is [vocabulary, h]; `position_embedding` is [positions, h] and already holds BERT's segment
    row 0, because one window is always one segment. `epsilon` is that of all layer normalisations. From the layer with
    index `halved` on every second token is left out; None: all are computed (`authorid.training.encoder.funnel`).
    """

    family: Family
    heads: int
    epsilon: float
    gelu: GeluKind
    token_embedding: Floats
    position_embedding: Floats
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    head: Head
    halved: int | None = None

    @property
    def vocabulary(self) -> int:
        """Rows of the token table."""
        return int(self.token_embedding.shape[0])

    @property
    def positions(self) -> int:
        """The longest window, in tokens."""
        return int(self.position_embedding.shape[0])

    @property
    def width(self) -> int:
        """Size of a token state."""
        return int(self.token_embedding.shape[1])

    @property
    def authors(self) -> int:
        """Number of classes."""
        return int(self.head.logits.kernel.shape[1])

    @property
    def parameters(self) -> int:
        """How many numbers the graph needs."""
        total = self.token_embedding.size + self.position_embedding.size
        for dense in self.dense():
            total += dense.kernel.size + dense.bias.size
        norms = [self.embedding_norm, *(n for layer in self.layers for n in (layer.attention_norm, layer.ffn_norm))]
        return int(total + sum(norm.gamma.size + norm.beta.size for norm in norms))

    def dense(self) -> Iterator[Dense]:
        """All dense layers, in order."""
        for layer in self.layers:
            yield from (layer.q, layer.k, layer.v, layer.attention_output, layer.ffn_inner, layer.ffn_output)
        if self.head.hidden is not None:
            yield self.head.hidden
        yield self.head.logits


def from_keras(model: Any) -> EncoderWeights:
    """Lift the weights out of a Keras classifier built on keras-hub's BertBackbone or DistilBertBackbone.

    Layers are found by name, inside the nested backbone or inlined: ``token_embedding``..., ``pooling`` (masked
    mean; without it the first token is taken), ``head_hidden`` (optional) and ``logits``. Raises `ExportError`
    when the model is something else.
    """
    layers = _layers(model)
    if "logits" not in layers:
        raise ExportError("the model has no layer 'logits'; only classifiers made by `authorid train` can be exported")
    if "segment_embedding" in layers:
        family: Family = "bert"
        tokens = _array(layers["token_embedding"].embeddings)
        positions = _array(layers["position_embedding"].position_embeddings)
        positions = positions + _array(layers["segment_embedding"].embeddings)[0]
    elif "token_and_position_embedding" in layers:
        family = "distilbert"
        both = layers["token_and_position_embedding"]
        tokens = _array(both.token_embedding.embeddings)
        positions = _array(both.position_embedding.position_embeddings)
    else:
        raise ExportError("the model is neither a BertBackbone nor a DistilBertBackbone with a head")
    funnel = layers.get(FUNNEL)
    if funnel is not None:
        layers[funnel.encoder.name] = funnel.encoder
    encoders: list[Any] = []
    while (name := f"transformer_layer_{len(encoders)}") in layers:
        encoders.append(layers[name])
    if not encoders:
        raise ExportError("the encoder has no transformer layers")
    norms = [layers["embeddings_layer_norm"]]
    norms += [norm for e in encoders for norm in (e._self_attention_layer_norm, e._feedforward_layer_norm)]
    epsilons = {float(norm.epsilon) for norm in norms}
    gelus = {_gelu_kind(encoder.activation) for encoder in encoders}
    if len(epsilons) != 1 or len(gelus) != 1:
        raise ExportError(f"layers differ in epsilon {sorted(epsilons)} or GELU {sorted(gelus)}")
    if any(encoder.normalize_first for encoder in encoders):
        raise ExportError("pre-norm encoders are not supported")
    return EncoderWeights(
        family=family,
        heads=int(encoders[0].num_heads),
        epsilon=epsilons.pop(),
        gelu=gelus.pop(),
        token_embedding=tokens,
        position_embedding=positions,
        embedding_norm=_norm(layers["embeddings_layer_norm"]),
        layers=tuple(_layer(encoder) for encoder in encoders),
        head=_head(layers),
        halved=None if funnel is None else encoders.index(funnel.encoder),
    )


def _layers(model: Any) -> dict[str, Any]:
    """All layers by name; those of a nested model come before its siblings of the same name."""
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
    return Head(
        pooling="mean" if "pooling" in layers else "first",
        hidden=None if hidden is None else _dense(hidden),
        activation=activation,
        logits=_dense(layers["logits"]),
    )


def _gelu_kind(activation: Any) -> GeluKind:
    """Which GELU a Keras activation computes, told by its values and not by its name."""
    keras = require("keras", "train")
    x = np.linspace(-3, 3, 25, dtype=np.float32)
    y = np.asarray(keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(x))))
    kinds: tuple[GeluKind, ...] = ("tanh", "erf")
    for kind in kinds:
        exact = np.asarray(keras.ops.convert_to_numpy(keras.ops.gelu(x, approximate=kind == "tanh")))
        if np.abs(y - exact).max() < 1e-5:
            return kind
    raise ExportError(f"the encoder's activation {activation!r} is no GELU; only GELU is supported")


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
    """An EinsumDense between [h] and [heads, d], as a matrix [h, heads * d] (or [heads * d, h])."""
    kernel = _array(layer.kernel)
    kernel = kernel.reshape(-1, kernel.shape[-1]) if joins_heads else kernel.reshape(kernel.shape[0], -1)
    return Dense(np.ascontiguousarray(kernel), _array(layer.bias).reshape(-1))
