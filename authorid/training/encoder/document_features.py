"""What an encoder computes for the documents of a corpus, in one pass, and its cache.

The vector of a document is the mean of those of its windows. Vectors are written block by block into the state of the
unfinished training, each file with the SHA-256 of its content, so that a resumed training computes only what is
missing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.encoder.windows import Windower
from authorid.outputs import atomic
from authorid.reporter import Reporter
from authorid.training.runs import predict_windows

__all__ = ["document_features"]

_BLOCK = 16_384
"""Tokens in a block: some seconds of work."""

_BATCH = 32

Floats = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


def document_features(
    model: Any, tokens: Sequence[IntArray], windower: Windower, state: Path, reporter: Reporter
) -> Floats:
    """The vectors float32 [documents, size] that `model` computes for documents, given their token ids.

    A document without tokens gets zeros. `state` is the directory of the cache.
    """
    size, total = int(model.output_shape[-1]), sum(map(len, tokens))
    found = np.zeros((len(tokens), size), dtype=np.float32)
    done, cached, started = 0, 0, time.monotonic()
    for block in _blocks(tokens):
        path = state / f"features-{block.start}.bin"
        part = _read(path, (len(block), size))
        if part is None:
            windows = [[window.ids for window in windower.windows(tokens[index])] for index in block]
            vectors = predict_windows(model, windows, size, batch=_BATCH)
            part = np.stack([own.mean(axis=0) if len(own) else np.zeros(size, np.float32) for own in vectors])
            _write(path, part)
        else:
            cached += sum(len(tokens[index]) for index in block)
        found[block.start : block.stop] = part
        done += sum(len(tokens[index]) for index in block)
        rate = (done - cached) / max(time.monotonic() - started, 1e-9)
        reporter.progress(done, total, f"tokens through the encoder  {rate:,.0f}/s" if done > cached else "cached")
    if cached:
        reporter.info(f"{cached:,} of {total:,} tokens had been through the encoder before")
    return found


def _blocks(tokens: Sequence[IntArray]) -> Iterator[range]:
    """Consecutive documents of about `_BLOCK` tokens."""
    start = size = 0
    for index, ids in enumerate(tokens):
        size += len(ids)
        if size >= _BLOCK or index == len(tokens) - 1:
            yield range(start, index + 1)
            start, size = index + 1, 0


def _write(path: Path, part: Floats) -> None:
    content = np.ascontiguousarray(part, dtype="<f4").tobytes()
    atomic.write_file(path, hashlib.sha256(content).digest() + content)


def _read(path: Path, shape: tuple[int, int]) -> Floats | None:
    """The vectors in the file at `path`; None if it is not there, or damaged: then they are computed again."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest or len(content) != 4 * shape[0] * shape[1]:
        return None
    return np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)
