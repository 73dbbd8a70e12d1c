"""What authorid's accuracy is compared with: n-grams in a linear support vector machine, and two kinds of Delta."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from authorid.errors import AuthoridError

__all__ = ["BASELINES", "Baseline", "burrows_delta", "check_sklearn", "cosine_delta", "linear_svc"]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Baseline = Callable[[Sequence[str], Labels, Sequence[str]], Labels]
"""Returns the author of each text of its third argument, from training texts and their authors.

Authors are numbers from 0, each of which has a training text.
"""


def check_sklearn() -> None:
    """Raise `AuthoridError`, with the line that installs it, if there is no scikit-learn; import nothing."""
    if find_spec("sklearn") is None:
        # It is no dependency of authorid, so that there is no extra to name (`authorid.errors.require`).
        raise AuthoridError("LinearSVC needs scikit-learn, which is not installed: pip install scikit-learn")


def linear_svc(texts: Sequence[str], labels: Labels, tested: Sequence[str]) -> Labels:
    """The answers of scikit-learn's LinearSVC on tf-idf of 2 to 5 characters and of 1 to 3 words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    shared = {"sublinear_tf": True, "min_df": 2, "lowercase": False}
    model = make_pipeline(
        make_union(
            TfidfVectorizer(analyzer="char", ngram_range=(2, 5), **shared),
            TfidfVectorizer(analyzer="word", ngram_range=(1, 3), **shared),
        ),
        LinearSVC(random_state=0),
    )
    try:
        model.fit(texts, labels)
    except ValueError as error:  # for example, no two texts share a word
        raise AuthoridError(f"LinearSVC cannot learn from this corpus: {error}") from None
    return np.asarray(model.predict(tested), dtype=np.int64)


def burrows_delta(texts: Sequence[str], labels: Labels, tested: Sequence[str], commonest: int = 500) -> Labels:
    """The answers of Burrows's Delta: the author with the smallest mean absolute difference of z-scores."""
    centroids, rows = _z_scores(texts, labels, tested, commonest)
    distances = [np.abs(rows - centroid).mean(axis=1) for centroid in centroids]
    return np.asarray(np.argmin(distances, axis=0), dtype=np.int64)


def cosine_delta(texts: Sequence[str], labels: Labels, tested: Sequence[str], commonest: int = 1_000) -> Labels:
    """The answers of Cosine Delta: the author with the smallest angle between vectors of z-scores."""
    centroids, rows = _z_scores(texts, labels, tested, commonest)
    # The length of a tested text's own vector changes no order of authors.
    lengths = np.linalg.norm(centroids, axis=1)
    cosines = rows @ centroids.T / np.where(lengths > 0, lengths, 1.0)
    return np.asarray(cosines.argmax(axis=1), dtype=np.int64)


BASELINES: Mapping[str, Baseline] = {
    "LinearSVC": linear_svc,
    "Burrows's Delta": burrows_delta,
    "Cosine Delta": cosine_delta,
}
"""The baselines by the names that tables and plots show."""


def _z_scores(texts: Sequence[str], labels: Labels, tested: Sequence[str], commonest: int) -> tuple[Floats, Floats]:
    """The mean z-scores [authors, words] of each author's training texts, and those [texts, words] of `tested`.

    The words are the `commonest` of the training texts, whose mean and standard deviation make the z-scores. A word
    that is as frequent in every training text has the z-score 0 there.
    """
    counts = [Counter(_words(text)) for text in texts]
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    # Words of equal number in alphabetical order: the same choice on every machine.
    chosen = sorted(total, key=lambda word: (-total[word], word))[:commonest]
    training = _frequencies(counts, chosen)
    mean, deviation = training.mean(axis=0), training.std(axis=0)
    deviation[deviation == 0] = 1.0
    known = (training - mean) / deviation
    centroids = np.stack([known[labels == author].mean(axis=0) for author in range(int(labels.max()) + 1)])
    return centroids, (_frequencies([Counter(_words(text)) for text in tested], chosen) - mean) / deviation


def _words(text: str) -> list[str]:
    """The words of `text` in lower case: runs of letters."""
    return re.findall(r"[^\W\d_]+", text.lower())


def _frequencies(counts: Sequence[Counter[str]], words: Sequence[str]) -> Floats:
    """What share of each text's words each of `words` is: [texts, words]."""
    rows = np.array([[count[word] for word in words] for count in counts], dtype=np.float64)
    totals = np.array([max(1, count.total()) for count in counts], dtype=np.float64)
    return rows.reshape(len(counts), len(words)) / totals[:, None]
