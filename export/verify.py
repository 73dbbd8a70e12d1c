"""Parity: checks that each graph gives the same answers as the one it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import ParityError
from authorid.export.agreement import VerificationSet
from authorid.export.graph.graph_runner import GraphRunner, Ids, batched

__all__ = [
    "ACCURACY_LOSS",
    "AGREEMENT",
    "EMITTED_TOLERANCE",
    "EXPLAINED",
    "REFERENCE_TOLERANCE",
    "Check",
    "check_documents",
    "check_invariance",
    "check_logits",
    "check_padding",
    "require_all",
]

REFERENCE_TOLERANCE = 1e-3
"""Largest logit difference allowed between Keras and the reference graph."""

EMITTED_TOLERANCE = 1e-4
"""Largest logit difference allowed between the reference graph and an emitted float32 graph."""

AGREEMENT = 0.993
"""Least share of documents to which INT8 must give the same class as float32; of decisions with several labels."""

EXPLAINED = 0.98
"""Least share of the variance of float32's values that those of INT8 must explain."""

ACCURACY_LOSS = 0.002
"""Largest allowed difference between the accuracy of float32 and that of INT8."""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the parity table. Rows for information have an empty `bound` and are always `ok`."""

    name: str
    value: str
    bound: str
    ok: bool

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The row as text; the last column is the verdict."""
        return (self.name, self.value, self.bound, ("ok" if self.ok else "FAILED") if self.bound else "")

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return {"check": self.name, "value": self.value, "bound": self.bound, "ok": self.ok}


def check_logits(name: str, actual: Logits, expected: Logits, tolerance: float) -> Check:
    """Largest difference between two logit arrays [n, authors], against `tolerance`."""
    difference = float(np.abs(actual - expected).max())
    return Check(name, f"{difference:.2g}", f"<= {tolerance:.2g}", difference <= tolerance)


def check_invariance(name: str, runner: GraphRunner, threaded: GraphRunner, windows: Sequence[Ids]) -> Check:
    """Check that the logits of each window are the same to the last bit alone and in batches.

    The batches are: the window twice, the same behind its reverse, and all windows of its length with their reverses
    (there may be no other of its length). `threaded` runs the same graph on several threads.
    """
    same = total = 0
    for group in batched(windows):
        stacked = np.stack([windows[i] for i in group])
        batch = np.concatenate([stacked, stacked[:, ::-1]])
        batched_logits = [each.run(batch)["logits"] for each in (runner, threaded)]
        for position, ids in enumerate(stacked):
            alone = runner.run(ids[None])["logits"][0]
            small = [runner.run(np.stack([ids[::-1], ids, ids][-size:]))["logits"][-1] for size in (2, 3)]
            large = [logits[position] for logits in batched_logits]
            same += all(np.array_equal(alone, other) for other in (*small, *large))
            total += 1
    return Check(name, f"{same} of {total}", f"{total} of {total}", same == total)


def check_padding(name: str, runner: GraphRunner, windows: Sequence[Ids]) -> Check:
    """Largest difference between the logits of each window alone and in padded batches of unequal lengths."""
    order = np.argsort([len(ids) for ids in windows], kind="stable")
    # The shortest beside the longest: the most padding that there can be.
    pairs = [sorted({int(order[i]), int(order[-1 - i])}) for i in range(-(-len(order) // 2))]
    padded = np.concatenate([runner.padded_logits([windows[i] for i in pair]) for pair in pairs])
    alone = runner.logits([windows[i] for pair in pairs for i in pair])
    return check_logits(name, padded, alone, EMITTED_TOLERANCE)


def check_documents(actual: Logits, expected: Logits, documents: VerificationSet, name: str = "INT8") -> list[Check]:
    """Compare an INT8 graph called `name` with float32, on `documents`.

    `actual` (INT8) and `expected` (float32) are the logits [n, classes] of all their windows, in order. However few
    documents there are, one of them may get another class.
    """
    difference = np.abs(actual - expected)
    return [
        _check_agreement(documents.agreement(actual, expected), documents, name),
        *_check_accuracy(actual, expected, documents, name),
        Check(f"{name} = float32: mean difference", f"{difference.mean():.2g}", "", True),
        Check(f"{name} = float32: largest difference", f"{difference.max():.2g}", "", True),
    ]


def _check_agreement(agreement: float, documents: VerificationSet, name: str) -> Check:
    count = len(documents.documents)
    if documents.rule == "identity":
        about = f"{name} = float32: variance explained, {count} documents"
        return Check(about, f"{agreement:.4f}", f">= {EXPLAINED}", agreement >= EXPLAINED)
    what = "same decisions" if documents.rule == "sigmoid" else "same class"
    least = 1 - max(1, int(count * (1 - AGREEMENT) + 1e-9)) / count
    about = f"{name} = float32: {what}, {count} documents"
    return Check(about, f"{agreement:.2%}", f">= {least:.2%}", agreement >= least - 1e-9)


def _check_accuracy(actual: Logits, expected: Logits, documents: VerificationSet, name: str) -> list[Check]:
    """Nothing where the classes of the documents are not known."""
    if documents.labels is None:
        return []
    count = len(documents.documents)
    right, own = (int((documents.classes(logits) == documents.labels).sum()) for logits in (expected, actual))
    least = right - max(1, int(count * ACCURACY_LOSS + 1e-9))
    return [
        Check("accuracy of float32", f"{right / count:.2%}", "", True),
        Check(f"accuracy of {name}", f"{own / count:.2%}", f">= {least / count:.2%}", own >= least),
    ]


def require_all(checks: Sequence[Check]) -> None:
    """Raise `ParityError` naming every check that failed."""
    failed = [f"{check.name}: {check.value}, must be {check.bound}" for check in checks if not check.ok]
    if failed:
        raise ParityError(
            "the exported graph does not give the answers of the trained model, so nothing was written: "
            + "; ".join(failed)
            + " (--force writes it anyway)"
        )
