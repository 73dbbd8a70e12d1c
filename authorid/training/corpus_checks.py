"""What in a corpus will make a model learn something other than who writes how, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from authorid.training.samples import LONG, LabelledTexts

__all__ = ["check_similarities", "check_texts"]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEW_DOCUMENTS = 10
"""With fewer documents, an author's answers are often wrong."""

SHORT = 500
"""Characters. Texts that are shorter carry little evidence."""

UNEQUAL_LENGTHS = 8.0
"""Documents are unequally long when the medians of two authors have this ratio."""

APART = 0.7
"""An author is apart from the others when the mean similarity to their documents is below this share of the median."""

NEARLY_THE_SAME = 0.6
"""Cosine similarity of documents of which one nearly repeats the other."""

REPEATED, LEAST_LINE, ELSEWHERE = 0.5, 20, 0.1
"""A line is boilerplate when at least this share of an author's documents have it, it has so many characters, and at
most this share of all other documents have it."""

_FORMATS: dict[str, tuple[Callable[[str], float], float]] = {
    "line breaks": (lambda text: text.count("\n"), 0.005),
    "capital letters": (lambda text: sum(map(str.isupper, text)), 0.1),
    "digits": (lambda text: sum(map(str.isdigit, text)), 0.05),
    "characters other than ASCII": (lambda text: len(text) - len(text.encode("ascii", "ignore")), 0.02),
    "markup": (lambda text: text.count("<") + text.count(">"), 0.005),
}
"""What is counted in a text, and the least difference of two shares that matters."""

_EXAMINED = 20_000
"""Characters of a text whose format is examined."""


def check_texts(documents: LabelledTexts, authors: Sequence[str]) -> list[str]:
    """Return warnings about the numbers, lengths, formats and repeated lines of `documents` by `authors`."""
    own = [np.flatnonzero(documents.labels == label) for label in range(len(authors))]
    return [
        *_few_documents(own, authors),
        *_lengths(documents, own, authors),
        *_formats(documents, own, authors),
        *_boilerplate(documents, own, authors),
    ]


def _few_documents(own: list[Labels], authors: Sequence[str]) -> Iterator[str]:
    few = [author for author, documents in zip(authors, own, strict=True) if len(documents) < FEW_DOCUMENTS]
    if few:
        yield (
            f"fewer than {FEW_DOCUMENTS} documents by {_named(few)}: expect many wrong answers; "
            "add more of their texts if there are any"
        )


def _lengths(documents: LabelledTexts, own: list[Labels], authors: Sequence[str]) -> Iterator[str]:
    lengths = np.array([len(text) for text in documents.texts])
    medians = np.array([np.median(lengths[chosen]) for chosen in own])
    short = [author for author, median in zip(authors, medians, strict=True) if median < SHORT]
    if short:
        yield (
            f"documents by {_named(short)} are short (half of them under {SHORT} characters): expect unsure answers; "
            "join texts that belong together"
        )
    # Longer texts are cut before they are learned from.
    trained = np.clip(medians, 1, LONG)
    least, most = int(trained.argmin()), int(trained.argmax())
    if trained[most] >= UNEQUAL_LENGTHS * trained[least]:
        yield (
            f"documents by {authors[most]} are much longer than those by {authors[least]} "
            f"({medians[most]:,.0f} and {medians[least]:,.0f} characters): the model may take length for style; "
            f"join the short ones"
        )


def _formats(documents: LabelledTexts, own: list[Labels], authors: Sequence[str]) -> Iterator[str]:
    """Warn of authors nearly all of whose documents differ in format from nearly all others."""
    texts = [text[:_EXAMINED] for text in documents.texts]
    for name, (count, least) in _FORMATS.items():
        shares = np.array([count(text) / max(len(text), 1) for text in texts])
        apart = []
        for author, chosen in zip(authors, own, strict=True):
            if len(chosen) < 3:
                continue
            others = np.delete(shares, chosen)
            low, high = np.quantile(shares[chosen], (0.1, 0.9))
            others_low, others_high = np.quantile(others, (0.05, 0.95))
            if low > others_high + least or high < others_low - least:
                apart.append(author)
        if apart:
            yield (
                f"documents by {_named(apart)} differ from all others in how many {name} they have: bring all "
                "documents into one format, or the model learns the format"
            )


def _boilerplate(documents: LabelledTexts, own: list[Labels], authors: Sequence[str]) -> Iterator[str]:
    """Warn of lines that most documents of one author have, and hardly any others."""
    lines = [_lines(text) for text in documents.texts]
    everywhere = Counter(line for some in lines for line in some)
    found: list[tuple[str, str, int, int]] = []
    for author, chosen in zip(authors, own, strict=True):
        inside = Counter(line for index in chosen for line in lines[index])
        most, number = next(iter(inside.most_common(1)), ("", 0))
        others = len(documents) - len(chosen)
        if number >= max(3, REPEATED * len(chosen)) and everywhere[most] - number <= ELSEWHERE * others:
            found.append((author, most, number, len(chosen)))
    if found:
        author, line, number, total = found[0]
        more = f" (and so for {_named([name for name, *_ in found[1:]])})" if len(found) > 1 else ""
        shown = line if len(line) <= 50 else f"{line[:47]}..."
        yield (
            f"{number} of {total} documents by {author} have the line {shown!r}{more}: remove headers, signatures and "
            "notices, or the model learns them"
        )


def _lines(text: str) -> set[str]:
    return {line for line in map(str.strip, text.split("\n")) if len(line) >= LEAST_LINE}


def check_similarities(products: Floats, texts: LabelledTexts, authors: Sequence[str]) -> list[str]:
    """Return warnings about authors apart from the others, and texts that nearly repeat one by another author.

    `products` [texts, texts] are inner products of `texts`.
    """
    lengths = np.sqrt(np.maximum(products.diagonal(), 1e-12))
    numbers = np.bincount(texts.labels, minlength=len(authors))
    writes = np.zeros((len(texts), len(authors)))
    writes[np.arange(len(texts)), texts.labels] = 1 / numbers[texts.labels]
    between = np.zeros((len(authors), len(authors)))
    nearest, similarity = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts))
    for label in np.flatnonzero(numbers):  # a matrix of all cosines would take as much memory again
        rows = np.flatnonzero(texts.labels == label)
        cosines = products[rows] / lengths[rows, None] / lengths
        between[label] = (cosines @ writes).mean(axis=0)
        cosines[:, rows] = -1.0
        nearest[rows], similarity[rows] = cosines.argmax(axis=1), cosines.max(axis=1)
    return [*_near_duplicates(nearest, similarity, texts), *_apart(between, authors)]


def _near_duplicates(nearest: Labels, similarity: Floats, texts: LabelledTexts) -> Iterator[str]:
    copies = np.flatnonzero(similarity > NEARLY_THE_SAME)
    if len(copies):
        first = copies[similarity[copies].argmax()]
        yield (
            f"{len(copies)} documents nearly repeat one by another author ({texts.paths[first]} and "
            f"{texts.paths[nearest[first]]}): find out whose text it is, and remove the other"
        )


def _apart(between: Floats, authors: Sequence[str]) -> Iterator[str]:
    if len(authors) < 3:
        return
    means = [np.delete(similarities, label).mean() for label, similarities in enumerate(between)]
    apart = [author for author, mean in zip(authors, means, strict=True) if mean < APART * float(np.median(means))]
    if apart:
        yield (
            f"documents by {_named(apart)} have little in common with all others: is it the subject, the language or "
            "the kind of text? The model will know them by that; compare authors on like texts"
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
