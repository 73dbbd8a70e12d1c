"""Fit the n-gram model of a corpus, and the decision rule that fuses it with the encoder.

The rule is fitted on a shifted split (`authorid.training.splits`), not on random folds: authors write about the same
subjects in the same weeks, and random folds reward a model for knowing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.ngrams.coverage import Coverage
from authorid.ngrams.model import NgramModel
from authorid.reporter import SILENT, Reporter
from authorid.scoring.posterior import log_softmax, ngram_evidence
from authorid.training.confidence import ScoredDocuments, fit_ngram_confidence, fusion_rule
from authorid.training.corpus import Corpus
from authorid.training.corpus_checks import check_similarities, check_texts
from authorid.training.coverage_floor import coverage_of, fit_coverage_threshold
from authorid.training.encoder_weight import EncoderFit, EncoderScores, fit_encoder_weight
from authorid.training.large_calibration import HeldOutModel
from authorid.training.ngram_fit import Sample, count_texts, fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.open_set import OpenSetCorpus, OpenSetFit, fit_open_set
from authorid.training.ridge import DENSE_DOCUMENTS, spread
from authorid.training.samples import LabelledTexts, SampleLength, corpus_texts, cut
from authorid.training.split_fit import SplitFit
from authorid.training.splits import hold_out
from authorid.training.view_choice import ViewChoice, choose_views

__all__ = ["EncoderScores", "FusionFit", "fit_fusion"]

HELD_OUT = 0.4
"""Share of each author's documents that is held out to fit the decision rule."""

HELD_OUT_OF_MANY = 0.2
"""The share where there are very many documents: the model that is fitted without them should be like that of all."""

SHORT = (10, 30, 60, 125, 250, 500, 1000)
"""Lengths in bytes to which held-out documents are cut, to learn how much evidence short texts carry."""

FEW_HELD_OUT, BLOCKS = 100, 4
"""When fewer documents are held out, they are held out in so many blocks, one at a time. A small corpus without 40 % of
its documents makes a model that is much worse than the one that all of them make, and probabilities too low."""

MANY_AUTHORS = 200
"""With more authors, a sample of very many documents would have too few of each."""

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
    samples = cut(documents, length)
    many = len(samples) > DENSE_DOCUMENTS and len(corpus.authors) > MANY_AUTHORS
    sampled = _sample(documents, many)
    pairs, how = hold_out(sampled, HELD_OUT, length)
    split = pairs[0] if pairs else (samples, samples[np.arange(0)])
    choice = ViewChoice(options) if views_given else choose_views(*split, options)
    options = choice.options
    ngrams, known, similar = _fit_ngrams(samples, corpus.authors, options, reporter, open_set=not many)
    warnings = check_texts(documents, corpus.authors) + similar
    if not pairs:
        warnings.append("nothing could be held out: probabilities are not calibrated, unknown authors not recognized")
        decision = fusion_rule(UNMEASURED, ngram_weight=0.4, half_length=300.0, least_spread=0.1)
        return FusionFit(
            ngrams, decision, {"split": how}, tuple(warnings), None if encoder is None else EncoderFit(decision)
        )
    if known is None:
        pairs, how = hold_out(documents, HELD_OUT_OF_MANY, length)
        decision, report, found = _calibrate_many(pairs[0], len(corpus.authors), options, open_set, reporter)
    else:
        held = len(set(pairs[0][1].paths))
        if held < FEW_HELD_OUT:
            warnings.append(f"only {held} documents to calibrate on: probabilities are rough")
            splits = [SplitFit.on(*pair, options) for pair in hold_out(sampled, HELD_OUT, length, BLOCKS)[0]]
        else:
            splits = [SplitFit.on(*pairs[0], options, choice.counts)]
        decision, report = _calibrate(splits, len(documents), options)
        texts = cut(sampled, length)
        found = fit_open_set(known, texts, pairs[0], options, reporter=reporter) if open_set else None
    report = {"split": how, **report}
    if open_set:
        if found is not None:
            decision = replace(decision, false_attribution_thresholds=found.thresholds, known_author_rule=found.rule)
            report = found.report | report
        warnings += _rough_open_set(found, len(corpus.authors))
    fitted = None if encoder is None else EncoderFit(decision)
    if encoder is not None and len(sampled) == len(documents) and len(encoder.validation):
        fitted = _fit_encoder(encoder, documents, length, options, decision)
        decision = fitted.decision
        reporter.info(fitted.summary)
    elif encoder is not None:  # its weight stays `UNMEASURED`
        why = "the corpus is too large" if len(encoder.validation) else "no held-out documents"
        warnings.append(f"{why} to fit the encoder's weight on: the n-grams answer without it")
    return FusionFit(ngrams, decision, report, tuple(warnings), fitted)


