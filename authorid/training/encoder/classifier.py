"""The classifier: an encoder, a pooling and a head, built in code from its `Geometry`.

No stored architecture is deserialized; only weights are ever read from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from authorid.errors import RunError
from authorid.training.encoder.funnel import halved_states
from authorid.training.encoder.keras_setup import import_keras, import_keras_hub

__all__ = [
    "FAMILIES",
    "POLICIES",
    "Geometry",
    "Pooling",
    "build_backbone",
    "build_classifier",
    "freeze_embeddings",
]

Pooling = Literal["first", "mean", "layers"]
"""How a window becomes one vector; ``layers``: see `authorid.training.encoder.layer_classifier`."""

FAMILIES = {"bert": "BertBackbone", "distilbert": "DistilBertBackbone"}
"""``model_type`` in a Hugging Face config.json -> the keras-hub class."""

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
"""Precision -> Keras dtype policy."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of an encoder, with keras-hub's names; `num_segments` is 0 for families without segments."""

    family: Literal["bert", "distilbert"]
    vocabulary_size: int
    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    max_sequence_length: int
    num_segments: int
    dropout: float = 0.1

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Geometry:
        """Rebuild from `to_json`; raises `RunError` when a size is missing, unknown or out of range."""
        names = {field.name for field in fields(cls)}
        if not isinstance(record, Mapping) or set(record) != names:
            raise RunError(f"geometry must have exactly: {', '.join(sorted(names))}")
        if record["family"] not in FAMILIES:
            raise RunError(f"unknown model family {record['family']!r}")
        for name in names - {"family", "dropout"}:
            low = 0 if name == "num_segments" else 1
            if not isinstance(record[name], int) or isinstance(record[name], bool) or record[name] < low:
                raise RunError(f"geometry: {name} must be a whole number from {low}, got {record[name]!r}")
        if record["hidden_dim"] % record["num_heads"]:
            raise RunError("geometry: hidden_dim must be a multiple of num_heads")
        if not isinstance(record["dropout"], int | float) or not 0 <= record["dropout"] < 1:
            raise RunError(f"geometry: dropout must be in [0, 1), got {record['dropout']!r}")
        return cls(**record)


def build_backbone(geometry: Geometry, dtype: str = "float32") -> Any:
    """Return a keras-hub backbone of these sizes with random weights, named "backbone"."""
    hub = import_keras_hub()
    sizes = geometry.to_json()
    family = sizes.pop("family")
    if family == "distilbert":
        del sizes["num_segments"]
    return getattr(hub.models, FAMILIES[family])(**sizes, dtype=dtype, name="backbone")


def build_classifier(
    encoder: Any | Geometry,
    authors: int,
    pooling: Pooling = "first",
    hidden_activation: str | None = None,
    dropout: float = 0.1,
    funnel: bool = False,
) -> Any:
    """Return a Keras functional model: token windows -> float32 logits [b, authors].

    `encoder` is a keras-hub backbone, or a `Geometry` to build one with random weights. Inputs are a dict of
    int32 [b, s]: ``token_ids``, ``padding_mask`` (1 = token) and, for BERT, ``segment_ids``. Layers by name:
    "backbone"; "pooling" (masked mean over tokens, only for ``pooling="mean"``); "head_hidden" (only with a
    `hidden_activation`); "logits". ``pooling="first"`` takes the state of the first token, and its hidden layer is
    initialized with BERT's pretrained pooler if there is one. With `funnel`, every second token is dropped after a
    third of the layers (`authorid.training.encoder.funnel`), and the backbone's layers are those of the model.
    """
    keras = import_keras()
    backbone = build_backbone(encoder) if isinstance(encoder, Geometry) else encoder
    if funnel:
        states, mask = halved_states(backbone)
    else:
        states, mask = backbone(backbone.input), backbone.input["padding_mask"]
    pooler = None
    if isinstance(states, dict):
        states = states["sequence_output"]
        pooler = backbone.get_layer("pooled_dense")
        pooler.trainable = False  # not on the path to the logits
    if pooling == "mean":
        layer = keras.layers.GlobalAveragePooling1D(dtype="float32", name="pooling")
        vector = layer(states, mask=mask)
    else:
        vector = states[:, 0, :]
    hidden = None
    if hidden_activation is not None:
        hidden = keras.layers.Dense(
            backbone.hidden_dim, activation=hidden_activation, dtype="float32", name="head_hidden"
        )
        vector = hidden(vector)
    vector = keras.layers.Dropout(dropout, dtype="float32", name="head_dropout")(vector)
    logits = keras.layers.Dense(authors, dtype="float32", name="logits")(vector)
    if hidden is not None and pooler is not None and hidden_activation == "tanh":
        kernel, bias = pooler.get_weights()
        if kernel.any():  # zeros: the checkpoint has no pooler
            hidden.set_weights([kernel, bias])
    return keras.Model(backbone.input, logits, name="authorid")


def freeze_embeddings(backbone: Any) -> None:
    """Exclude the embedding tables from training: they are most of the parameters, and the part that learns topics."""
    for name in (
        "token_embedding",
        "position_embedding",
        "segment_embedding",
        "token_and_position_embedding",
    ):
        if any(layer.name == name for layer in backbone.layers):
            backbone.get_layer(name).trainable = False
