"""How fast could it be? This machine's matmul rates through onnxruntime, its memory bandwidth, and what follows.

``python -m bench.roofline`` prints the rates as JSON; it needs onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from authorid.training.encoder.funnel import first_halved

__all__ = ["encoder_work", "limits", "measure"]

_SHAPES = ((512, 1536, 1536), (2048, 2048, 2048), (1024, 384, 1536), (1024, 1536, 384))
"""Rows, inner size, columns: large ones, and those of MiniLM's feed-forward layers."""


def measure(threads: int, seconds: float = 1.0) -> dict[str, float]:
    """Billions of operations (2 for each multiply-add) and bytes per second, of `threads` cores together.

    Each core runs matmuls of its own, as the fastest engines do; the best shape counts.
    """
    return {
        "int8_gops": max(_matmul("int8", shape, threads, seconds) for shape in _SHAPES),
        "fp32_gops": max(_matmul("fp32", shape, threads, seconds) for shape in _SHAPES),
        "copy_gbs": _copy(threads, seconds),
    }


def _matmul(precision: str, shape: tuple[int, int, int], threads: int, seconds: float) -> float:
    import onnxruntime

    rows, inner, columns = shape
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _model(precision, inner, columns), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    x: Any = rng.integers(0, 255, (rows, inner), dtype=np.uint8)
    if precision == "fp32":
        x = x.astype(np.float32)
    calls = _repeat(lambda: session.run(None, {"x": x}), threads, seconds)
    return round(calls * 2 * rows * inner * columns / 1e9, 1)


def _model(precision: str, inner: int, columns: int) -> bytes:
    """One MatMul, or one MatMulIntegerToFloat of U8 x S8."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    kernel = rng.integers(-127, 127, (inner, columns), dtype=np.int8)
    if precision == "fp32":
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
        constants: dict[str, Any] = {"w": kernel.astype(np.float32)}
    else:
        nodes = [helper.make_node("MatMulIntegerToFloat", ["x", "w", "s", "t", "z"], ["y"], domain="com.microsoft")]
        constants = {
            "w": kernel,
            "s": np.array(0.01, np.float32),
            "t": np.full(columns, 0.01, np.float32),
            "z": np.array(128, np.uint8),
        }
    kind = TensorProto.FLOAT if precision == "fp32" else TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "matmul",
        [helper.make_tensor_value_info("x", kind, ["rows", inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", columns])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)], ir_version=10
    )
    return bytes(model.SerializeToString())


def _copy(threads: int, seconds: float) -> float:
    """Copies of 128 MiB arrays, read and written bytes both counted, in GB/s."""
    size = 128 << 20
    sources = [np.ones(size, dtype=np.uint8) for _ in range(threads)]
    targets = [np.empty_like(source) for source in sources]
    indices = iter(range(threads))
    mine = threading.local()

    def copy() -> None:
        if not hasattr(mine, "index"):
            mine.index = next(indices)
        np.copyto(targets[mine.index], sources[mine.index])

    return round(_repeat(copy, threads, seconds) * 2 * size / 1e9, 1)


def _repeat(call: Callable[[], object], threads: int, seconds: float) -> float:
    """Calls per second of all threads, each after one call that does not count."""
    ready = threading.Barrier(threads + 1)
    done = [0] * threads

    def work(index: int) -> None:
        call()
        ready.wait()
        deadline = time.perf_counter() + seconds
        while not done[index] or time.perf_counter() < deadline:
            call()
            done[index] += 1

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - started)


def encoder_work(geometry: Mapping[str, Any], length: int, pooling: str, *, funnel: bool = False) -> dict[str, float]:
    """Operations a token in windows of `length`: ``linear`` (the weights' matmuls) and ``attention`` (QK and PV).

    Two for each multiply-add. Where the `pooling` is ``first``, the last layer needs keys and values of all tokens that
    it sees, and all else of the first one only; with a `funnel` every second token is left out on the way. Everything
    else (norms, GELU, softmax, embeddings) is left out: it is a limit. ``weights`` counts those of all layers.
    """
    width, inner, layers = geometry["hidden_dim"], geometry["intermediate_dim"], geometry["num_layers"]
    keys_and_values, others = 2 * width * width, 2 * width * width + 2 * width * inner
    halved = first_halved(layers) if funnel else layers
    linear = attention = 0.0
    for layer in range(layers):
        # Shares of the window's tokens: those with keys and values, and those that ask.
        seen = -(-length // 2) / length if layer > halved else 1.0
        asking = -(-length // 2) / length if layer >= halved else 1.0
        if layer == layers - 1 and pooling == "first":
            asking = 1 / length
        linear += 2 * (seen * keys_and_values + asking * others)
        attention += 2 * asking * 2 * seen * length * width
    return {"linear": linear, "attention": attention, "weights": float(layers * (keys_and_values + others))}


def limits(
    rates: Mapping[str, float], geometry: Mapping[str, Any], length: int, pooling: str, *, funnel: bool = False
) -> dict[str, float]:
    """The encoder's limit in tokens per second if only its matmuls took time, at the measured rates.

    ``int8``: linear layers in INT8, attention in float32, as every INT8 system computes it. ``fp32``: all in
    float32. ``floor_ms``: the least time for one window, with the INT8 weights read from memory once.
    """
    work = encoder_work(geometry, length, pooling, funnel=funnel)
    int8 = work["linear"] / (rates["int8_gops"] * 1e9) + work["attention"] / (rates["fp32_gops"] * 1e9)
    fp32 = (work["linear"] + work["attention"]) / (rates["fp32_gops"] * 1e9)
    # One byte a weight, read once, while the copy rate counts reading and writing.
    weights = work["weights"] / (rates["copy_gbs"] * 1e9)
    return {
        "int8": round(1 / int8, 1),
        "fp32": round(1 / fp32, 1),
        "floor_ms": round(1000 * max(int8 * length, weights), 3),
    }


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(prog="python -m bench.roofline", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    wanted = parser.parse_args()
    sys.stdout.write(json.dumps(measure(wanted.threads, wanted.seconds)) + "\n")


if __name__ == "__main__":
    main()
