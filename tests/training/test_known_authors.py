"""The cache of models of known authors: bounded, checked, and shared."""

from __future__ import annotations

import os

import pytest
from checkpoints import write_corpus

pytest.importorskip("scipy")
from authorid.errors import CorpusError
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, known_authors
from authorid.training.known_authors import model_of_known_authors
from authorid.training.ngram_options import NgramOptions

OPTIONS = NgramOptions(bits=12)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "known-authors"


@pytest.fixture
def fits(monkeypatch):
    """The corpora that models were fitted on."""
    fitted = []
    fit = known_authors.fit_run

    def counted(workspace, corpus, *arguments, **others):
        fitted.append(corpus.root.name)
        return fit(workspace, corpus, *arguments, **others)

    monkeypatch.setattr(known_authors, "fit_run", counted)
    return fitted


def provide(root, **values):
    with model_of_known_authors(CorpusSpec(root, **values), OPTIONS) as known:
        assert (known.model / "authorid.json").is_file()
        return known


def test_a_damaged_model_is_fitted_again(cache, fits, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", 3)
    model = provide(corpus).model
    content = (model / "authorid.json").read_bytes()
    for damage in (b"", content[:-20], b"{}"):
        (model / "authorid.json").write_bytes(damage)
        assert provide(corpus).model == model
        assert (model / "authorid.json").read_bytes() == content
    assert len(fits) == 4


def test_the_models_that_were_used_last_are_kept(cache, fits, tmp_path, monkeypatch):
    monkeypatch.setattr(known_authors, "KEPT", 2)
    corpora = [write_corpus(tmp_path / f"corpus{number}", 3, seed=number) for number in range(3)]
    first, second = provide(corpora[0]).model, provide(corpora[1]).model
    os.utime(second, (1, 1))
    (cache / ".x.authorid").mkdir()
    (cache / "y.discarded").mkdir()
    third = provide(corpora[2]).model
    assert set(cache.iterdir()) == {first, third}
    provide(corpora[0])
    assert fits == ["corpus0", "corpus1", "corpus2"]


def test_how_the_corpus_is_read_decides_too(cache, fits, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", 3)
    (corpus / "Ada" / "old.txt").write_bytes("caf\u00e9 and the engine".encode("cp1252") * 3)
    keys = {
        provide(corpus).model,
        provide(corpus, documents=ReadOptions(encoding="cp1250")).model,
        provide(corpus, exclude_authors=("Cyd",)).model,
    }
    assert len(keys) == len(fits) == 3


def test_the_same_corpus_elsewhere_has_the_same_model(cache, fits, tmp_path):
    one, other = (write_corpus(tmp_path / name, 3) for name in ("one", "other"))
    assert provide(one) == provide(other)
    assert fits == ["one"]


def test_an_error_in_the_corpus_is_no_error_of_the_cache(cache, tmp_path):
    with pytest.raises(CorpusError, match="not a directory"):
        provide(tmp_path / "nothing")
    assert not cache.exists()
