"""What every system can do, in its own environment: load a model, run batches, score files.

This module runs in the peers' environments too: nothing but the standard library and numpy may be imported here.
"""

from __future__ import annotations

import csv
import json
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "Ints",
    "Peer",
    "Prepared",
    "Rows",
    "decide",
    "in_parallel",
    "pad",
    "read_tokenizer",
    "read_windows",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Rows = list[npt.NDArray[np.int32]]


@dataclass(frozen=True)
class Prepared:
    """A model that `bench.prepare` or `bench.prepare_huggingface` wrote: the same weights for every system.

    ``model.json``, ``keras.weights.h5`` of a training run, ``hf/`` (Hugging Face layout), ``bundle/`` (ours; of a model
    in Hugging Face layout one for each length, ``bundle-512/``), ``golden.npz``, and what peers make of it for
    themselves. Where ``bundle/`` is of a model with a funnel, which no peer can run, the same weights as a bundle are
    in ``plain/``.
    """

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The contents of ``model.json``."""
        record: dict[str, Any] = json.loads((self.path / "model.json").read_text("utf-8"))
        return record

    @property
    def authors(self) -> list[str]:
        """The classes, in the order of the logits."""
        return list(self.record["authors"])

    @property
    def padding(self) -> int:
        """The token that fills up short windows of a batch."""
        return int(self.record.get("padding", 0))

    @property
    def huggingface(self) -> Path:
        """The directory in Hugging Face layout."""
        return self.path / "hf"

    def golden(self) -> tuple[Rows, Floats]:
        """Windows and their float32 logits [n, authors], by Keras or by transformers on torch."""
        with np.load(self.path / "golden.npz") as arrays:
            return _split(arrays["ids"], arrays["lengths"]), arrays["logits"]


class Peer(ABC):
    """A system. Subclasses load a model and run batches; the measuring is the same for all.

    `sessions` batches are in flight at once, each on `threads` threads.
    """

    packages: tuple[str, ...] = ("numpy",)
    """Distributions whose versions belong in the results."""

    model: Prepared
    settings: dict[str, Any]
    sessions = 1
    tokenizer: Any
    """Set by the `load` of those that score with `tokenize`; see `read_tokenizer`."""

    def prepare(self, model: Prepared, settings: dict[str, Any]) -> dict[str, float] | None:
        """Make files that `load` needs (export, quantize, fit) beside the model, unless they are there.

        Where there are several graphs to choose from, it returns their tokens per second by name; `load` finds the name
        of the fastest as ``graph`` in its settings.
        """
        return None

    @abstractmethod
    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """Load the model and be ready to run."""

    def same_function(self) -> bool:
        """Whether its logits should be the golden ones; not where our bundle is of another model."""
        return True

    @abstractmethod
    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """Logits [b, authors] of windows `ids` [b, s] with `mask` [b, s] (1 = token); `session` < `sessions`."""

    def plan(self, rows: Rows, batch: int) -> list[list[int]]:
        """Which rows share a batch: neighbours by length."""
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        return [order[start : start + batch] for start in range(0, len(order), batch)]

    def run(self, rows: Rows, batch: int) -> Floats:
        """Logits [n, authors] of `rows`, `batch` of them at a time."""
        results: list[Any] = [None] * len(rows)
        plan = self.plan(rows, batch)

        def work(session: int, batch_index: int) -> None:
            ids, mask = pad([rows[index] for index in plan[batch_index]], self.model.padding)
            for index, row in zip(plan[batch_index], self.forward(session, ids, mask), strict=True):
                results[index] = row

        # The longest first, so that the last batches are small ones and the sessions finish together.
        in_parallel(self.sessions, list(reversed(range(len(plan)))), work)
        return np.array(results, dtype=np.float32)

    def score(self, paths: Sequence[str], out: Path, batch: int) -> None:
        """Files on disk become a CSV on disk (path, author, probability)."""
        texts = [Path(path).read_text("utf-8", "replace") for path in paths]
        rows = self.tokenize(texts)
        self.write(out, paths, self.run(rows, batch))

    def tokenize(self, texts: Sequence[str]) -> Rows:
        """Token ids of each text, with the `tokenizer` that `load` has read."""
        return [np.array(item.ids, dtype=np.int32) for item in self.tokenizer.encode_batch(list(texts))]

    def write(self, out: Path, paths: Sequence[str], logits: Floats) -> None:
        """The results file of `score`."""
        authors = self.model.authors
        with out.open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(("path", "author", "probability"))
            for path, row in zip(paths, logits, strict=True):
                best, probability = decide(row[None])
                rows.writerow((path, authors[best], f"{probability:.6f}"))

    def versions(self) -> dict[str, str]:
        """What ran."""
        found = {"python": sys.version.split()[0]}
        for name in self.packages:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "?"
        return found


def decide(logits: Floats) -> tuple[int, float]:
    """The likeliest class of a document by the mean log-softmax of its windows [w, c], and its probability."""
    x = logits.astype(np.float64)
    highest: npt.NDArray[np.float64] = np.max(x, axis=1, keepdims=True)
    x = x - highest
    mean = (x - np.log(np.exp(x).sum(axis=1, keepdims=True))).mean(axis=0)
    probabilities = np.exp(mean - np.max(mean))
    best = int(np.argmax(probabilities))
    return best, float(probabilities[best] / probabilities.sum())


def pad(rows: Rows, padding: int = 0, length: int | None = None) -> tuple[Ints, Ints]:
    """Token ids, filled up with `padding`, and mask: int64 [b, longest] (or [b, length])."""
    width = max(map(len, rows)) if length is None else length
    ids = np.full((len(rows), width), padding, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def in_parallel(workers: int, items: Sequence[int], work: Callable[[int, int], None]) -> None:
    """Call ``work(worker, item)`` for all items, in `workers` threads that take the next one when they are free."""
    if workers == 1:
        for item in items:
            work(0, item)
        return
    todo = iter(items)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def loop(worker: int) -> None:
        try:
            while not errors:
                with lock:
                    item = next(todo, None)
                if item is None:
                    return
                work(worker, item)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=loop, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def read_tokenizer(model: Prepared, settings: dict[str, Any]) -> Any:
    """The Rust tokenizer, which cuts texts to as many tokens as the settings' ``truncate`` has."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model.huggingface / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings["truncate"])
    return tokenizer


def read_windows(path: Path) -> Rows:
    """The token windows that `bench.workloads` wrote."""
    with np.load(path) as arrays:
        return _split(arrays["ids"], arrays["lengths"])


def _split(ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32]) -> Rows:
    return list(np.split(ids, np.cumsum(lengths)[:-1])) if len(lengths) else []
