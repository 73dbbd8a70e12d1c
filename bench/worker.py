"""The process of one system: ``python -m bench.worker PEER``.

Requests come on standard input and answers go to standard output, one JSON object a line. Runs in the peers'
environments: nothing but the standard library and numpy may be imported here.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer_interface import Ints, Peer, Prepared, Rows, read_windows


class Measuring:
    """The operations that the runner asks for; one method an operation, keyword arguments from JSON."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._windows: dict[str, Rows] = {}

    def prepare(self, model: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Make what `load` needs."""
        started = time.perf_counter()
        rates = self.peer.prepare(Prepared(Path(model)), settings)
        return {"seconds": time.perf_counter() - started, "rates": rates}

    def load(self, model: str, settings: dict[str, Any], sessions: int, threads: int) -> dict[str, Any]:
        """Load, or load again with other threads."""
        started = time.perf_counter()
        self.peer.model, self.peer.settings = Prepared(Path(model)), settings
        self.peer.sessions = sessions
        self.peer.load(self.peer.model, settings, sessions, threads)
        return {"seconds": time.perf_counter() - started, "versions": self.peer.versions(), "pid": os.getpid()}

    def parity(self) -> dict[str, Any]:
        """How far the logits are from the golden ones, on the golden windows, if they should be the same."""
        if not self.peer.same_function():
            return {"same_function": False}
        rows, expected = self.peer.model.golden()
        actual = self.peer.run(rows, 1)
        return {
            "same_function": True,
            "largest_difference": float(np.abs(actual - expected).max()),
            "largest_logit": float(np.abs(expected).max()),
            "same_answer": float((actual.argmax(1) == expected.argmax(1)).mean()),
        }

    def score(self, paths: list[str], out: str, batch: int, passes: int = 1) -> dict[str, Any]:
        """Files to results, end to end, so many times."""
        started = time.perf_counter()
        for _ in range(passes):
            self.peer.score(paths, Path(out), batch)
        return {"seconds": time.perf_counter() - started}

    def windows(
        self, file: str, batch: int, limit: int | None = None, logits: str | None = None, passes: int = 1
    ) -> dict[str, Any]:
        """Token windows to logits, so many times; `limit` takes the first few, `logits` is where to write them."""
        if file not in self._windows:
            self._windows[file] = read_windows(Path(file))
        rows = self._windows[file][:limit]
        started = time.perf_counter()
        for _ in range(passes):
            result = self.peer.run(rows, batch)
        seconds = time.perf_counter() - started
        if logits is not None:
            np.save(logits, result)
        return {"seconds": seconds, "tokens": passes * sum(map(len, rows)), "windows": len(rows)}

    def latency(self, length: int, count: int, seconds: float, vocabulary: int) -> dict[str, Any]:
        """Seconds of each of up to `count` calls with one full window, begun within `seconds`; the first is not one."""
        ids, mask = _full(1, length, vocabulary)
        times: list[float] = []
        begun = time.perf_counter()
        while len(times) < 3 or (len(times) <= count and time.perf_counter() - begun < seconds):
            started = time.perf_counter()
            self.peer.forward(0, ids, mask)
            times.append(time.perf_counter() - started)
        return {"seconds": times[1:]}

    def memory(self) -> dict[str, Any]:
        """Peak resident memory so far."""
        return {"peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}


def _full(batch: int, length: int, vocabulary: int) -> tuple[Ints, Ints]:
    ids = np.random.default_rng(batch * 1000 + length).integers(min(999, vocabulary - 1), vocabulary, (batch, length))
    return ids.astype(np.int64), np.ones((batch, length), dtype=np.int64)


def main(arguments: Sequence[str]) -> None:
    """Serve the system that is named."""
    # Libraries print to standard output; the protocol keeps that channel for itself.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _serve(sys.stdin, channel.write, channel.flush, arguments[0])


def _serve(requests: Iterable[str], write: Callable[[str], object], flush: Callable[[], object], name: str) -> None:
    measuring: Measuring | None = None
    for line in requests:
        request = json.loads(line)
        operation = request.pop("op")
        if operation == "quit":
            return
        try:
            if measuring is None:
                measuring = Measuring(importlib.import_module(f"bench.peers.{name}.{name}_peer").make())
            answer = {"ok": True, **getattr(measuring, operation)(**request)}
        except Exception as error:  # whatever a peer's libraries raise is its result
            text = (str(error).strip().splitlines() or [""])[0]
            answer = {"ok": False, "error": f"{type(error).__name__}: {text}"[:300]}
            sys.excepthook(type(error), error, error.__traceback__)
        write(json.dumps(answer) + "\n")
        flush()


if __name__ == "__main__":
    main(sys.argv[1:])
