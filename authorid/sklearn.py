"""The n-gram model as an estimator of scikit-learn: works in pipelines, cross-validation and grid searches.

It needs the extra ``sklearn``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Typography
from authorid.errors import CorpusError, require
from authorid.inputs.decoding import tidy
from authorid.inputs.typography import fold_typography
from authorid.scoring.posterior import posterior
from authorid.training.corpus import Corpus
from authorid.training.corpus_warnings import CorpusDocument
from authorid.training.fusion import fit_fusion
from authorid.training.ngram_options import NgramOptions

__all__ = ["AuthorClassifier"]

_base: Any = require("sklearn.base", "sklearn")
_multiclass: Any = require("sklearn.utils.multiclass", "sklearn")
_validation: Any = require("sklearn.utils.validation", "sklearn")

_GROUP = 128
"""Texts that are scored together."""


class AuthorClassifier(_base.ClassifierMixin, _base.BaseEstimator):  # type: ignore[misc]
    """Attributes texts to authors with the n-gram model, and probabilities that are fitted on held-out texts.

    >>> from authorid.sklearn import AuthorClassifier
    >>> classifier = AuthorClassifier().fit(texts, authors)             # doctest: +SKIP
    >>> classifier.predict_proba(["Dear Sir, ..."])                     # doctest: +SKIP

    The texts of an author should be in the order of time: the last ones are held out to fit the probabilities. Then all
    texts are learned from.

    Args:
        ridge: Strength of the regularization.
        bits: N-grams have ``2 ** bits`` buckets; 8 to 24.
        min_documents: N-grams in fewer texts are left out, unless there are very few texts.
        typography: ``folded`` ignores the shape of quotation marks, dashes and spaces; ``kept`` does not.

    Attributes:
        classes_: The authors, sorted.
        model_: The `NgramModel`.
        decision_: The `Decision` rule, which makes probabilities of scores.

    """

    def __init__(
        self, *, ridge: float = 0.05, bits: int = 20, min_documents: int = 3, typography: Typography = "folded"
    ) -> None:
        self.ridge = ridge
        self.bits = bits
        self.min_documents = min_documents
        self.typography = typography

    def fit(self, X: Iterable[str], y: Sequence[Any]) -> AuthorClassifier:
        """Learn from the texts `X` by the authors `y`; returns the classifier itself.

        Raises `ValueError` for fewer than two authors, for what is not a text, and for texts without common n-grams.
        """
        texts = self._texts(X)
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = _validation.column_or_1d(y, warn=True)
        _validation.check_consistent_length(texts, y)
        _multiclass.check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs texts by at least two authors; the data has 1 class")
        options = NgramOptions(
            ridge=self.ridge, bits=self.bits, min_documents=self.min_documents, typography=self.typography
        )
        try:
            fitted = fit_fusion(_corpus(texts, labels.tolist(), len(self.classes_)), options, open_set=False)
        except CorpusError as error:
            raise ValueError(str(error)) from None
        if not len(fitted.ngrams.buckets):
            raise ValueError("no two texts have an n-gram in common: there is nothing to learn from")
        self.model_, self.decision_ = fitted.ngrams, fitted.decision
        return self

    def decision_function(self, X: Iterable[str]) -> npt.NDArray[np.float64]:
        """The n-gram scores [texts, authors]; for two authors, their difference [texts]."""
        scores, _ = self._scores(X)
        return np.asarray(scores[:, 1] - scores[:, 0]) if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Iterable[str]) -> npt.NDArray[np.float64]:
        """The probabilities [texts, authors]."""
        scores, sizes = self._scores(X)
        return posterior(None, self.decision_, scores, sizes)

    def predict(self, X: Iterable[str]) -> npt.NDArray[Any]:
        """The most probable author of each text."""
        scores, _ = self._scores(X)
        return np.asarray(self.classes_[scores.argmax(axis=1)])

    def _scores(self, X: Iterable[str]) -> tuple[npt.NDArray[np.float64], list[int]]:
        """Scores [texts, authors], and the sizes of the texts in bytes."""
        _validation.check_is_fitted(self)
        texts = self._texts(X)
        scores = [self.model_.score_texts(texts[i : i + _GROUP]).scores for i in range(0, len(texts), _GROUP)]
        return np.concatenate(scores), [len(text.encode("utf-8", "replace")) for text in texts]

    def _texts(self, X: Iterable[Any]) -> list[str]:
        """The texts as the model reads them."""
        if isinstance(X, str | bytes) or not isinstance(X, Iterable) or getattr(X, "ndim", 1) != 1:
            raise ValueError(f"expected a list or a 1-dimensional array of texts, got {type(X).__name__}")
        texts = list(X)
        if not texts:
            raise ValueError("found 0 texts while a minimum of 1 is required")
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"expected texts of type str, got {type(text).__name__}")
        tidied = [tidy(text) for text in texts]
        return [fold_typography(text) for text in tidied] if self.typography == "folded" else tidied

    def __sklearn_tags__(self) -> Any:
        """Texts, not a matrix of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _corpus(texts: list[str], labels: list[int], authors: int) -> Corpus:
    """The texts as a corpus, whose numbered names keep the order of an author's texts."""
    documents = tuple(
        CorpusDocument(f"{label}/{number}.txt", label, text, "")
        for number, (text, label) in enumerate(zip(texts, labels, strict=True))
    )
    return Corpus(Path("texts"), tuple(map(str, range(authors))), documents)
