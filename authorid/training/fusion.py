"""Fit the n-gram model of a corpus, and the decision rule that fuses it with the encoder.

The rule is fitted on a shifted split (`authorid.training.splits`), not on random folds: authors write about the same
subjects in the same weeks, and random folds reward a model for knowing them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.errors import require
from authorid.inputs.decoding import tidy
from authorid.ngrams.model import NgramModel
from authorid.reporter import SILENT, Reporter
from authorid.scoring.posterior import log_softmax, ngram_evidence
from authorid.training.corpus import Corpus
from authorid.training.coverage_floor import coverage_of, fit_coverage_threshold
from authorid.training.ngram_fit import (
    DENSE_DOCUMENTS,
    Labels,
    NgramOptions,
    Similarities,
    TermCounts,
    count,
    count_more,
    fit,
    inverse_frequencies,
    similarities,
    tfidf,
)
from authorid.training.open_set import OpenSetCorpus, OpenSetFit, fit_open_set
from authorid.training.splits import shifted_split

__all__ = ["EncoderScores", "FusionFit", "fit_encoder_weight", "fit_fusion", "fit_ngram_confidence"]

HELD_OUT = 0.4
"""Share of each author's documents that is held out to fit the decision rule."""

SHORT = (10, 30, 60, 125, 250, 500, 1000)
"""Lengths in bytes to which held-out documents are cut, to learn how much evidence short texts carry."""

TOLERATED = 0.002
"""Share of the held-out documents that is left to chance. The encoder may cost at most this share of right answers;
with effort ``auto``, it would change at most this share of the answers that the n-gram model gives alone."""

HALF_LENGTHS = (50.0, 100.0, 200.0, 300.0, 450.0, 600.0, 900.0, 1200.0)
"""Half-lengths in bytes that are tried. 0 is not among them: it would trust the shortest texts as much as long ones."""

WEIGHTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Weights of the encoder's mean log-softmax that are tried, besides 0."""

SPREAD = 1.5
"""The best value on every shifted split of Reuters C50 that was tried."""

FLOOR = 0.05
"""The standard deviation of scores is at least that at this quantile of the held-out documents."""

FEW_AUTHORS = 20
"""With fewer authors, the thresholds for unknown authors depend mostly on which authors are left out."""

UNMEASURED = 0.0
"""Weight of an encoder when nothing was held out: one that has learned only subjects would do harm."""

Scores = npt.NDArray[np.float64]
ScoredDocuments = tuple[Scores, Labels, Labels]
"""Scores [documents, authors] of documents, their lengths in bytes [documents] and their authors [documents]."""


@dataclass(frozen=True)
class FusionFit:
    """A fitted n-gram model, the decision rule, results on the shifted split (`report`), and warnings for the user.

    `encoder_documents` is the number of documents on which the encoder's weight was fitted; None without an encoder.
    """

    ngrams: NgramModel
    decision: Decision
    report: dict[str, Any]
    warnings: tuple[str, ...] = ()
    encoder_documents: int | None = None


@dataclass(frozen=True)
class EncoderScores:
    """Mean log-softmaxes `scores` [validation, authors] of an encoder for documents that it was not trained on.

    `training` and `validation` are indices into the corpus.
    """

    training: Labels
    validation: Labels
    scores: Scores


@dataclass(frozen=True)
class _SplitFit:
    """An n-gram fit to the documents `training` [n] only, and all documents in terms of it.

    Vocabulary, common words and frequencies come from `training` alone, so that the others are as new to the fit as
    future documents. Columns of scores are authors; each has a document in `training`.
    """

    training: Labels
    counts: TermCounts
    idf: npt.NDArray[np.float32]
    matrix: Any
    products: Similarities
    ridge: float

    @classmethod
    def on(cls, training: Labels, texts: list[str], labels: Labels, options: NgramOptions) -> _SplitFit:
        counts = count(texts, labels, options, training)
        idf = inverse_frequencies(counts, training)
        matrix = tfidf(counts, idf)
        return cls(training, counts, idf, matrix, similarities(matrix, labels), options.ridge)

    def scores(self, documents: Labels) -> Scores:
        """Return the scores [documents, authors] of `documents`."""
        return self.products.scores(self.training, documents, self.ridge)[0]

    def scores_of(self, texts: list[str]) -> Scores:
        """Return the scores [texts, authors] of other `texts`."""
        dual, _ = self.products.solve(self.training, self.ridge)
        features = tfidf(count_more(self.counts, texts), self.idf)
        return np.asarray(features @ (self.matrix[self.training].T @ dual) + dual.sum(axis=0))


