"""Do two graphs give documents the same answers? What an answer is depends on the decision rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Rule
from authorid.export.graph.graph_runner import Ids, document_means

__all__ = ["VerificationSet"]

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VerificationSet:
    """Documents to compare graphs on: the windows of each, and their classes `labels` [n] where they are known.

    `origin` names the documents: "validation", "training", "held-out", ... `rule` is that of the bundle.
    """

    origin: str
    documents: list[list[Ids]]
    labels: npt.NDArray[np.int64] | None = None
    rule: Rule = "mean-log-softmax"

    @property
    def windows(self) -> list[Ids]:
        """All windows, in order."""
        return [ids for windows in self.documents for ids in windows]

    @property
    def about(self) -> str:
        """How many documents there are, and which."""
        return f"{len(self.documents)} {self.origin} documents"

    def classes(self, logits: Logits) -> npt.NDArray[np.int64]:
        """The most probable class of each document, [documents], by the `logits` [n, classes] of all windows."""
        return np.asarray(document_means(logits, self.documents).argmax(axis=1), np.int64)

    def agreement(self, actual: Logits, expected: Logits) -> float:
        """How well two sets of logits [n, classes] of all windows agree on the documents, 1 at best.

        It is the share of documents with the same class; with several labels, the share of decisions that are the same
        (a label has a document when its probability is 0.5 or more); with values, the share of their variance that the
        other values explain (R squared).
        """
        one, other = (document_means(logits, self.documents) for logits in (actual, expected))
        if self.rule == "sigmoid":
            return float(((one >= 0) == (other >= 0)).mean())
        if self.rule == "identity":
            variance = float(((other - other.mean(axis=0)) ** 2).mean())
            return 1 - float(((one - other) ** 2).mean()) / max(variance, 1e-12)
        return float((one.argmax(axis=1) == other.argmax(axis=1)).mean())

    @property
    def decisions(self) -> int:
        """How many answers `agreement` counts; 0 where it counts none."""
        return 0 if self.rule == "identity" else len(self.documents)
