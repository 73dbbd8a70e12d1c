"""Adapt the n-gram model to the documents of one run.

Subjects and habits of later documents differ from those in training. The most certain answers of a run show how, as
their documents have the same subjects as the others (self-training). A first pass over the inputs takes a sample of the
documents. The n-gram weights are then refitted: as close to the trained weights as ridge regression allows, and with
the sample's most certain answers as targets. The second pass scores all documents with the new weights.

No document confirms itself: those that were refitted on get the scores of a fit without them, by the closed form of
leave-one-out. The known-author score, the coverage and the encoder stay as they were trained.

An answer then depends on the other documents of the run. It does not depend on their order, nor on anything else.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.cancellation import CancelCheck, never_cancelled
from authorid.errors import require
from authorid.ngrams.model import NgramModel
from authorid.scoring.posterior import log_softmax, ngram_evidence

__all__ = ["LEAST_DOCUMENTS", "MOST_DOCUMENTS", "Adaptation", "BatchSample"]

Floats = npt.NDArray[np.float64]

MOST_DOCUMENTS = 2500
"""Documents in the sample. Their digests decide which ones, so it is the same whatever the order."""

LEAST_DOCUMENTS = 20
"""With fewer documents, nothing can be said about the run."""

CERTAIN = 0.7
"""Share of the sample whose answers are the targets."""

RIDGE = 0.5
"""Strength of the regularization, relative to the mean squared length of the documents' vectors.

This and `CERTAIN` were chosen on shifted splits (docs/research/accuracy.md)."""

_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class _Seen:
    """One document of the sample: its `scores` [authors], length in bytes, and tf-idf vector."""

    scores: Floats
    size: int
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Adaptation:
    """What a sample of the documents changes.

    `model` has the new weights. `scores` are those of the documents that it was fitted on, by the digests of their
    texts. `bias` float64 [authors] is added to the evidence; it is 0 unless all authors are to have equal shares.
    `documents` is the size of the sample, and `certain` how many of them were targets.
    """

    model: NgramModel
    scores: Mapping[bytes, Floats]
    bias: Floats
    documents: int
    certain: int
    equal_shares: bool

    def score_texts(self, texts: Sequence[str], check: CancelCheck = never_cancelled) -> Floats:
        """Scores float64 [texts, authors] of `texts`."""
        found = self.model.score_texts(texts, check).scores
        for row, text in enumerate(texts):
            left_out = self.scores.get(_digest(text))
            if left_out is not None:
                found[row] = left_out
        return found

    def describe(self) -> dict[str, Any]:
        """What a run's statistics and fingerprint say about it; ``sha256`` identifies all of its numbers."""
        total = hashlib.sha256(np.ascontiguousarray(self.model.weights).tobytes() + self.bias.tobytes())
        for digest in sorted(self.scores):
            total.update(digest + self.scores[digest].tobytes())
        return {
            "documents": self.documents,
            "certain": self.certain,
            "equal_shares": self.equal_shares,
            "sha256": total.hexdigest(),
        }