@dataclass(frozen=True)
class _Sample:
    """The documents on which the decision rule is fitted: all, or as many as `DENSE_DOCUMENTS` allows.

    `training` and `held` are a shifted split of them, `how` describes its order.
    """

    texts: list[str]
    corpus: OpenSetCorpus
    training: Labels
    held: Labels
    how: str
    complete: bool

    @property
    def labels(self) -> Labels:
        return self.corpus.products.labels


def fit_fusion(
    corpus: Corpus,
    options: NgramOptions = NgramOptions(),
    *,
    encoder: EncoderScores | None = None,
    reporter: Reporter = SILENT,
) -> FusionFit:
    """Fit the n-gram model on the whole of `corpus`, and its decision rule on a shifted split.

    With `encoder`, the rule also says how much the encoder counts.
    """
    texts = [tidy(document.text) for document in corpus.documents]
    options = options.with_views(texts)
    labels = np.array([document.label for document in corpus.documents], dtype=np.int64)
    ngrams, sample = _fit_ngrams(corpus, texts, labels, options, reporter)
    warnings = _few_documents(corpus.authors, labels)
    if not len(sample.held):
        warnings.append("nothing could be held out: probabilities are not calibrated, unknown authors not recognized")
        decision = _rule(ngram_weight=0.4, half_length=300.0, least_spread=0.1)
        return FusionFit(ngrams, decision, {"split": sample.how}, tuple(warnings), None if encoder is None else 0)
    if len(sample.held) < 100:
        warnings.append(f"only {len(sample.held)} documents to calibrate on: probabilities are rough")
    decision, report = _fit_confidence(sample, options)
    split = sample.training, sample.held
    open_set = fit_open_set(sample.corpus, sample.texts, split, options, reporter=reporter)
    if open_set is not None:
        decision = replace(decision, false_attribution_thresholds=open_set.thresholds, known_author_rule=open_set.rule)
        report = open_set.report | report
    encoder_documents = None if encoder is None else 0
    if encoder is not None and sample.complete and len(encoder.validation):
        validation = encoder.validation
        scores = _SplitFit.on(encoder.training, texts, labels, options).scores(validation)
        sizes = _bytes([texts[index] for index in validation])
        decision = fit_encoder_weight(scores, encoder.scores, sizes, labels[validation], decision)
        encoder_documents = len(validation)
    elif encoder is not None:  # its weight stays `UNMEASURED`
        why = "the corpus is too large" if len(encoder.validation) else "no held-out documents"
        warnings.append(f"{why} to fit the encoder's weight on: the n-grams answer without it")
    warnings += _rough_open_set(open_set, len(corpus.authors))
    return FusionFit(ngrams, decision, report, tuple(warnings), encoder_documents)


def _fit_ngrams(
    corpus: Corpus, texts: list[str], labels: Labels, options: NgramOptions, reporter: Reporter
) -> tuple[NgramModel, _Sample]:
    """Fit the n-gram model on all documents; returns it with the documents for the decision rule."""
    counts = count(texts, labels, options)
    idf = inverse_frequencies(counts, np.arange(len(labels)))
    reporter.info(
        f"{counts.matrix.shape[1]:,} n-grams in {len(counts.extractor.views)} views of {len(labels)} documents"
    )
    chosen = _spread(labels, DENSE_DOCUMENTS)
    matrix = tfidf(counts, idf)
    products = similarities(matrix[chosen], labels[chosen])
    complete = len(chosen) == len(labels)
    ngrams = fit(counts, labels, len(corpus.authors), options, (idf, products) if complete else None)
    paths = [corpus.documents[index].path for index in chosen]
    training, held, how = shifted_split(paths, products.labels, products.submatrix, HELD_OUT)
    documents = OpenSetCorpus.of(paths, products, matrix[chosen], counts, options.ridge)
    return ngrams, _Sample([texts[index] for index in chosen], documents, training, held, how, complete)


