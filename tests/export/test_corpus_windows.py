"""An export reads the training corpus as the training did."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from checkpoints import AUTHORS, write_corpus

pytest.importorskip("authorid.export")
from authorid.errors import CorpusError, RunError
from authorid.export.corpus_windows import training_corpus
from authorid.export.sources import CorpusRecord
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, load_corpus


def source(root, digest, reading=None, typography="kept"):
    """What `training_corpus` asks of a training run."""
    corpus = CorpusRecord("corpus", root, digest, (), (), reading or {})
    return SimpleNamespace(corpus=corpus, typography=typography)


def test_the_corpus_is_read_with_the_recorded_options(tmp_path):
    root = write_corpus(tmp_path / "corpus", documents=3)
    (root / "unknown").mkdir()
    (root / "unknown" / "1.txt").write_text("The loom of nobody.")
    (root / "Ada" / ".hidden.txt").write_text("The hidden loom.")
    own = load_corpus(CorpusSpec(root, ReadOptions(hidden=True), exclude_authors=("unknown",)))
    found = training_corpus(source(root, own.digest, own.reading), None, required=True)
    assert found.documents == own.documents
    assert own.authors == AUTHORS
    with pytest.raises(CorpusError, match="not the corpus of this training run"):
        training_corpus(source(root, own.digest), None, required=True)
    with pytest.raises(RunError, match="cannot be read with 'hidden'"):
        training_corpus(source(root, own.digest, {"hidden": "yes"}), None, required=True)


def test_the_corpus_is_folded_as_in_the_training(tmp_path):
    root = write_corpus(tmp_path / "corpus", documents=3)
    (root / "Ada" / "quoted.txt").write_text("The \u201cloom\u201d of nobody.", "utf-8")
    digest = load_corpus(root).digest
    for typography, text in (("kept", "The \u201cloom\u201d of nobody."), ("folded", 'The "loom" of nobody.')):
        found = training_corpus(source(root, digest, typography=typography), None, required=True)
        assert text in [document.text for document in found.documents]
