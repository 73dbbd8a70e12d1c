"""Keras on TensorFlow: `model.predict` on padded token ids."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bench.peer_interface import Floats, Ints, Peer, Prepared, Rows, pad, read_tokenizer

_STEP = 64
"""Rows are padded to a multiple of this many tokens: Keras traces its graph again for every new shape."""


def make() -> Peer:
    """The system."""
    return Keras()


class Keras(Peer):
    """Without XLA, which Keras itself leaves off on CPUs. One session only: `predict` is not for threads."""

    packages = ("keras", "keras-hub", "tensorflow", "tokenizers", "numpy")

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """Rebuild the classifier and load its weights."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow

        try:
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:  # once TensorFlow has run, its threads are what they are
            pass
        from authorid.training import Geometry, build_classifier

        record = model.record
        self._model = build_classifier(
            Geometry.from_json(record["geometry"]),
            len(record["authors"]),
            record["pooling"],
            record["hidden_activation"],
        )
        self._model.load_weights(str(model.path / "keras.weights.h5"))
        self._model.compile(jit_compile="auto")
        self._segments = record["geometry"]["num_segments"] > 0
        self.tokenizer = read_tokenizer(model, settings)

    def _inputs(self, ids: Ints, mask: Ints) -> dict[str, Any]:
        named = {"token_ids": ids.astype(np.int32), "padding_mask": mask.astype(np.int32)}
        if self._segments:
            named["segment_ids"] = np.zeros_like(named["token_ids"])
        return named

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """One batch, by the call that has the least overhead."""
        logits: Floats = np.asarray(self._model.predict_on_batch(self._inputs(ids, mask)))
        return logits

    def run(self, rows: Rows, batch: int) -> Floats:
        """One `predict` for all rows of about one length."""
        buckets: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            buckets.setdefault(-(-len(row) // _STEP) * _STEP, []).append(index)
        results = np.empty((len(rows), len(self.model.authors)), dtype=np.float32)
        for length, bucket in buckets.items():
            ids, mask = pad([rows[index] for index in bucket], length=length)
            results[bucket] = self._model.predict(self._inputs(ids, mask), batch_size=batch, verbose=0)
        return results