def _fit_confidence(sample: _Sample, options: NgramOptions) -> tuple[Decision, dict[str, Any]]:
    """Fit the rule for the n-gram model alone; returns it with the results on the held-out documents."""
    fitted = _SplitFit.on(sample.training, sample.texts, sample.labels, options)
    scores, truth = fitted.scores(sample.held), sample.labels[sample.held]
    sizes = _bytes([sample.texts[index] for index in sample.held])
    decision = fit_ngram_confidence((scores, sizes, truth), _short(fitted, sample.texts, sample.held))
    # As many documents must have an n-gram as for the model itself, although here there are fewer.
    required = options.required_documents(len(sample.labels))
    coverage = coverage_of(fitted.counts, sample.texts, sample.training, sample.held, required)
    if coverage is not None:
        decision = replace(decision, coverage_threshold=fit_coverage_threshold(coverage))
    probabilities = _probabilities(scores, sizes, decision)
    accuracy = float((probabilities.argmax(axis=1) == truth).mean())
    return decision, {"split": sample.how, "held_out": len(sample.held), "accuracy": accuracy}


def _few_documents(authors: tuple[str, ...], labels: Labels) -> list[str]:
    """Return a warning if some authors have fewer than 10 documents."""
    few = np.flatnonzero(np.bincount(labels, minlength=len(authors)) < 10)
    if not len(few):
        return []
    names = ", ".join(authors[index] for index in few[:3])
    more = f" and {len(few) - 3} more" if len(few) > 3 else ""
    return [f"fewer than 10 documents by {names}{more}: expect many wrong answers"]


def _rough_open_set(open_set: OpenSetFit | None, authors: int) -> list[str]:
    """Return a warning if unknown authors will not be recognized, or not reliably."""
    if open_set is None:
        return [
            "too few authors, or documents too much alike, to learn to recognize unknown authors: "
            "--max-false-attribution will not work"
        ]
    if authors < FEW_AUTHORS:
        return [f"only {authors} authors to leave out in turn: the rates of --max-false-attribution are rough"]
    return []


