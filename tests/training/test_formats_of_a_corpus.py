"""The format of a document does not decide who wrote it, in scoring and in training."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from format_writers import WRITERS, docx, pdf, suffix, tei

pytest.importorskip("scipy")
pytest.importorskip("lxml")
pytest.importorskip("pypdfium2")
from authorid.errors import CorpusError
from authorid.scoring.scorer import Scorer
from authorid.training.corpus import load_corpus, load_known_corpus
from authorid.training.evaluate import evaluate
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import train_ngrams

AUTHORS = ("Ada", "Ben", "Cyd", "Dan")
COMMON = ["the", "of", "and", "a", "to", "in", "is", "was", "that", "it", "for", "on", "as", "with", "by", "at"]
COMMON += ["he", "she", "they", "but", "not", "from", "had", "her", "his"]
FORMATS = ("text", "docx", "pdf", "tei")


def novel(author: int, number: int, paragraphs: int = 30) -> Sequence[str]:
    """Paragraphs of sentences; authors differ in the words that they like, in punctuation and in dialogue."""
    taste = np.random.default_rng(author).dirichlet(np.full(len(COMMON), 3.0))
    rng = np.random.default_rng([author, number])

    def sentence() -> str:
        words = [str(word) for word in rng.choice(COMMON, int(rng.integers(6, 24)), p=taste)]
        words[:: 5 + author] = [f"thing{'abcdefghij'[i]}" for i in rng.integers(0, 10, len(words[:: 5 + author]))]
        middle = len(words) // 2
        words[middle] += ";" if rng.random() < 0.1 * author else ","
        text = " ".join(words).capitalize() + "."
        return f'"{text}"' if rng.random() < 0.1 * (4 - author) else text

    return [" ".join(sentence() for _ in range(int(rng.integers(2, 9)))) for _ in range(paragraphs)]


def write(path, reader, paragraphs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(suffix(reader)).write_bytes(WRITERS[reader](paragraphs))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Learned from sixteen of twenty novels, as plain text."""
    root = tmp_path_factory.mktemp("novels")
    for author, name in enumerate(AUTHORS):
        for number in range(4):
            write(root / "corpus" / name / f"{number}", "text", novel(author, number))
    return train_ngrams(root / "corpus", root / "run", NgramOptions(bits=16))


def test_a_novel_has_the_same_answer_in_every_format(model, tmp_path):
    for author, name in enumerate(AUTHORS):
        for reader in FORMATS:
            write(tmp_path / reader / name, reader, novel(author, 4, 60))
    scorer = Scorer(model)
    rows = {reader: list(scorer.score([tmp_path / reader])) for reader in FORMATS}
    assert [row.author for row in rows["text"]] == list(AUTHORS)
    for reader in FORMATS[1:]:
        for plain, other in zip(rows["text"], rows[reader], strict=True):
            assert other.reader == reader
            assert other.author == plain.author
            assert dict(other.ranking) == pytest.approx(dict(plain.ranking), abs=0.02)


def test_training_warns_of_formats_that_differ_between_authors(tmp_path):
    for author, name in enumerate(AUTHORS):
        for number in range(2):
            write(tmp_path / name / str(number), "tei" if author == 2 else "text", novel(author, number, 4))
    (warning,) = load_corpus(tmp_path).warnings
    assert "of the documents by Cyd, 100% are tei, and of those by Ada 0%" in warning
    assert load_known_corpus(tmp_path, AUTHORS).warnings == ()
    for author, name in enumerate(AUTHORS):
        write(tmp_path / name / "2", "tei", novel(author, 2, 4))
        write(tmp_path / name / "3", "text", novel(author, 3, 4))
    (warning,) = load_corpus(tmp_path).warnings
    assert "by Cyd, 75% are tei, and of those by Ada 25%" in warning
    (tmp_path / "Cyd" / "0.xml").unlink()
    (tmp_path / "Cyd" / "1.xml").unlink()
    assert load_corpus(tmp_path).warnings == ()


def test_training_names_what_was_cut_from_books_of_project_gutenberg(tmp_path):
    start, end = "*** START OF THE PROJECT GUTENBERG EBOOK X ***", "*** END OF THE PROJECT GUTENBERG EBOOK X ***"
    for author, name in enumerate(AUTHORS[:2]):
        write(tmp_path / name / "1", "text", ["The Project Gutenberg eBook of X", start, *novel(author, 1, 3), end])
    corpus = load_corpus(tmp_path)
    assert corpus.warnings == (f"{tmp_path}: Project Gutenberg's header and licence are left out of 2 documents",)
    assert not any("GUTENBERG" in document.text for document in corpus.documents)


@pytest.mark.parametrize("form", [docx, pdf, tei])
def test_training_and_evaluation_name_what_to_install(model, tmp_path, monkeypatch, form):
    for author, name in enumerate(AUTHORS):
        write(tmp_path / name / "1", "text", novel(author, 1, 4))
    (tmp_path / "Ada" / "2.txt").write_bytes(form(novel(0, 2, 4)))
    monkeypatch.setitem(sys.modules, "lxml.etree", None)
    monkeypatch.setattr("authorid.errors.find_spec", lambda name: None)
    (trained,) = load_corpus(tmp_path).warnings
    messages = []

    class Reporter:
        def info(self, message): ...
        def progress(self, *_, **__): ...
        def warning(self, message):
            messages.append(message)

    evaluate(model.path, tmp_path, reporter=Reporter())
    for message in (trained, *messages):
        assert "Ada/2.txt: left out" in message
        assert "pip install 'authorid-toolkit[formats]'" in message
    assert messages
    (tmp_path / "Ada" / "1.txt").unlink()
    with pytest.raises(CorpusError, match=r"Ada: this author has no readable document .*\[formats\]"):
        load_corpus(tmp_path)


def test_rows_of_tables_are_documents_of_a_corpus(tmp_path):
    for author, name in enumerate(AUTHORS):
        (tmp_path / name).mkdir()
        rows = [f'{name};"{paragraph.replace(chr(34), "")}"\n' for paragraph in novel(author, 1, 5)]
        (tmp_path / name / "letters.csv").write_text("id;body\n" + "".join(rows))
    from authorid.inputs.documents import ReadOptions
    from authorid.training.corpus_spec import CorpusSpec

    spec = CorpusSpec(tmp_path, ReadOptions(text_column="body", id_column="id"))
    corpus = load_corpus(spec)
    assert len(corpus.documents) == 20
    assert corpus.documents[4].path == "Ada/letters.csv#5"
    assert len({document.path for document in corpus.documents}) == 20
    again = CorpusSpec.from_json(tmp_path, spec.to_json())
    assert load_corpus(again).digest == corpus.digest
