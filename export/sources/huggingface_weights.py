"""From the tensors of a fine-tuned Hugging Face classifier to `EncoderWeights`, for families that are BERT at heart.

The families differ in the names of their tensors, in how positions are counted and in their heads. Everything else is
BERT: embeddings, post-norm layers with GELU, a classifier on the first token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import ExportError
from authorid.export.encoder_weights import (
    Activation,
    Dense,
    EncoderWeights,
    Floats,
    GeluKind,
    Head,
    LayerWeights,
    Norm,
)
from authorid.export.sources.classifier_config import ClassifierConfig
from authorid.training.encoder.base_weights import EMBEDDINGS, LAYERS, POOLER, LayerNames, to_numbers
from authorid.training.encoder.model_directory import Tensors

__all__ = ["FAMILIES", "ClassifierTensors", "EncoderFamily", "SizeNames", "from_huggingface", "obstacle"]

_GELU: Mapping[str, GeluKind] = {
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
}
"""Names of activations in transformers -> which GELU they compute."""


@dataclass(frozen=True, slots=True)
class SizeNames:
    """What config.json calls the sizes of an encoder."""

    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    width: str = "hidden_size"
    inner: str = "intermediate_size"
    activation: str = "hidden_act"


@dataclass(frozen=True, slots=True)
class EncoderFamily:
    """How one family differs from BERT.

    `hidden` is the name of the head's hidden layer (None: BERT's pooler), `logits` that of its last layer, both below
    the prefix of the head. `epsilon` is used where config.json has none. With `counts_from_padding`, the first position
    is the one after the id of the padding token. `backbone` is the class of keras-hub with the same layers.
    """

    backbone: str
    activation: Activation
    hidden: str
    logits: str
    names: LayerNames = LAYERS["bert"]
    sizes: SizeNames = SizeNames()
    epsilon: float = 1e-12
    counts_from_padding: bool = False


_ROBERTA = EncoderFamily(
    "RobertaBackbone", "tanh", "classifier.dense", "classifier.out_proj", epsilon=1e-12, counts_from_padding=True
)

FAMILIES: Mapping[str, EncoderFamily] = {
    "bert": EncoderFamily("BertBackbone", "tanh", POOLER, "classifier"),
    "distilbert": EncoderFamily(
        "DistilBertBackbone",
        "relu",
        "pre_classifier",
        "classifier",
        LAYERS["distilbert"],
        SizeNames("n_layers", "n_heads", "dim", "hidden_dim", "activation"),
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": EncoderFamily("ElectraBackbone", "gelu", "classifier.dense", "classifier.out_proj"),
}
"""``model_type`` -> the family, for all that the emitter can build."""


def obstacle(config: ClassifierConfig) -> str | None:
    """Why the emitter cannot build the encoder that `config` describes; None when it can."""
    family = FAMILIES.get(config.family)
    if family is None:
        return f"model_type {config.family!r}"
    activation = config.record.get(family.sizes.activation, "gelu")
    if activation not in _GELU:
        return f"the activation {activation!r}"
    if config.record.get("position_embedding_type", "absolute") != "absolute":
        return f"position_embedding_type {config.record['position_embedding_type']!r}"
    return "a decoder" if config.record.get("is_decoder") else None


class ClassifierTensors:
    """The tensors of a classifier, by names without the prefix of its encoder; shapes are checked as they are read."""

    def __init__(self, config: ClassifierConfig, tensors: Tensors) -> None:
        self.config = config
        self.family = FAMILIES[config.family]
        self.root = config.path.parent
        self._tensors = tensors
        suffix = f"{EMBEDDINGS}.word_embeddings.weight"
        tables = [name for name in tensors if name == suffix or name.endswith(f".{suffix}")]
        if len(tables) != 1:
            raise ExportError(f"{self.root}: {len(tables) or 'no'} tensors {suffix!r}; expected one encoder")
        self._prefix = tables[0].removesuffix(suffix)
        sizes = self.family.sizes
        self.layers, self.heads = config.number(sizes.layers), config.number(sizes.heads)
        self.width, self.inner = config.number(sizes.width), config.number(sizes.inner)
        if self.width % self.heads:
            raise ExportError(f"{config.path}: {sizes.width} must be a multiple of {sizes.heads}")
        self.embedding = config.number("embedding_size", self.width) if config.family == "electra" else self.width
        self.epsilon = self._epsilon()
        self.gelu = _GELU[config.record.get(sizes.activation, "gelu")]

    @property
    def first_position(self) -> int:
        """The row of the position table that the first token has; raises `ExportError`."""
        if not self.family.counts_from_padding:
            return 0
        padding = self.config.record.get("pad_token_id", 1)
        if not isinstance(padding, int) or not 0 <= padding < self.config.number("max_position_embeddings") - 1:
            raise ExportError(f"{self.config.path}: pad_token_id must be a row of the position table, got {padding!r}")
        return padding + 1

    @property
    def positions(self) -> int:
        """How many tokens the encoder can read."""
        return self.config.number("max_position_embeddings") - self.first_position

    def _epsilon(self) -> float:
        value = self.config.record.get("layer_norm_eps", self.family.epsilon)
        if self.config.family == "distilbert":
            return 1e-12
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
            raise ExportError(f"{self.config.path}: layer_norm_eps must be a number between 0 and 1, got {value!r}")
        return float(value)

    def has(self, name: str) -> bool:
        """Whether the encoder has a tensor `name`."""
        return self._prefix + name in self._tensors

    def __getitem__(self, name: str) -> Floats:
        """A tensor of the encoder, float32."""
        full = self._prefix + name
        if full not in self._tensors:
            for new, old in ((".weight", ".gamma"), (".bias", ".beta")):
                if full.endswith(f"LayerNorm{new}") and full.removesuffix(new) + old in self._tensors:
                    full = full.removesuffix(new) + old
        return self._read(full)

    def _read(self, full: str) -> Floats:
        tensor = self._tensors.get(full)
        if tensor is None:
            raise ExportError(f"{self.root}: the weights have no tensor {full!r}, which config.json asks for")
        numbers: npt.NDArray[Any] = to_numbers(tensor)
        if numbers.dtype.kind != "f":
            raise ExportError(f"{self.root}: tensor {full!r} is {tensor.dtype}, not floating-point numbers")
        return np.ascontiguousarray(numbers, dtype=np.float32)

    def head(self, name: str, outputs: int) -> tuple[Floats, Floats]:
        """Weight [outputs, width] and bias [outputs] of a layer of the head."""
        prefix = self._prefix if name == POOLER else ""
        for part in ("weight", "bias"):
            if f"{prefix}{name}.{part}" not in self._tensors:
                raise ExportError(
                    f"{self.root}: has no classification head (no tensor {prefix}{name}.{part}); fine-tune it first"
                )
        weight, bias = self._read(f"{prefix}{name}.weight"), self._read(f"{prefix}{name}.bias")
        if weight.shape != (outputs, self.width) or bias.shape != (outputs,):
            raise ExportError(
                f"{self.root}: the layer {name!r} has {len(bias)} outputs, but config.json has "
                f"{outputs} {'labels' if outputs == len(self.config.labels) else 'units'}"
            )
        return weight, bias

    def dense(self, name: str, outputs: int, inputs: int) -> tuple[Floats, Floats]:
        """Weight [outputs, inputs] and bias [outputs] of a layer of the encoder."""
        return self._shaped(f"{name}.weight", (outputs, inputs)), self._shaped(f"{name}.bias", (outputs,))

    def norm(self, name: str, width: int) -> tuple[Floats, Floats]:
        """Gamma and beta [width] of a layer normalisation of the encoder."""
        return self._shaped(f"{name}.weight", (width,)), self._shaped(f"{name}.bias", (width,))

    def tables(self) -> tuple[Floats, Floats, Floats | None]:
        """The tables of tokens [v, e], of positions [p, e] from the first one that is used on, and of segments."""
        rows = self.config.number("vocab_size"), self.config.number("max_position_embeddings")
        tokens = self._shaped(f"{EMBEDDINGS}.word_embeddings.weight", (rows[0], self.embedding))
        positions = self._shaped(f"{EMBEDDINGS}.position_embeddings.weight", (rows[1], self.embedding))
        positions = positions[self.first_position :]
        name = f"{EMBEDDINGS}.token_type_embeddings.weight"
        segments = self[name] if self.has(name) else None
        if segments is not None and (segments.ndim != 2 or segments.shape[1] != self.embedding or not len(segments)):
            raise ExportError(f"{self.root}: tensor {name!r} is {list(segments.shape)}")
        return tokens, positions, segments

    def _shaped(self, name: str, shape: tuple[int, ...]) -> Floats:
        tensor = self[name]
        if tensor.shape != shape:
            raise ExportError(
                f"{self.root}: tensor {self._prefix + name!r} is {list(tensor.shape)}, but config.json: {list(shape)}"
            )
        return tensor


def from_huggingface(tensors: ClassifierTensors) -> EncoderWeights:
    """The weights of a classifier; raises `ExportError` when a tensor is missing or has another shape."""
    family, width = tensors.family, tensors.width
    head = Head(
        "first",
        _dense(tensors.head(family.hidden, width)),
        family.activation,
        _dense(tensors.head(family.logits, len(tensors.config.labels))),
    )
    tokens, positions, segments = tensors.tables()
    projection = None
    if tensors.embedding != width:
        projection = _dense(tensors.dense("embeddings_project", width, tensors.embedding))
    return EncoderWeights(
        family=tensors.config.family,
        heads=tensors.heads,
        epsilon=tensors.epsilon,
        gelu=tensors.gelu,
        token_embedding=tokens,
        position_embedding=positions if segments is None else positions + segments[0],
        embedding_norm=Norm(*tensors.norm(f"{EMBEDDINGS}.LayerNorm", tensors.embedding)),
        layers=tuple(_layer(tensors, number) for number in range(tensors.layers)),
        head=head,
        segments=None if segments is None or len(segments) < 2 else segments - segments[0],
        projection=projection,
    )


def _layer(tensors: ClassifierTensors, number: int) -> LayerWeights:
    names, width, inner = tensors.family.names, tensors.width, tensors.inner

    def square(name: str) -> Dense:
        return _dense(tensors.dense(name.format(number), width, width))

    return LayerWeights(
        q=square(names.query),
        k=square(names.key),
        v=square(names.value),
        attention_output=square(names.output),
        attention_norm=Norm(*tensors.norm(names.attention_norm.format(number), width)),
        ffn_inner=_dense(tensors.dense(names.inner.format(number), inner, width)),
        ffn_output=_dense(tensors.dense(names.outer.format(number), width, inner)),
        ffn_norm=Norm(*tensors.norm(names.norm.format(number), width)),
    )


def _dense(weight_and_bias: tuple[Floats, Floats]) -> Dense:
    """PyTorch's weight is [outputs, inputs]."""
    weight, bias = weight_and_bias
    return Dense(np.ascontiguousarray(weight.T), bias)