class BatchSample:
    """Collects a sample of the documents of a run, for at most `MOST_DOCUMENTS` of them in memory."""

    def __init__(self, model: NgramModel, decision: Decision) -> None:
        self._model = model
        self._decision = decision
        self._seen: dict[bytes, _Seen] = {}
        self._largest: list[tuple[int, bytes]] = []
        """Negative digests in a heap: the first one leaves the sample first."""

    def add(self, texts: Sequence[str], check: CancelCheck = never_cancelled) -> None:
        """Take those of `texts` that belong in the sample; texts unlike anything in training do not."""
        new = {digest: text for text in texts if (digest := _digest(text)) not in self._seen and self._has_room(digest)}
        if not new:
            return
        contents = list(new.values())
        found = self._model.score_texts(contents, check)
        usual = np.ones(len(contents), dtype=bool)
        if found.coverage is not None:
            usual = ~found.coverage.below(self._decision.coverage_threshold)
        vectors = self._vectors(contents, check)
        for digest, text, scores, (indices, values), fits in zip(
            new, contents, found.scores, vectors, usual, strict=True
        ):
            if fits and np.isfinite(scores).all():
                self._keep(digest, _Seen(scores, len(text.encode("utf-8", "replace")), indices, values))

    def _has_room(self, digest: bytes) -> bool:
        return len(self._seen) < MOST_DOCUMENTS or -_number(digest) > self._largest[0][0]

    def _keep(self, digest: bytes, seen: _Seen) -> None:
        if not self._has_room(digest):
            return
        heapq.heappush(self._largest, (-_number(digest), digest))
        self._seen[digest] = seen
        if len(self._seen) > MOST_DOCUMENTS:
            del self._seen[heapq.heappop(self._largest)[1]]

    def _vectors(
        self, texts: Sequence[str], check: CancelCheck
    ) -> Iterable[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
        views = len(self._model.extractor.views)
        for group in self._model.vectorize(texts, check):
            for start, stop in pairwise(group.indptr[::views].tolist()):
                yield group.indices[start:stop].copy(), group.data[start:stop].copy()

    def fit(self, *, equal_shares: bool = False) -> Adaptation | None:
        """Adapt the model; returns None when there are fewer than `LEAST_DOCUMENTS`.

        With `equal_shares`, all authors are assumed to have written as many of the documents: the evidence of each gets
        a constant with which the mean probabilities of all authors are the same. Raises `MissingExtraError` without
        scipy.
        """
        sparse, linalg = require("scipy.sparse", "fit"), require("scipy.linalg", "fit")
        digests = sorted(self._seen)
        if len(digests) < LEAST_DOCUMENTS:
            return None
        seen = [self._seen[digest] for digest in digests]
        scores, sizes = np.array([one.scores for one in seen]), np.array([one.size for one in seen])
        edges = np.cumsum([0, *(len(one.indices) for one in seen)])
        matrix = sparse.csr_matrix(
            (np.concatenate([one.values for one in seen]), np.concatenate([one.indices for one in seen]), edges),
            shape=(len(seen), len(self._model.buckets)),
        )
        ordered = np.sort(ngram_evidence(scores, sizes, self._decision), axis=1)
        margins = ordered[:, -1] - ordered[:, -2]
        certain = np.sort(np.argsort(-margins, kind="stable")[: int(CERTAIN * len(seen))])
        products = (matrix @ matrix[certain].T).toarray().astype(np.float64)
        own = products[certain]
        system = own + RIDGE * own.diagonal().mean() * np.eye(len(certain))
        inverse = np.asarray(linalg.inv(system))
        targets = _targets(scores[certain])
        dual = inverse @ (targets - scores[certain])
        adapted = scores + products @ dual
        adapted[certain] = targets - dual / inverse.diagonal()[:, None]
        change = matrix[certain].T.tocsr() @ dual
        weights = self._model.weights.astype(np.float32) * self._model.scale[:, None] + change
        model = replace(self._model, weights=weights.astype(np.float32), scale=np.ones(len(weights), dtype=np.float32))
        evidence = ngram_evidence(adapted, sizes, self._decision)
        bias = _equal_shares(evidence) if equal_shares else np.zeros(scores.shape[1])
        left_out = {digests[row]: adapted[row] for row in certain.tolist()}
        return Adaptation(model, left_out, bias, len(seen), len(certain), equal_shares)


def _targets(scores: Floats) -> Floats:
    """The target of each score [documents, authors]: the mean score of the best authors, or that of all others."""
    best = scores.argmax(axis=1)
    rows = np.arange(len(scores))
    high = scores[rows, best].mean()
    low = (scores.sum() - scores[rows, best].sum()) / (scores.size - len(scores))
    targets = np.full_like(scores, low)
    targets[rows, best] = high
    return targets


def _equal_shares(evidence: Floats) -> Floats:
    """The constant for each author with which all have the same mean probability (iterative proportional fitting)."""
    bias = np.zeros(evidence.shape[1])
    for _ in range(_ROUNDS):
        shares = np.exp(log_softmax(evidence + bias)).mean(axis=0)
        bias -= np.log(np.maximum(shares * len(bias), 1e-6))
    return np.asarray(bias - bias.mean())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")
