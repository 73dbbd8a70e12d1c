"""Windows are batched by length, and documents get the mean logits of their windows."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import random_windows

from authorid.errors import ExportError
from authorid.export.graph.graph_runner import BATCH_TOKENS, GraphRunner, batched, document_means
from authorid.export.graph.onnx_graph import OnnxGraph


def test_a_broken_graph_is_an_export_error():
    with pytest.raises(ExportError, match="onnxruntime"):
        GraphRunner(OnnxGraph(b"not a graph"))


def test_batches_hold_equal_lengths_and_every_window_once():
    windows = random_windows([5, 600, 7, 5, 600, 5] + [16] * 200)
    groups = list(batched(windows))
    assert sorted(index for rows in groups for index in rows) == list(range(len(windows)))
    for rows in groups:
        assert len({len(windows[i]) for i in rows}) == 1
        assert len(rows) == 1 or sum(len(windows[i]) for i in rows) <= BATCH_TOKENS


def test_document_means_are_means_of_their_windows():
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    scores = document_means(logits, [[0, 1], [2], [3, 4]])
    np.testing.assert_allclose(scores[1], logits[2], rtol=1e-6)
    np.testing.assert_allclose(scores[2], logits[3:].mean(axis=0), rtol=1e-6)
