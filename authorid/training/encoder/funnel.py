"""The funnel: after a third of the layers, every second token is dropped.

After a few layers, the states of neighbouring tokens are much alike. So in the layer `first_halved`, only every second
token is a query of the attention; keys and values are all tokens. Later layers compute only the tokens that are kept.
This is "pool query only" of the Funnel-Transformer (Dai et al., "Funnel-Transformer: Filtering out Sequential
Redundancy for Efficient Language Processing", 2020), except that tokens are dropped where it takes the mean of two.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from authorid.training.encoder.keras_setup import import_keras

__all__ = ["FUNNEL", "first_halved", "halved_states"]

FUNNEL = "funnel"
"""Name of the Keras layer in which tokens are dropped; its ``encoder`` is the transformer layer that it replaces."""


def first_halved(layers: int) -> int:
    """Return the index of the layer in which every second token is dropped, for an encoder of `layers` layers.

    A third of the layers, but at least one, is before it. With a single layer the index is 1, and no token is dropped.
    """
    return max(1, layers // 3)


def halved_states(backbone: Any) -> tuple[Any, Any]:
    """Return the last states [b, ceil(s / 2), h] of a keras-hub `backbone` with a funnel, and their padding mask.

    The layers are those of the backbone. With a single layer no token is dropped.
    """
    mask = backbone.input["padding_mask"]
    layers = [backbone.get_layer(f"transformer_layer_{index}") for index in range(backbone.num_layers)]
    first = first_halved(len(layers))
    states = layers[first - 1].output
    if first < len(layers):
        states = _layer_class()(layers[first])(states, padding_mask=mask)
        mask = mask[:, ::2]
    for layer in layers[first + 1 :]:
        states = layer(states, padding_mask=mask)
    return states, mask


@cache
def _layer_class() -> Any:
    layers: Any = import_keras().layers

    class Funnel(layers.Layer):  # type: ignore[misc]
        """A transformer layer with every second token as a query: [b, s, h] -> [b, ceil(s / 2), h].

        It uses the parts of keras-hub's post-norm TransformerEncoder `encoder`, in which all tokens are queries.
        """

        def __init__(self, encoder: Any) -> None:
            super().__init__(name=FUNNEL, dtype=encoder.dtype_policy)
            self.encoder = encoder
            self.built = True

        def call(self, states: Any, padding_mask: Any, training: bool | None = None) -> Any:
            """Return the states of the tokens that are kept, given the states and the padding mask of all."""
            encoder, kept = self.encoder, states[:, ::2]
            attended = encoder._self_attention_layer(
                query=kept, value=states, attention_mask=padding_mask[:, None, :], training=training
            )
            attended = encoder._self_attention_dropout(attended, training=training)
            kept = encoder._self_attention_layer_norm(kept + attended)
            inner = encoder._feedforward_intermediate_dense(kept)
            output = encoder._feedforward_dropout(encoder._feedforward_output_dense(inner), training=training)
            return encoder._feedforward_layer_norm(kept + output)

        def get_config(self) -> dict[str, Any]:
            """Return the configuration for a saved model; it is never read back."""
            return {"name": self.name, "encoder": self.encoder.get_config()}

    return Funnel
