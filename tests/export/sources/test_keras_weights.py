"""Weights are read from classifiers of `authorid train` and from nothing else."""

from __future__ import annotations

import pytest

from authorid.errors import ExportError
from authorid.export import from_keras

pytestmark = pytest.mark.train


def test_models_of_another_architecture_are_refused(models):
    import keras

    x = keras.Input((3,))
    with pytest.raises(ExportError, match="logits"):
        from_keras(keras.Model(x, keras.layers.Dense(2)(x)))
    with pytest.raises(ExportError, match="neither"):
        from_keras(keras.Model(x, keras.layers.Dense(2, name="logits")(x)))


def test_the_number_of_parameters_is_that_of_keras(models, weights):
    # DistilBERT has no segment table, which would be added to the position table.
    assert weights["distilbert-mean"].parameters == models["distilbert-mean"].count_params()
