"""The report of a run: it takes the records as they pass, and writes the page when the run is over."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

import numpy as np

from authorid.bundle.decision import Decision
from authorid.bundle.manifest import Bundle
from authorid.inputs.documents import Document, Failure
from authorid.ngrams.explain import Contributions
from authorid.ngrams.model import NgramModel
from authorid.outputs.escaping import visible
from authorid.outputs.records import Attribution
from authorid.report.author_map import Floats, author_similarities, average_linkage, map_positions
from authorid.report.evidence import explanation_evidence, row_evidence, shown
from authorid.report.page import compact_json, write_page
from authorid.reporter import Reporter
from authorid.scoring.explanation import Explanation

__all__ = ["EXPLAINED", "RunReport"]

EXPLAINED = 200
"""Documents that the report explains with their text, so that time and size stay bounded; the first ones."""

_EXPLAINED_CHARACTERS = 2_000_000
"""No further document is explained when those before have so many characters."""

_LONGEST = 1_000_000
"""Characters of a document that is explained at most: an explanation takes memory for each of them."""

_EVIDENCE_BYTES = 4_000_000
"""What explanations in records may add to the page."""

_TOP = 5
_MOST_ON_MAP, _MOST_IN_TREE = 500, 60
"""Authors; with more, there is no map or no tree."""

_STATUS = ("scored", "unknown", "failed")


class RunReport:
    """Collects what the page shows of a run; memory does not grow with the number of documents.

    `model` is the n-gram model, if the bundle has one. It keeps rows in temporary files until `close`.
    """

    def __init__(self, bundle: Bundle, model: NgramModel | None) -> None:
        self.first: list[Attribution] = []
        """The first records that can be explained."""
        self._bundle = bundle
        self._model = model
        self._answers = bundle.answers
        self._numbers = {name: number for number, name in enumerate(self._answers.names)}
        self._rows = cast(BinaryIO, TemporaryFile())  # noqa: SIM115 (until `close`)
        self._evidence = cast(BinaryIO, TemporaryFile())  # noqa: SIM115
        self._count = 0
        self._row_numbers: dict[tuple[str, str | None], int] = {}
        self._similarities: Floats | None = None
        self._positions: Floats | None = None
        if model is not None and self._is_one_author_each and 3 <= len(self._numbers) <= _MOST_ON_MAP:
            self._similarities = author_similarities(model)
            self._positions = map_positions(self._similarities)

    def close(self) -> None:
        """Remove the temporary files."""
        self._rows.close()
        self._evidence.close()

    @property
    def _is_one_author_each(self) -> bool:
        return self._answers.measure == "probability" and not self._answers.several

    def add(self, record: Attribution) -> None:
        """Take the next record of the run."""
        status = _STATUS.index(record.status)
        top: list[float] = []
        for name, value in record.ranking[:_TOP]:
            top += [self._numbers[name], _rounded(value, 4) or 0.0]
        reason = shown(record.error or record.reason or "").replace("\n", " ")
        row = [
            visible(str(record.ref)),
            status,
            top,
            _rounded(record.known_author_score, 3),
            _rounded(record.coverage, 3),
            record.windows,
            reason,
            record.expert or "",
            self._position(record),
        ]
        if self._answers.several:
            row.append([self._numbers[name] for name in self._answers.likely(record.ranking)])
        self._rows.write((b"," if self._count else b"") + compact_json(row))
        if record.explanation is not None and self._count >= EXPLAINED and self._evidence.tell() < _EVIDENCE_BYTES:
            self._add_evidence(self._count, row_evidence(record.explanation, self._numbers))
        if self._count < EXPLAINED and record.status != "failed":
            self._row_numbers[record.ref.source, record.ref.member] = self._count
            self.first.append(record)
        self._count += 1

    def explain(
        self, documents: Iterable[Document | Failure | Attribution], decision: Decision, reporter: Reporter
    ) -> None:
        """Keep the evidence for the records in `first`, which the rule `decision` has made.

        `documents` are theirs, as the model reads them, and may have others between them. A document that is long, or
        has changed since it was scored, is left out.
        """
        records = {(one.ref.source, one.ref.member): one for one in self.first}
        wanted, characters = len(records), 0
        for document in islice(documents, EXPLAINED + len(records)):
            if not isinstance(document, Document):
                continue
            key = document.ref.source, document.ref.member
            record = records.pop(key, None)
            if record is not None and record.sha256 == document.sha256 and len(document.text) <= _LONGEST:
                self._explain(self._row_numbers[key], record, document.text, decision)
                characters += len(document.text)
            reporter.progress(wanted - len(records), wanted)
            if not records or characters > _EXPLAINED_CHARACTERS:
                return

    def _explain(self, row: int, record: Attribution, text: str, decision: Decision) -> None:
        if self._model is not None and len(record.ranking) > 1:
            contributions = Contributions.of(self._model, text)
            explanation = Explanation(record, text, self._answers.names, decision, contributions)
            self._add_evidence(row, explanation_evidence(explanation))

    def write(self, path: Path, statistics: dict[str, Any], warnings: Sequence[str] = ()) -> None:
        """Write the page to `path`, with the `warnings`; `statistics` are those of `RunStats.report`.

        Raises `OSError`.
        """
        provenance = self._bundle.provenance
        held_out = provenance.get("fusion", {}).get("shifted_split", {})
        similarities = self._similarities
        in_tree = similarities is not None and len(similarities) <= _MOST_IN_TREE
        about = {
            "made": time.strftime("%Y-%m-%d %H:%M"),
            "model": visible(self._bundle.name),
            "noun": self._answers.noun,
            "measure": self._answers.measure,
            "several": self._answers.several,
            "authors": [visible(name) for name in self._answers.names],
            "statistics": statistics,
            "warnings": [shown(warning).replace("\n", " ") for warning in warnings],
            "held_out": {name: held_out[name] for name in ("accuracy", "held_out") if name in held_out},
            "explained": EXPLAINED,
            "map": None if self._positions is None else np.round(self._positions, 3).tolist(),
            "tree": [[one.left, one.right, round(one.height, 3)] for one in average_linkage(similarities)]
            if in_tree and similarities is not None
            else None,
        }
        write_page(path, "score", {"ABOUT": compact_json(about), "ROWS": self._rows, "EVIDENCE": self._evidence})

    def _add_evidence(self, row: int, evidence: dict[str, Any]) -> None:
        comma = b"," if self._evidence.tell() else b""
        self._evidence.write(comma + b'"%d":' % row + compact_json(evidence))

    def _position(self, record: Attribution) -> list[float] | None:
        """The place of a document on the map: the mean of its authors' places, weighted by their probabilities."""
        if self._positions is None or not record.ranking:
            return None
        shares = np.array([share for _, share in record.ranking])
        places = self._positions[[self._numbers[name] for name, _ in record.ranking]]
        return [float(value) for value in np.round(shares @ places / max(float(shares.sum()), 1e-30), 3)]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
