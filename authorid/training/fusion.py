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
from authorid.ngrams.model import NgramModel
from authorid.reporter import SILENT, Reporter
from authorid.scoring.posterior import log_softmax, ngram_evidence
from authorid.training.confidence import ScoredDocuments, fit_ngram_confidence, fusion_rule
from authorid.training.corpus import Corpus
from authorid.training.corpus_checks import check_similarities, check_texts
from authorid.training.coverage_floor import coverage_of, fit_coverage_threshold
from authorid.training.encoder_weight import EncoderFit, EncoderScores, fit_encoder_weight
from authorid.training.ngram_fit import Sample, fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.open_set import OpenSetCorpus, OpenSetFit, fit_open_set
from authorid.training.ridge import DENSE_DOCUMENTS, spread
from authorid.training.samples import LabelledTexts, SampleLength, corpus_texts, cut
from authorid.training.split_fit import SplitFit
from authorid.training.splits import hold_out
from authorid.training.term_counts import count
from authorid.training.view_choice import ViewChoice, choose_views

__all__ = ["EncoderScores", "FusionFit", "fit_fusion"]

HELD_OUT = 0.4
"""Share of each author's documents that is held out to fit the decision rule."""

SHORT = (10, 30, 60, 125, 250, 500, 1000)
"""Lengths in bytes to which held-out documents are cut, to learn how much evidence short texts carry."""

FEW_HELD_OUT, BLOCKS = 100, 4
"""When fewer documents are held out, they are held out in so many blocks, one at a time. A small corpus without 40 % of
its documents makes a model that is much worse than the one that all of them make, and probabilities too low."""

FEW_AUTHORS = 20
"""With fewer authors, the thresholds for unknown authors depend mostly on which authors are left out."""

UNMEASURED = 0.0
"""Weight of an encoder when nothing was held out: one that has learned only subjects would do harm."""

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FusionFit:
    """A fitted n-gram model, the decision rule, results on the shifted split (`report`), and warnings for the user.

    `encoder` is the result for the encoder; None without one.
    """

    ngrams: NgramModel
    decision: Decision
    report: dict[str, Any]
    warnings: tuple[str, ...] = ()
    encoder: EncoderFit | None = None


def fit_fusion(
    corpus: Corpus,
    options: NgramOptions = NgramOptions(),
    *,
    encoder: EncoderScores | None = None,
    open_set: bool = True,
    reporter: Reporter = SILENT,
) -> FusionFit:
    """Fit the n-gram model on the whole of `corpus`, and its decision rule on a shifted split.

    With `encoder`, the rule also says how much the encoder counts; with `open_set`, which documents are by unknown
    authors.
    """
    documents = corpus_texts(corpus)
    views_given, options = bool(options.views), options.with_views(documents.texts)
    length = SampleLength.for_texts(documents.texts, options.sample_words)
    # The documents on which the rule is fitted: all, or as many as the closed form allows.
    sampled = documents[spread(documents.labels, DENSE_DOCUMENTS)]
    pairs, how = hold_out(sampled, HELD_OUT, length)
    samples = cut(documents, length)
    split = pairs[0] if pairs else (samples, samples[np.arange(0)])
    choice = ViewChoice(options) if views_given else choose_views(*split, options)
    options = choice.options
    ngrams, known, chosen = _fit_ngrams(samples, len(corpus.authors), options, reporter)
    warnings = check_texts(documents, corpus.authors)
    warnings += check_similarities(known.products.matrix, samples[chosen], corpus.authors)
    if not pairs:
        warnings.append("nothing could be held out: probabilities are not calibrated, unknown authors not recognized")
        decision = fusion_rule(UNMEASURED, ngram_weight=0.4, half_length=300.0, least_spread=0.1)
        return FusionFit(
            ngrams, decision, {"split": how}, tuple(warnings), None if encoder is None else EncoderFit(decision)
        )
    held = len(set(pairs[0][1].paths))
    if held < FEW_HELD_OUT:
        warnings.append(f"only {held} documents to calibrate on: probabilities are rough")
        splits = [SplitFit.on(*pair, options) for pair in hold_out(sampled, HELD_OUT, length, BLOCKS)[0]]
    else:
        splits = [SplitFit.on(*pairs[0], options, choice.counts)]
    decision, report = _fit_confidence(splits, len(documents), options)
    report = {"split": how, **report}
    if open_set:
        found = fit_open_set(known, cut(sampled, length), pairs[0], options, reporter=reporter)
        if found is not None:
            decision = replace(decision, false_attribution_thresholds=found.thresholds, known_author_rule=found.rule)
            report = found.report | report
        warnings += _rough_open_set(found, len(corpus.authors))
    fitted = None if encoder is None else EncoderFit(decision)
    if encoder is not None and len(sampled) == len(documents) and len(encoder.validation):
        validation = documents[encoder.validation]
        scores = SplitFit.on(cut(documents[encoder.training], length), validation, options).held_scores()
        fitted = fit_encoder_weight((scores, _bytes(validation.texts), validation.labels), encoder, decision)
        decision = fitted.decision
        reporter.info(fitted.summary)
    elif encoder is not None:  # its weight stays `UNMEASURED`
        why = "the corpus is too large" if len(encoder.validation) else "no held-out documents"
        warnings.append(f"{why} to fit the encoder's weight on: the n-grams answer without it")
    return FusionFit(ngrams, decision, report, tuple(warnings), fitted)


