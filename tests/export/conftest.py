"""Tiny encoders with random weights, of both families and with all kinds of heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from encoders import AUTHORS, LAYERS, POSITIONS, SHAPES, VOCABULARY

if TYPE_CHECKING:
    from authorid.export import EncoderWeights


@pytest.fixture(scope="session")
def models() -> dict[str, Any]:
    """Keras classifiers by the names of `SHAPES`; no weight has its initial value of zero or one."""
    from authorid.training.encoder.classifier import Geometry, build_classifier
    from authorid.training.encoder.layer_classifier import LayerFeatures, build_layer_classifier

    made = {}
    for name, (family, layers, heads, width, inner, pooling, activation, funnel) in SHAPES.items():
        segments = 2 if family == "bert" else 0
        geometry = Geometry(family, VOCABULARY, layers, heads, width, inner, POSITIONS, segments)
        if name in LAYERS:
            model = build_layer_classifier(geometry, AUTHORS, LayerFeatures(*LAYERS[name]))
        else:
            model = build_classifier(geometry, AUTHORS, pooling, activation, funnel=funnel)
        rng = np.random.default_rng(1)
        model.set_weights([w + rng.normal(0, 0.1, w.shape).astype(w.dtype) for w in model.get_weights()])
        made[name] = model
    return made


@pytest.fixture(scope="session")
def weights(models: dict[str, Any]) -> dict[str, EncoderWeights]:
    """The weights of these classifiers."""
    from authorid.export import from_keras

    return {name: from_keras(model) for name, model in models.items()}
