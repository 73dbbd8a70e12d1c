"""Which documents train a model and which are held out to measure it.

A random split overestimates accuracy on future documents: authors write about the same subjects in the same weeks, and
a model that has learned the subjects recognizes them again. A *shifted* split holds out documents unlike the others:
each author's last ones or, where file names carry no numbers, those at one end of the author's main change of subject.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import CorpusError
from authorid.training.corpus import Corpus
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.ngram_options import NgramOptions
from authorid.training.recipes import TrainingOptions
from authorid.training.samples import LabelledTexts, SampleLength, corpus_texts, cut
from authorid.training.term_counts import count, inverse_frequencies, tfidf

__all__ = [
    "author_blocks",
    "author_orders",
    "hold_out",
    "last_split",
    "numbered",
    "random_split",
    "shifted_split",
    "split",
]

Labels = npt.NDArray[np.int64]

InnerProducts = Callable[[Labels], npt.NDArray[np.float64]]
"""Returns the inner products [n, n] of the n documents with the given indices."""


def split(corpus: Corpus, options: TrainingOptions) -> tuple[list[int], list[int]]:
    """Split `corpus` as `options` say.

    Returns ``(training, validation)``: document indices, both ascending, without overlap. Raises `CorpusError` when
    the classic recipe cannot read the corpus.
    """
    share = options.validation_split
    if options.recipe == "classic" and share:
        return _split_as_keras(corpus, share, options.seed)
    if options.validation_how == "random":
        return random_split(corpus, share, options.seed)
    if options.validation_how == "shifted" and not numbered([document.path for document in corpus.documents]):
        return _split_by_subject(corpus, share)
    return last_split(corpus, share)


def random_split(corpus: Corpus, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Hold out a random `share` of each author's documents, drawn with `seed`: ``(training, held out)``.

    Every author with two documents or more gives at least one and keeps at least one; an author with a single document
    keeps it. Raises `ValueError` unless `share` is in [0, 1).
    """
    generator = np.random.default_rng(seed)
    return _hold_out(corpus, share, lambda documents: [int(index) for index in generator.permutation(documents)])


def last_split(corpus: Corpus, share: float) -> tuple[list[int], list[int]]:
    """Hold out the last `share` of each author's documents by file name: ``(training, held out)``.

    Numbers in names are compared as numbers. Otherwise as `random_split`.
    """

    def latest_first(documents: list[int]) -> list[int]:
        return sorted(documents, key=lambda index: _natural_key(corpus.documents[index].path))[::-1]

    return _hold_out(corpus, share, latest_first)


def _hold_out(corpus: Corpus, share: float, arrange: Callable[[list[int]], list[int]]) -> tuple[list[int], list[int]]:
    """Hold out the first documents of each author after `arrange` has put them in order."""
    if not 0.0 <= share < 1.0:
        raise ValueError(f"validation fraction must be in [0, 1), got {share}")
    held: set[int] = set()
    for label in range(len(corpus.authors)):
        own = [index for index, document in enumerate(corpus.documents) if document.label == label]
        if share and len(own) > 1:
            held.update(arrange(own)[: _held_count(len(own), share)])
    return [index for index in range(len(corpus.documents)) if index not in held], sorted(held)


def _held_count(documents: int, share: float) -> int:
    """Return how many of an author's `documents` (two or more) are held out: one at least, but never all."""
    return min(max(round(documents * share), 1), documents - 1)


