"""The weights of an encoder classifier as plain numpy arrays.

Sources produce `EncoderWeights`; graphs and calibration read nothing else of a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from authorid.training.encoder.classifier import Pooling

__all__ = ["Activation", "Dense", "EncoderWeights", "Floats", "GeluKind", "Head", "LayerWeights", "Norm"]

Floats = npt.NDArray[np.float32]
GeluKind = Literal["tanh", "erf"]
Activation = Literal["relu", "tanh", "gelu"]
"""Activation of a head's hidden layer; ``gelu`` is the exact one."""


@dataclass(frozen=True, slots=True)
class Dense:
    """``x @ kernel + bias``: kernel [inputs, outputs], bias [outputs].

    A kernel with `scales` [outputs] has been rounded: multiplied by the divisor of its input (`Range`), each column
    has whole multiples of its scale.
    """

    kernel: Floats
    bias: Floats
    scales: Floats | None = None

    def columns(self, chosen: slice) -> Dense:
        """The layer restricted to the `chosen` outputs."""
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
    """From token states to logits: pooling, an optional hidden layer, then one column for each class.

    With the pooling ``layers``, `states` are the numbers of the states that are pooled (0: the embeddings), and
    `random` are the random features of each of them but the embeddings, if there are any
    (`authorid.training.encoder.layer_classifier`).
    """

    pooling: Pooling
    hidden: Dense | None
    activation: Activation | None
    logits: Dense
    states: tuple[int, ...] = ()
    random: tuple[Dense, ...] = ()


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """A BERT-like encoder with its classification head.

    `family` is the ``model_type`` of Hugging Face. `token_embedding` is [vocabulary, e]; `position_embedding` is
    [positions, e] and includes row 0 of the segment table, because a window is always one segment. `segments`
    [segments, e] is that table less its row 0; None for families without one. `projection` [e, h] leads from embeddings
    to states where these are wider (ELECTRA). `epsilon` is that of all layer normalisations. From the layer with index
    `halved` on, only every second token is computed; None: all are (`authorid.training.encoder.funnel`).
    """

    family: str
    heads: int
    epsilon: float
    gelu: GeluKind
    token_embedding: Floats
    position_embedding: Floats
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    head: Head
    halved: int | None = None
    segments: Floats | None = None
    projection: Dense | None = None

    @property
    def width(self) -> int:
        """Size of a token's state."""
        return int(self.layers[0].q.kernel.shape[0])

    @property
    def authors(self) -> int:
        """Number of classes."""
        return int(self.head.logits.kernel.shape[1])

    @property
    def parameters(self) -> int:
        """Number of weights."""
        total = self.token_embedding.size + self.position_embedding.size
        total += 0 if self.segments is None else self.segments.size
        for dense in self.dense():
            total += dense.kernel.size + dense.bias.size
        norms = [self.embedding_norm, *(n for layer in self.layers for n in (layer.attention_norm, layer.ffn_norm))]
        return int(total + sum(norm.gamma.size + norm.beta.size for norm in norms))

    def dense(self) -> Iterator[Dense]:
        """All dense layers, in order."""
        if self.projection is not None:
            yield self.projection
        for layer in self.layers:
            yield from (layer.q, layer.k, layer.v, layer.attention_output, layer.ffn_inner, layer.ffn_output)
        yield from self.head.random
        if self.head.hidden is not None:
            yield self.head.hidden
        yield self.head.logits