def _fit_encoder(
    encoder: EncoderScores, documents: LabelledTexts, length: SampleLength, options: NgramOptions, decision: Decision
) -> EncoderFit:
    """Fit the weight of the encoder beside n-grams that have not seen its validation documents either."""
    validation = documents[encoder.validation]
    scores = SplitFit.on(cut(documents[encoder.training], length), validation, options).held_scores()
    return fit_encoder_weight((scores, _bytes(validation.texts), validation.labels), encoder, decision)


def _sample(documents: LabelledTexts, many: bool) -> LabelledTexts:
    """The documents on which views are chosen and the rule is fitted: all, or as many as the closed form allows.

    Of `many` authors some are left out, so that there are not too few documents of the others.
    """
    if many:
        authors = np.unique(documents.labels)
        kept = authors[np.linspace(0, len(authors) - 1, MANY_AUTHORS).round().astype(np.int64)]
        documents = documents[np.flatnonzero(np.isin(documents.labels, kept))]
    return documents[spread(documents.labels, DENSE_DOCUMENTS)]


def _fit_ngrams(
    samples: LabelledTexts, authors: Sequence[str], options: NgramOptions, reporter: Reporter, *, open_set: bool
) -> tuple[NgramModel, OpenSetCorpus | None, list[str]]:
    """Fit the n-gram model on all `samples`.

    Returns it with those that the rule for unknown authors is fitted on, if `open_set`, and warnings.
    """
    counts = count_texts(samples, options)
    noun = "documents" if len(set(samples.paths)) == len(samples) else "samples"
    views = len(counts.extractor.views)
    reporter.info(f"{counts.matrix.shape[1]:,} n-grams in {views} views of {len(samples):,} {noun}")
    sample = Sample.of(counts, samples.labels)
    chosen = samples[sample.chosen]
    warnings = check_similarities(sample.products.matrix, chosen, authors)
    ngrams = fit(counts, samples.labels, len(authors), options, sample, reporter)
    if not open_set:
        return ngrams, None, warnings
    matrix = sample.matrix[sample.chosen]
    return ngrams, OpenSetCorpus.of(chosen.paths, sample.products, matrix, counts, options.ridge), warnings


def _calibrate_many(
    split: tuple[LabelledTexts, LabelledTexts],
    authors: int,
    options: NgramOptions,
    open_set: bool,
    reporter: Reporter,
) -> tuple[Decision, dict[str, Any], OpenSetFit | None]:
    """Fit the rule for the n-gram model alone, and that for unknown authors, where there are very many `authors`."""
    reporter.info("a second fit, without the last documents of each author, to calibrate the first")
    model = HeldOutModel.of(*split, options, reporter, open_set=open_set)
    scored = model.held_out()
    whole = scored.scores, _bytes(model.held.texts), model.held.labels
    decision, report = _fit_confidence(whole, model.scored(*_pieces(model.held)), scored.coverage)
    return decision, report, model.fit_open_set(scored, authors) if open_set else None


def _calibrate(splits: list[SplitFit], documents: int, options: NgramOptions) -> tuple[Decision, dict[str, Any]]:
    """Fit the rule for the n-gram model alone; returns it with the results on what all `splits` hold out."""
    whole, short = _joined([_whole(split) for split in splits]), _joined([_short(split) for split in splits])
    # As many documents must have an n-gram as for the model itself, although here there are fewer.
    coverage = coverage_of(splits, options.required_documents(documents, whole[0].shape[1]))
    return _fit_confidence(whole, short, coverage)


def _fit_confidence(
    whole: ScoredDocuments, short: ScoredDocuments, coverage: Coverage | None
) -> tuple[Decision, dict[str, Any]]:
    scores, sizes, truth = whole
    decision = fit_ngram_confidence(whole, short)
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
    """Cut pieces out of some held-out documents, and score them."""
    pieces, authors = _pieces(split.held)
    if not pieces:
        nothing = np.zeros(0, dtype=np.int64)
        return np.zeros((0, len(np.unique(split.training.labels)))), nothing, nothing
    return split.scores_of(pieces), _bytes(pieces), authors


def _pieces(held: LabelledTexts) -> tuple[list[str], Labels]:
    """Pieces at random positions of some texts, and their authors."""
    generator = np.random.default_rng(0)
    pieces: list[str] = []
    authors: list[int] = []
    for index in range(0, len(held), max(1, len(held) // 250)):
        data = held.texts[index].encode("utf-8", "replace")
        for length in SHORT:
            if len(data) > length:
                start = int(generator.integers(len(data) - length + 1))
                pieces.append(data[start : start + length].decode("utf-8", "ignore"))
                authors.append(int(held.labels[index]))
    return pieces, np.array(authors, dtype=np.int64)


def _bytes(texts: list[str]) -> Labels:
    """Return the lengths in bytes on which the decision rule depends."""
    return np.array([len(text.encode("utf-8", "replace")) for text in texts], dtype=np.int64)