def _fit_ngrams(
    samples: LabelledTexts, authors: int, options: NgramOptions, reporter: Reporter
) -> tuple[NgramModel, OpenSetCorpus, Labels]:
    """Fit the n-gram model on all `samples`.

    Returns it with those that the rule for unknown authors is fitted on, and the indices of these.
    """
    counts = count(samples.texts, samples.labels, options)
    if not (np.bincount(counts.matrix.indices) > 1).any():  # no two documents have anything in common
        counts = counts.features(np.arange(0))
    noun = "documents" if len(set(samples.paths)) == len(samples) else "samples"
    views = len(counts.extractor.views)
    reporter.info(f"{counts.matrix.shape[1]:,} n-grams in {views} views of {len(samples):,} {noun}")
    sample = Sample.of(counts, samples.labels)
    ngrams = fit(counts, samples.labels, authors, options, sample)
    paths = [samples.paths[index] for index in sample.chosen]
    matrix = sample.matrix[sample.chosen]
    return ngrams, OpenSetCorpus.of(paths, sample.products, matrix, counts, options.ridge), sample.chosen


def _fit_confidence(splits: list[SplitFit], documents: int, options: NgramOptions) -> tuple[Decision, dict[str, Any]]:
    """Fit the rule for the n-gram model alone; returns it with the results on what all `splits` hold out."""
    scores, sizes, truth = _joined([_whole(split) for split in splits])
    decision = fit_ngram_confidence((scores, sizes, truth), _joined([_short(split) for split in splits]))
    # As many documents must have an n-gram as for the model itself, although here there are fewer.
    coverage = coverage_of(splits, options.required_documents(documents, scores.shape[1]))
    if coverage is not None:
        decision = replace(decision, coverage_threshold=fit_coverage_threshold(coverage))
    probabilities = np.exp(log_softmax(ngram_evidence(scores, sizes, decision)))
    accuracy = float((probabilities.argmax(axis=1) == truth).mean())
    return decision, {"held_out": len(truth), "accuracy": accuracy}


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


def _joined(parts: list[ScoredDocuments]) -> ScoredDocuments:
    scores, sizes, truth = zip(*parts, strict=True)
    return np.concatenate(scores), np.concatenate(sizes), np.concatenate(truth)


def _whole(split: SplitFit) -> ScoredDocuments:
    """Score the held-out documents."""
    return split.held_scores(), _bytes(split.held.texts), split.held.labels


def _short(split: SplitFit) -> ScoredDocuments:
    """Cut pieces at random positions out of some held-out documents, and score them."""
    generator = np.random.default_rng(0)
    pieces: list[str] = []
    authors: list[int] = []
    held = split.held
    for index in range(0, len(held), max(1, len(held) // 250)):
        data = held.texts[index].encode("utf-8", "replace")
        for length in SHORT:
            if len(data) > length:
                start = int(generator.integers(len(data) - length + 1))
                pieces.append(data[start : start + length].decode("utf-8", "ignore"))
                authors.append(int(held.labels[index]))
    if not pieces:
        nothing = np.zeros(0, dtype=np.int64)
        return np.zeros((0, len(np.unique(split.training.labels)))), nothing, nothing
    return split.scores_of(pieces), _bytes(pieces), np.array(authors)


def _bytes(texts: list[str]) -> Labels:
    """Return the lengths in bytes on which the decision rule depends."""
    return np.array([len(text.encode("utf-8", "replace")) for text in texts], dtype=np.int64)
