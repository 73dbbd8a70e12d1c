"""Half of the tokens for most of the layers: every second one goes on, what the others know is asked for once more.

A document's style is in all of its windows, and neighbouring tokens know much the same after a few layers. So in the
layer `first_halved` attention is asked by every second token only, of all of them; the layers after it see no other.
This is the Funnel-Transformer's "pool query only" (Dai et al., "Funnel-Transformer: Filtering out Sequential
Redundancy for Efficient Language Processing", 2020), with tokens left out where it takes the mean of two.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from authorid.training.encoder.keras_setup import import_keras

__all__ = ["FUNNEL", "first_halved", "halved_states"]

FUNNEL = "funnel"
"""Name of the Keras layer in which tokens are left out; its ``encoder`` is the transformer layer that it stands for."""


def first_halved(layers: int) -> int:
    """Index of the layer in which every second token is left out: a third of the `layers` is before it, one at least.

    It equals `layers` where there is only one, and then none is left out.
    """
    return max(1, layers // 3)


def halved_states(backbone: Any) -> tuple[Any, Any]:
    """The last states [b, ceil(s / 2), h] of a keras-hub `backbone` with a funnel, and their padding mask.

    The layers are the backbone's own; with a single layer nothing is left out.
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
        """A transformer layer of which only every second token asks: [b, s, h] -> [b, ceil(s / 2), h].

        It takes the parts of keras-hub's post-norm TransformerEncoder `encoder`, whose own call lets all tokens ask.
        """

        def __init__(self, encoder: Any) -> None:
            super().__init__(name=FUNNEL, dtype=encoder.dtype_policy)
            self.encoder = encoder
            self.built = True

        def call(self, states: Any, padding_mask: Any, training: bool | None = None) -> Any:
            """States of the tokens that are kept, given the states and the padding mask of all."""
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
            """For the description of a saved model, which is never read back."""
            return {"name": self.name, "encoder": self.encoder.get_config()}

    return Funnel
