"""Does each graph answer like the one it was made from? A table of checks, and a verdict."""

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
    "require_all",
]

REFERENCE_TOLERANCE = 1e-3
"""Largest logit difference allowed between Keras and the reference graph."""

EMITTED_TOLERANCE = 1e-4
"""The same between the reference graph and the emitted float32 graph."""

AGREEMENT = 0.993
"""Share of documents to which INT8 must give the same author as float32."""

ACCURACY_LOSS = 0.002
"""How much less accurate than float32 INT8 may be."""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the parity table. `bound` is empty and `ok` true where nothing is demanded."""

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
    """Compare the logits of each window alone and in company, to the last bit.

    It is in company of the others of its length and, as there may be none, of itself backwards: in pairs and in threes.
    `threaded` runs the same graph on several threads.
    """
    same = total = 0
    for rows in batched(windows):
        stacked = np.stack([windows[i] for i in rows])
        crowd = np.concatenate([stacked, stacked[:, ::-1]])
        together = [some.run(crowd)["logits"] for some in (runner, threaded)]
        for place, ids in enumerate(stacked):
            alone = runner.run(ids[None])["logits"][0]
            few = [runner.run(np.stack([ids[::-1], ids, ids][-size:]))["logits"][-1] for size in (2, 3)]
            same += all(np.array_equal(alone, other) for other in (*few, *(logits[place] for logits in together)))
            total += 1
    return Check(name, f"{same} of {total}", f"{total} of {total}", same == total)


def check_documents(
    actual: Logits,
    expected: Logits,
    documents: Sequence[Sequence[Ids]],
    labels: npt.NDArray[np.int64],
    name: str = "INT8",
) -> list[Check]:
    """INT8 against float32 on documents whose authors `labels` [documents] are known; `name` is the INT8 graph's.

    `actual` (INT8) and `expected` (float32) are the logits [n, authors] of all windows of `documents`, in order.
    Documents are decided as the runtime does: mean window log-softmax, then argmax. However few documents there
    are, one of them may change its answer.
    """
    count = len(documents)
    theirs = document_scores(expected, documents).argmax(axis=1)
    ours = document_scores(actual, documents).argmax(axis=1)
    changed, may_change = int((ours != theirs).sum()), max(1, int(count * (1 - AGREEMENT) + 1e-9))
    lost = int((theirs == labels).sum()) - int((ours == labels).sum())
    may_lose = max(1, int(count * ACCURACY_LOSS + 1e-9))
    difference = np.abs(actual - expected)
    return [
        Check(
            f"{name} = float32: same author, {count} documents",
            f"{1 - changed / count:.2%}",
            f">= {1 - may_change / count:.2%}",
            changed <= may_change,
        ),
        Check("accuracy of float32", f"{(theirs == labels).mean():.2%}", "", True),
        Check(
            f"accuracy of {name}",
            f"{(ours == labels).mean():.2%}",
            f">= {((theirs == labels).sum() - may_lose) / count:.2%}",
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
            "the exported graph does not answer like the trained model, so nothing was written: "
            + "; ".join(failed)
            + " (--force writes it all the same)"
        )
