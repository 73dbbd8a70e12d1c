"""Records to write in tests, random and fixed."""

from __future__ import annotations

import json
import os

from hypothesis import strategies as st

from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import DocumentRef
from authorid.outputs.records import Attribution

AUTHORS = ("Ada", "Ben", "Cyd", "", "=1+1", "Zoë \u202e\n", "\ud800")
"""The authors of random records."""

PATHS = st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
PROBABILITIES = st.floats(0, 1)
RECORDS = st.builds(
    Attribution,
    ref=st.builds(DocumentRef, PATHS, st.none() | st.text(max_size=5)),
    status=st.sampled_from(["scored", "unknown"]),
    ranking=st.lists(
        st.tuples(st.sampled_from(AUTHORS[:-1]), PROBABILITIES), min_size=2, max_size=6, unique_by=lambda pair: pair[0]
    ).map(tuple),
    windows=st.integers(0, 10**9),
    tokens=st.integers(0, 10**9),
    encoding=st.sampled_from(["utf-8", "cp1252"]),
    sha256=st.just("0" * 64),
    evidence=st.lists(PROBABILITIES, max_size=3).map(tuple),
    known_author_score=st.none() | PROBABILITIES,
    coverage=st.none() | PROBABILITIES,
    reason=st.none() | st.text(max_size=20),
    adapted=st.booleans(),
    reader=st.sampled_from(["text", "table"]),
    expert=st.sampled_from(["ngrams", "encoder", "both"]),
    explanation=st.none() | st.dictionaries(st.text(max_size=5), st.floats(0, 1), max_size=2).map(json.dumps),
)
FAILURES = st.builds(
    Attribution, ref=st.builds(DocumentRef, PATHS), status=st.just("failed"), error=st.text(max_size=20)
)


def make_record(path="a", status="scored", sha256="0" * 64, probability=0.75):
    """A record of a document by Ada or Ben."""
    ranking = () if status == "failed" else (("Ada", probability), ("Ben", 1 - probability))
    return Attribution(
        DocumentRef(path), status, ranking, 1, 9, "utf-8", sha256, "broken" if status == "failed" else None
    )


def discovered(below, root=0):
    """The file `below` a root, as a walk finds it."""
    return DiscoveredFile(f"d/{below}", None, root, below)
