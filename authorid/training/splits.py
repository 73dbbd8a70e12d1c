"""Which documents train and which are held out."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from authorid.errors import CorpusError
from authorid.inputs.decoding import tidy
from authorid.training.corpus import Corpus
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.ngram_fit import NgramOptions, count, inverse_frequencies, tfidf
from authorid.training.recipes import TrainingOptions
from authorid.training.shift import numbered, shifted_split

__all__ = ["split"]


def split(corpus: Corpus, options: TrainingOptions) -> tuple[list[int], list[int]]:
    """Split as the recipe does: ``(training, validation)`` document indices, both ascending; no overlap."""
    if options.recipe == "seed" and options.validation_split:
        return _split_as_keras(corpus, options.validation_split, options.seed)
    how = options.validation_how
    if how == "shifted":
        paths = [document.path for document in corpus.documents]
        if not numbered(paths):
            return _split_by_subject(corpus, paths, options.validation_split)
        how = "last"
    return corpus.split(options.validation_split, options.seed, how)


def _split_by_subject(corpus: Corpus, paths: list[str], share: float) -> tuple[list[int], list[int]]:
    """Hold out the documents at one end of each author's main change of subject."""
    labels = np.array([document.label for document in corpus.documents], dtype=np.int64)
    counts = count([tidy(document.text) for document in corpus.documents], labels, NgramOptions())
    matrix = tfidf(counts, inverse_frequencies(counts, np.arange(len(labels))))

    def near(documents: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        rows = matrix[documents]
        return np.asarray((rows @ rows.T).toarray())

    training, held, _ = shifted_split(paths, labels, near, share)
    return training.tolist(), held.tolist()


def _split_as_keras(corpus: Corpus, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split as ``keras.utils.text_dataset_from_directory(seed=..., validation_split=..., subset=...)`` does.

    Keras' text datasets do not say which files they hold, so files are recognised by author and digest.
    """
    keras = import_keras()
    known: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, document in enumerate(corpus.documents):
        known[corpus.authors[document.label], document.sha256].append(index)
    subsets: list[list[int]] = []
    for subset in ("training", "validation"):
        try:
            dataset = keras.utils.text_dataset_from_directory(
                str(corpus.root),
                batch_size=None,
                seed=seed,
                validation_split=fraction,
                subset=subset,
                verbose=False,
            )
        except ValueError as error:
            raise CorpusError(f"{corpus.root}: Keras cannot read it as a text dataset ({error})") from None
        names = dataset.class_names
        found = [
            known[names[int(label)], hashlib.sha256(text).hexdigest()] for text, label in dataset.as_numpy_iterator()
        ]
        # Files that `load_corpus` left out have no index.
        subsets.append(sorted(indices.pop() for indices in found if indices))
    training, validation = subsets
    missed = len(corpus.documents) - len(training) - len(validation)
    if missed:
        raise CorpusError(f"{corpus.root}: {missed} documents are not *.txt files, which is all the seed recipe reads")
    return training, validation
