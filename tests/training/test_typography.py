"""A model is trained and used with the same typography, and says in its bundle which one that is."""

from __future__ import annotations

import json

import pytest
from fusion_bundle import write_corpus
from json_records import edit_record
from tiny import AUTHORS, make_bundle, prose

from authorid.bundle.manifest import MANIFEST, load_bundle
from authorid.errors import BundleCorruptError, OutputError
from authorid.scoring.scorer import Scorer

pytest.importorskip("scipy")
from authorid.training.corpus import load_corpus
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import export_ngrams, train_ngrams
from authorid.training.recipes import TrainingOptions

TYPESET = str.maketrans({" ": "\u00a0", ".": "…", ",": "\u200b,"})


def typeset(corpus):
    """Half of the documents of the corpus as a publisher would have them."""
    for path in sorted(corpus.rglob("*.txt"))[::2]:
        path.write_text("\ufeff\n\ufeff" + path.read_text().translate(TYPESET), "utf-8")
    return corpus


def plain(corpus):
    """The same corpus as a keyboard would have it."""
    for path in sorted(corpus.rglob("*.txt"))[::2]:
        path.write_text("\n" + path.read_text().replace(".", "..."))
    return corpus


def train(corpus, out, typography="folded"):
    return train_ngrams(corpus, out, NgramOptions(bits=14, typography=typography))


def rows(model, texts):
    return [(row.status, row.ranking, row.known_author_score) for row in Scorer(model).score_texts(texts)]


DOCUMENTS = [prose(AUTHORS[i % 3], 40 + i, seed=i) for i in range(12)]


def test_typography_changes_neither_the_model_nor_its_answers(tmp_path):
    one = train(typeset(write_corpus(tmp_path / "typeset")), tmp_path / "one")
    other = train(plain(write_corpus(tmp_path / "plain")), tmp_path / "other")
    assert one.files[one.ngrams] == other.files[other.ngrams]
    expected = rows(other, [text.replace(".", "...") for text in DOCUMENTS])
    assert rows(one, [text.translate(TYPESET) for text in DOCUMENTS]) == expected
    assert [row[1][0][0] for row in expected] == [AUTHORS[i % 3] for i in range(12)]


def test_the_bundle_records_the_typography_and_its_absence_means_kept(tmp_path):
    corpus = typeset(write_corpus(tmp_path / "corpus"))
    folded, kept = train(corpus, tmp_path / "folded"), train(corpus, tmp_path / "kept", "kept")
    assert (folded.typography, kept.typography) == ("folded", "kept")
    assert folded.files[folded.ngrams] != kept.files[kept.ngrams]
    assert "typography" not in json.loads((kept.path / MANIFEST).read_text())
    assert export_ngrams(folded.path, tmp_path / "exported").typography == "folded"
    typeset_texts = [text.translate(TYPESET) for text in DOCUMENTS]
    assert rows(kept, typeset_texts) != rows(kept, DOCUMENTS)


def test_an_unknown_typography_is_refused(tmp_path):
    folded = train(write_corpus(tmp_path / "corpus"), tmp_path / "run")
    manifest = folded.path / MANIFEST
    edit_record(manifest, lambda record: record.update(typography="engraved"))
    with pytest.raises(BundleCorruptError, match="unknown typography 'engraved'"):
        load_bundle(folded.path)


def test_models_with_different_typography_are_not_joined(tmp_path):
    run = train(write_corpus(tmp_path / "corpus"), tmp_path / "run")
    encoder = make_bundle(tmp_path / "encoder")
    with pytest.raises(OutputError, match=r"typography folded, but .* with typography kept"):
        export_ngrams(run.path, tmp_path / "both", encoder=encoder.path)
    assert not (tmp_path / "both").exists()


def test_a_text_of_nothing_but_invisible_characters_has_no_text(tmp_path):
    model = train(write_corpus(tmp_path / "corpus"), tmp_path / "run")
    path = tmp_path / "invisible.txt"
    path.write_text("\u200b\u00ad\u2060 \n", "utf-8")
    (in_memory,) = Scorer(model).score_texts(["\u200b\u00ad"])
    (on_disk,) = Scorer(model).score([path])
    assert (in_memory.status, on_disk.status) == ("failed", "failed")


def test_a_corpus_is_read_as_the_model_needs_it(tmp_path):
    corpus = typeset(write_corpus(tmp_path / "corpus"))
    assert all(document.text.isascii() for document in load_corpus(corpus, typography="folded").documents)
    assert not all(document.text.isascii() for document in load_corpus(corpus).documents)


def test_runs_of_older_versions_and_of_the_classic_recipe_keep_the_typography():
    record = TrainingOptions(base_model="m").to_json()
    assert record.pop("typography") == "folded"
    assert TrainingOptions.from_json(record).typography == "kept"
    assert TrainingOptions(base_model="m", recipe="classic").typography == "kept"
