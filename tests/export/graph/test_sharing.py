"""Graphs with shared weights compute the same as with their own."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import LENGTHS, random_weights, random_windows

from authorid.export import calibrate, emit, share_weights
from authorid.export.graph.builder import CPU, OPENVINO
from authorid.export.graph.graph_runner import GraphRunner
from authorid.export.graph.sharing import METADATA_WEIGHTS

onnx = pytest.importorskip("onnx", reason="not installed: onnx")

WINDOWS = random_windows(LENGTHS)


def test_shared_weights_are_stored_once_and_are_the_same_to_the_bit(tmp_path):
    import onnxruntime

    weights = random_weights("bert-first")
    found = calibrate(weights, WINDOWS)
    originals = {dialect: emit(found.weights, "int8", found.ranges, dialect=dialect) for dialect in (CPU, OPENVINO)}
    shared, contents = share_weights(originals, "weights.onnx.data")
    (tmp_path / "weights.onnx.data").write_bytes(contents)
    moved = 0
    for dialect, graph in shared.items():
        path = tmp_path / f"{dialect}.onnx"
        path.write_bytes(graph)
        model = onnx.load(path, load_external_data=False)
        entries = [{e.key: e.value for e in t.external_data} for t in model.graph.initializer if t.external_data]
        assert {entry["location"] for entry in entries} == {"weights.onnx.data"}
        assert all(int(entry["offset"]) % 4096 == 0 for entry in entries)
        moved += sum(int(entry["length"]) for entry in entries)
        assert METADATA_WEIGHTS in {item.key for item in model.metadata_props}
        session = onnxruntime.InferenceSession(path)
        plain = GraphRunner(originals[dialect])
        for ids in WINDOWS:
            assert np.array_equal(session.run(None, {"window_ids": ids[None]})[0], plain.run(ids[None])["logits"])
    assert moved > len(contents)  # although every tensor starts on a page of its own
    assert share_weights(originals, "weights.onnx.data") == (shared, contents)