def _spread(labels: Labels, most: int) -> Labels:
    """Return the indices, ascending, of about `most` documents, spread evenly over those of each author.

    Each author keeps at least two documents, or the only one: an author without documents would have no scores.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    documents = np.bincount(labels)
    least = np.minimum(documents, 2)
    more = documents - least
    wanted = least + more * max(most - least.sum(), 0) // max(more.sum(), 1)
    own = (np.flatnonzero(labels == author) for author in range(len(documents)))
    chosen = [
        some[np.linspace(0, len(some) - 1, n).round().astype(np.int64)] for some, n in zip(own, wanted, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _short(fitted: _SplitFit, texts: list[str], held: Labels) -> ScoredDocuments:
    """Cut pieces at random positions out of some held-out documents, and score them."""
    generator = np.random.default_rng(0)
    pieces, truth = [], []
    for index in held[:: max(1, len(held) // 250)]:
        data = texts[index].encode("utf-8", "replace")
        for length in SHORT:
            if len(data) > length:
                start = int(generator.integers(len(data) - length + 1))
                pieces.append(data[start : start + length].decode("utf-8", "ignore"))
                truth.append(fitted.products.labels[index])
    if not pieces:
        authors = len(np.unique(fitted.products.labels))
        return np.zeros((0, authors)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return fitted.scores_of(pieces), _bytes(pieces), np.array(truth)


def _bytes(texts: list[str]) -> Labels:
    """Return the lengths in bytes on which the decision rule depends."""
    return np.array([len(text.encode("utf-8", "replace")) for text in texts], dtype=np.int64)


def _probabilities(scores: Scores, sizes: Labels, decision: Decision) -> Scores:
    return np.exp(log_softmax(ngram_evidence(scores, sizes, decision) / decision.temperature))


def _loss(evidence: Scores, truth: Labels) -> float:
    """Return the mean cross-entropy, smoothed as if one more document were wrong, so that weights stay finite."""
    logs = log_softmax(evidence)
    smoothing = 1.0 / (len(truth) + 1)
    return float(-((1 - smoothing) * logs[np.arange(len(truth)), truth] + smoothing * logs.mean(axis=1)).mean())


def _rule(**changes: float) -> Decision:
    return Decision(rule="fusion", encoder_weight=UNMEASURED, spread=SPREAD, **changes)  # type: ignore[arg-type]


def fit_ngram_confidence(whole: ScoredDocuments, short: ScoredDocuments) -> Decision:
    """Return the decision rule whose n-gram weight and half-length maximize the likelihood of held-out documents.

    `whole` are the held-out documents, `short` pieces of them; `short` may be empty.
    """
    scores, sizes, truth = whole
    short_scores, short_sizes, short_truth = short
    best = (np.inf, _rule(least_spread=float(np.quantile(scores.std(axis=1), FLOOR))))
    for half in HALF_LENGTHS:
        plain = replace(best[1], ngram_weight=1.0, half_length=half)
        evidence = ngram_evidence(scores, sizes, plain)
        weights = np.geomspace(0.02, 20.0, 140)
        losses = [_loss(evidence * weight, truth) for weight in weights]
        weight = float(weights[int(np.argmin(losses))])
        loss = min(losses)
        if len(short_truth):
            loss += _loss(ngram_evidence(short_scores, short_sizes, plain) * weight, short_truth)
        if loss < best[0]:
            best = (loss, replace(plain, ngram_weight=weight))
    return best[1]


def fit_encoder_weight(ngrams: Scores, encoder: Scores, sizes: Labels, truth: Labels, decision: Decision) -> Decision:
    """Return `decision` with the encoder's weight, the temperature and the exit threshold of the cascade.

    They are fitted on documents that neither model was trained on: `ngrams` and `encoder` are n-gram scores and mean
    log-softmaxes [documents, authors], `sizes` lengths in bytes, `truth` the authors.

    - The encoder's weight maximizes the likelihood among those that keep the accuracy of the n-gram model, except for
      a share `TOLERATED` of the documents. It is 0 for an encoder that adds nothing.
    - The temperature is the ratio of the best temperatures with and without the encoder. The absolute temperature
      cannot be fitted on these documents: they are more similar to the training documents than future ones.
    - From the probability `exit_threshold` on, the encoder would change at most a share `TOLERATED` of the answers of
      the n-gram model.
    """
    alone = ngram_evidence(ngrams, sizes, decision)
    loss, temperature = _best_temperature(alone, truth)
    best, least, temperature_alone = (0.0, temperature), loss, temperature
    tolerated = int(TOLERATED * len(truth))
    required = (alone.argmax(axis=1) == truth).sum() - tolerated
    for weight in WEIGHTS:
        both = alone + weight * encoder
        loss, temperature = _best_temperature(both, truth)
        if (both.argmax(axis=1) == truth).sum() >= required and loss < least - 1e-4:
            best, least = (weight, temperature), loss
    weight, temperature = best
    changed = (alone + weight * encoder).argmax(axis=1) != alone.argmax(axis=1)
    highest = np.sort(np.exp(log_softmax(alone[changed])).max(axis=1))[::-1]
    threshold = float(np.nextafter(highest[tolerated], 1.0)) if len(highest) > tolerated else 0.0
    return replace(
        decision, encoder_weight=weight, temperature=temperature / temperature_alone, exit_threshold=threshold
    )


def _best_temperature(evidence: Scores, truth: Labels) -> tuple[float, float]:
    """Return the least loss for temperatures between 0.4 and 4, and its temperature, to within a thousandth."""
    optimize = require("scipy.optimize", "fit")

    def loss(log_temperature: float) -> float:  # has one minimum
        return _loss(evidence / np.exp(log_temperature), truth)

    found = optimize.minimize_scalar(loss, bounds=np.log((0.4, 4.0)), method="bounded", options={"xatol": 1e-3})
    return float(found.fun), float(np.exp(found.x))