def _natural_key(path: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts 9.txt before 10.txt."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path) if part]


def numbered(paths: Sequence[str]) -> bool:
    """Return whether most file names contain a number; numbers are taken for an order in time."""
    return sum(bool(re.search(r"\d", path.rsplit("/", 1)[-1])) for path in paths) > len(paths) / 2


def author_orders(paths: Sequence[str], labels: Labels, products: InnerProducts) -> list[Labels]:
    """Return each author's documents in order: by file name if names are `numbered`, else by main change of subject.

    `paths` and `labels` [documents] are the file names and authors.
    """
    by_name = numbered(paths)
    orders = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if by_name:
            own = np.array(sorted(own.tolist(), key=lambda index: _natural_key(paths[index])), dtype=np.int64)
        elif len(own) > 1:
            # The first principal component of an author's documents is mostly one of subject.
            gram = products(own)
            gram = gram - gram.mean(axis=0) - gram.mean(axis=1, keepdims=True) + gram.mean()
            own = own[np.argsort(np.linalg.eigh(gram)[1][:, -1], kind="stable")]
        orders.append(own)
    return orders


def shifted_split(
    paths: Sequence[str], labels: Labels, products: InnerProducts, share: float
) -> tuple[Labels, Labels, str]:
    """Hold out the last `share` of each author's documents in the order of `author_orders`.

    Returns ``(training, held out, how)``: indices, both ascending, and a description of the order. An author with one
    document keeps it.
    """
    held: list[int] = []
    for own in author_orders(paths, labels, products):
        if share and len(own) > 1:
            held += own[len(own) - _held_count(len(own), share) :].tolist()
    training = np.setdiff1d(np.arange(len(paths)), held)
    return training, np.array(sorted(held), dtype=np.int64), "last by file name" if numbered(paths) else "by subject"


def author_blocks(paths: Sequence[str], labels: Labels, products: InnerProducts, number: int) -> list[Labels]:
    """Cut each author's documents, in the order of `author_orders`, into `number` blocks of nearly equal size.

    Returns the documents of the first blocks of all authors, of the second blocks, and so on; indices are ascending.
    """
    blocks = np.zeros(len(paths), dtype=np.int64)
    for own in author_orders(paths, labels, products):
        blocks[own] = np.arange(len(own)) * number // len(own)
    return [np.flatnonzero(blocks == block) for block in range(number)]


def hold_out(
    documents: LabelledTexts, share: float, length: SampleLength, blocks: int = 1
) -> tuple[list[tuple[LabelledTexts, LabelledTexts]], str]:
    """Hold out the last `share` of each author's documents, and cut all documents into samples.

    Of an author with one long document, the last samples are held out. With several `blocks`, what is held out is
    divided into as many, in order, and each of them is held out by itself; of an author with at most so many documents,
    each is held out once. Returns pairs ``(training, held out)``, one for each block that has documents, and a
    description of the order (see `shifted_split`).
    """
    number = np.bincount(documents.labels)
    single = number[documents.labels] == 1
    units = documents[np.flatnonzero(~single)] + cut(documents[np.flatnonzero(single)], length)
    block = np.full(len(units), -1)
    for own in author_orders(units.paths, units.labels, subject_products(units)):
        works = number[units.labels[own[0]]]
        if 1 < works <= blocks:
            block[own] = np.arange(len(own))
        elif share and len(own) > 1:
            held = _held_count(len(own), share)
            # Samples of one document are held out together, because neighbours are alike.
            block[own[len(own) - held :]] = np.arange(held) * (blocks if works > 1 else 1) // held
    how = "last by file name" if numbered(documents.paths) else "by subject"

    def samples(chosen: npt.NDArray[np.bool_]) -> LabelledTexts:
        return cut(units[np.flatnonzero(chosen)], length)

    # A block of one document of an author is a later one.
    pairs = [(samples(block != each), samples(block == each)) for each in range(blocks) if (block == each).any()]
    return pairs, how


def subject_products(documents: LabelledTexts) -> InnerProducts:
    """Return a function that gives inner products of `documents`; n-grams are counted when they are first needed."""
    found: list[Any] = []

    def products(chosen: Labels) -> npt.NDArray[np.float64]:
        if not found:
            counts = count(documents.texts, documents.labels, NgramOptions())
            found.append(tfidf(counts, inverse_frequencies(counts, np.arange(len(documents)))))
        rows = found[0][chosen]
        return np.asarray((rows @ rows.T).toarray())

    return products


def _split_by_subject(corpus: Corpus, share: float) -> tuple[list[int], list[int]]:
    """Hold out the documents at one end of each author's main change of subject."""
    documents = corpus_texts(corpus)
    training, held, _ = shifted_split(documents.paths, documents.labels, subject_products(documents), share)
    return training.tolist(), held.tolist()


def _split_as_keras(corpus: Corpus, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split as ``keras.utils.text_dataset_from_directory(seed=..., validation_split=..., subset=...)`` does.

    Keras splits a copy of the directory in which each file contains the index of its document: text datasets do not
    name their files, and Keras would read files that the corpus leaves out. Those count in its split, so that they are
    in the copy too, with the index -1.
    """
    if corpus.flat:
        raise CorpusError(f"{corpus.root}: the classic recipe needs one subdirectory per author")
    keras = import_keras()
    subsets: list[list[int]] = []
    with TemporaryDirectory(prefix="authorid-") as directory:
        contents = {path: -1 for path in corpus.unused}
        contents |= {document.path: index for index, document in enumerate(corpus.documents)}
        for path, index in contents.items():
            copy = Path(directory, path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(str(index))
        for subset in ("training", "validation"):
            try:
                with redirect_stdout(StringIO()):  # it prints how many files it uses, also if it is not verbose
                    dataset = keras.utils.text_dataset_from_directory(
                        directory, batch_size=None, seed=seed, validation_split=share, subset=subset, verbose=False
                    )
            except ValueError as error:
                raise CorpusError(f"{corpus.root}: Keras cannot read it as a text dataset ({error})") from None
            found = [int(text) for text, _ in dataset.as_numpy_iterator()]
            subsets.append(sorted(index for index in found if index >= 0))
    training, validation = subsets
    missed = len(corpus.documents) - len(training) - len(validation)
    if missed:
        raise CorpusError(f"{corpus.root}: {missed} documents are not *.txt files; the classic recipe reads only those")
    return training, validation
