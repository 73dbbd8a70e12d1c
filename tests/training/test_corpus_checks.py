"""Warnings about what would make a model learn something other than who writes how."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
from authorid.training.corpus_checks import check_similarities, check_texts
from authorid.training.ngram_options import NgramOptions
from authorid.training.samples import LabelledTexts
from authorid.training.split_fit import SplitFit

COMMON = ["the", "of", "and", "a", "to", "in", "is", "was", "that", "it", "for", "on", "as", "with", "by", "at"]
AUTHORS = ("Ada", "Ben", "Cyd", "Dan")


def prose(author: int, number: int, words: int = 200) -> str:
    rng = np.random.default_rng(1000 * author + number)
    return " ".join(
        str(rng.choice(COMMON if rng.random() < 0.8 else [f"thing{i}" for i in range(40)])) for _ in range(words)
    )


def corpus(change=lambda author, number, text: text, documents: int = 12) -> LabelledTexts:
    pairs = [(author, number) for author in range(4) for number in range(documents)]
    texts = [change(*pair, prose(*pair)) for pair in pairs]
    return LabelledTexts(texts, np.array([author for author, _ in pairs]), [f"{AUTHORS[a]}/{n}.txt" for a, n in pairs])


def similar(texts: LabelledTexts) -> list[str]:
    products = SplitFit.on(texts, texts[np.arange(0)], NgramOptions(bits=14)).products.matrix
    return check_similarities(products, texts, AUTHORS)


def test_an_even_corpus_gives_no_warning():
    texts = corpus()
    assert check_texts(texts, AUTHORS) == []
    assert similar(texts) == []


def test_few_documents_are_named():
    (warning,) = check_texts(corpus(documents=9), AUTHORS)
    assert warning.startswith("fewer than 10 documents by Ada, Ben, Cyd and 1 more")


def test_short_and_unequally_long_documents_are_named_with_what_to_do():
    short, unequal = check_texts(corpus(lambda a, _, text: text[:90] if a == 2 else text * 5), AUTHORS)
    assert short.startswith("documents by Cyd are short") and "join" in short
    assert "much longer than those by Cyd" in unequal and "90 characters" in unequal


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda text: text.replace(" ", "\n"), "line breaks"),
        (str.upper, "capital letters"),
        (lambda text: text.replace("thing", "12345678"), "digits"),
        (lambda text: text.replace("a", "\u00e4"), "characters other than ASCII"),
        (lambda text: f"<p>{text.replace('the', '<b>the</b>')}</p>", "markup"),
    ],
)
def test_an_author_with_another_format_is_named(change, name):
    texts = corpus(lambda a, _, text: change(text) if a == 1 else text)
    assert [
        warning
        for warning in check_texts(texts, AUTHORS)
        if f"by Ben differ from all others in how many {name}" in warning
    ]
    # Some of everybody's documents are no reason for a warning.
    texts = corpus(lambda _, number, text: change(text) if number % 3 == 0 else text)
    assert not [warning for warning in check_texts(texts, AUTHORS) if "differ" in warning]


def test_boilerplate_of_one_author_is_shown():
    signature = "\n-- \nSent from my telephone, with greetings \x1b[31m"
    (warning,) = check_texts(corpus(lambda a, n, text: text + signature if a == 3 and n % 3 else text), AUTHORS)
    assert warning.startswith("8 of 12 documents by Dan have the line 'Sent from my telephone, with greetings")
    assert "\x1b" not in warning
    # What everybody has is nobody's.
    assert check_texts(corpus(lambda a, n, text: text + signature), AUTHORS) == []


def test_texts_of_two_authors_that_are_nearly_the_same_are_named():
    texts = corpus(lambda a, n, text: prose(0, 5) + " again" if (a, n) == (2, 7) else text)
    (warning,) = similar(texts)
    assert warning.startswith("2 documents nearly repeat one by another author")
    assert "Ada/5.txt" in warning and "Cyd/7.txt" in warning


def test_an_author_on_another_subject_or_in_another_language_is_named():
    def translate(author: int, number: int, text: str) -> str:
        return text.translate(str.maketrans("aehilnorstu", "zqxjkvwbfgp")) if author == 1 else text

    (warning,) = similar(corpus(translate))
    assert warning.startswith("documents by Ben have little in common with all others")


def test_warnings_reach_the_person_who_trains(tmp_path, capsys):
    from recording import RecordingReporter

    from authorid.training.ngram_run import train_ngrams

    texts = corpus(lambda a, _, text: str.upper(text) if a == 0 else text)
    for path, text in zip(texts.paths, texts.texts, strict=True):
        target = tmp_path / "corpus" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    reporter = RecordingReporter()
    train_ngrams(tmp_path / "corpus", tmp_path / "run", NgramOptions(bits=14), reporter=reporter)
    assert any("capital letters" in message for message in reporter.warnings)
