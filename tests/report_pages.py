"""Reports to test: of records that are made up, or of a run."""

from __future__ import annotations

import json
import re
from array import array
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from authorid.inputs.documents import DocumentRef
from authorid.outputs.answers import Answers
from authorid.outputs.records import Attribution, Ranking
from authorid.report.run_report import RunReport
from authorid.scoring.stats import RunStats

AUTHORS = ("Ada", "Ben", "Cyd")

HOSTILE = (
    "</script><script>document.title='hacked'</script>",
    "<img src=x onerror=document.title='hacked'>",
    "<!--<script>",
    "a\u2028b\u202ec\x00\x1b[31m\ud800",
    "\"'`${document.title='hacked'}",
    "%%SCRIPT%%",
)


def ranking(first: int, probability: float, authors: tuple[str, ...] = AUTHORS) -> Ranking:
    rest = (1 - probability) / (len(authors) - 1)
    return Ranking.of(authors, array("d", [probability if i == first else rest for i in range(len(authors))]).tobytes())


def record(name: str, status: str = "scored", author: int = 0, probability: float = 0.9, **more: Any) -> Attribution:
    authors = more.pop("authors", AUTHORS)
    if status == "failed":
        return Attribution(DocumentRef(name), "failed", error=more.pop("error", "not a text"), **more)
    reason = "probability below the threshold" if status == "unknown" else None
    more.setdefault("reason", reason)
    return Attribution(DocumentRef(name), status, ranking(author, probability, authors), expert="ngrams", **more)


def write_report(path: Path, records, authors: tuple[str, ...] = AUTHORS, model=None, name="tiny") -> Path:
    """The report of `records`, written to `path`."""
    bundle = SimpleNamespace(answers=Answers(authors), name=name, provenance={})
    report = RunReport(bundle, model)
    stats = RunStats()
    about = {"adaptation": None, "effort": "fast", "precision": "ngrams", "provider": "cpu", "workers": 1, "threads": 1}
    with closing(report):
        for one in records:
            report.add(one)
            stats.count(one)
            stats.latency(0.01, 0.005)
        report.write(path, stats.report(1.0, about))
    return path


def data(page: Path, name: str) -> Any:
    """The data of a page: `name` is about, rows or evidence."""
    (found,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page.read_text("utf-8"), re.S)
    return json.loads(found)
