"""The baseline any user would try first: character n-grams, tf-idf, a linear SVM."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from bench.peer_interface import Floats, Ints, Peer, Prepared, Rows


def make() -> Peer:
    """The system."""
    return TfIdf()


class TfIdf(Peer):
    """`settings`: ``corpus``, training documents in one directory an author; ``classifier``, where to keep the fit.

    It has one thread: a session is a process.
    """

    packages = ("scikit-learn", "scipy", "numpy")
    _pool: Pool | None = None

    def prepare(self, model: Prepared, settings: dict[str, Any]) -> None:
        """Fit; the time it takes is not measured."""
        if Path(settings["classifier"]).is_file():
            return
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        corpus = Path(settings["corpus"])
        files = sorted(corpus.rglob("*.txt"))
        texts = [path.read_text("utf-8", "replace") for path in files]
        classifier = make_pipeline(
            TfidfVectorizer(analyzer="char", ngram_range=(2, 4), sublinear_tf=True, min_df=3, max_features=200_000),
            LinearSVC(),
        )
        classifier.fit(texts, [path.relative_to(corpus).parts[0] for path in files])
        import_module("joblib").dump(classifier, settings["classifier"])

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """Read the fitted classifier (a file that `prepare` wrote)."""
        self._classifier = import_module("joblib").load(settings["classifier"])
        if self._pool is not None:
            self._pool.terminate()
        # Forked, so that they share what was read.
        self._pool = get_context("fork").Pool(sessions, _adopt, (self._classifier,))

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """There is no encoder; latency is that of one short text."""
        text = " ".join(["letter"] * ids.shape[1])
        scores: Floats = self._classifier.decision_function([text])
        return scores

    def run(self, rows: Rows, batch: int) -> Floats:
        """No windows here."""
        raise ValueError("a bag of n-grams has no windows")

    def score(self, paths: Sequence[str], out: Path, batch: int) -> None:
        """Whole documents, a few at a time in each process."""
        assert self._pool is not None
        few = -(-len(paths) // (4 * self.sessions))
        parts = [paths[start : start + few] for start in range(0, len(paths), few)]
        authors = [author for part in self._pool.map(_predict, parts, chunksize=1) for author in part]
        with out.open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(("path", "author", "probability"))
            rows.writerows((path, author, "") for path, author in zip(paths, authors, strict=True))


_adopted: list[Any] = []
"""The classifier, in the processes of the pool."""


def _adopt(classifier: Any) -> None:
    _adopted.append(classifier)


def _predict(paths: Sequence[str]) -> list[str]:
    texts = [Path(path).read_text("utf-8", "replace") for path in paths]
    return [str(author) for author in _adopted[0].predict(texts)]
