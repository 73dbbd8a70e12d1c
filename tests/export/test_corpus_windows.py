"""An export reads the training corpus as the training did."""

from __future__ import annotations

import pytest
from checkpoints import AUTHORS, write_corpus

pytest.importorskip("authorid.export")
from authorid.errors import CorpusError, RunError
from authorid.export.corpus_windows import training_corpus
from authorid.export.sources import CorpusRecord
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, load_corpus


def test_the_corpus_is_read_with_the_recorded_options(tmp_path):
    root = write_corpus(tmp_path / "corpus", documents=3)
    (root / "unknown").mkdir()
    (root / "unknown" / "1.txt").write_text("The loom of nobody.")
    (root / "Ada" / ".hidden.txt").write_text("The hidden loom.")
    own = load_corpus(CorpusSpec(root, ReadOptions(hidden=True), exclude_authors=("unknown",)))
    record = CorpusRecord("corpus", root, own.digest, (), (), own.reading)
    assert training_corpus(record, None, required=True).documents == own.documents
    assert own.authors == AUTHORS
    with pytest.raises(CorpusError, match="not the corpus of this training run"):
        training_corpus(CorpusRecord("corpus", root, own.digest, (), ()), None, required=True)
    with pytest.raises(RunError, match="cannot be read with 'hidden'"):
        training_corpus(CorpusRecord("corpus", root, own.digest, (), (), {"hidden": "yes"}), None, required=True)
