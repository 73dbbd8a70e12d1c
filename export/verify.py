"""Parity: checks that each graph gives the same answers as the one it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import ParityError
from authorid.export.graph.graph_runner import GraphRunner, Ids, batched, document_scores

__all__ = [
    "ACCURACY_LOSS",
    "AGREEMENT",
    "EMITTED_TOLERANCE",
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
"""Least share of documents to which INT8 must give the same author as float32."""

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


def check_documents(
    actual: Logits,
    expected: Logits,
    documents: Sequence[Sequence[Ids]],
    labels: npt.NDArray[np.int64],
    name: str = "INT8",
) -> list[Check]:
    """Compare an INT8 graph called `name` with float32, on documents whose authors `labels` [documents] are known.

    `actual` (INT8) and `expected` (float32) are the logits [n, authors] of all windows of `documents`, in order. A
    document's author is the argmax of the mean log-softmax of its windows, as at run time. However few documents there
    are, one of them may get another author.
    """
    count = len(documents)
    of_float32 = document_scores(expected, documents).argmax(axis=1)
    of_int8 = document_scores(actual, documents).argmax(axis=1)
    changed, may_change = int((of_int8 != of_float32).sum()), max(1, int(count * (1 - AGREEMENT) + 1e-9))
    right = int((of_float32 == labels).sum())
    lost = right - int((of_int8 == labels).sum())
    may_lose = max(1, int(count * ACCURACY_LOSS + 1e-9))
    difference = np.abs(actual - expected)
    return [
        Check(
            f"{name} = float32: same author, {count} documents",
            f"{1 - changed / count:.2%}",
            f">= {1 - may_change / count:.2%}",
            changed <= may_change,
        ),
        Check("accuracy of float32", f"{(of_float32 == labels).mean():.2%}", "", True),
        Check(
            f"accuracy of {name}",
            f"{(of_int8 == labels).mean():.2%}",
            f">= {(right - may_lose) / count:.2%}",
            lost <= may_lose,
        ),
        Check(f"{name} = float32: mean difference", f"{difference.mean():.2g}", "", True),
        Check(f"{name} = float32: largest difference", f"{difference.max():.2g}", "", True),
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
