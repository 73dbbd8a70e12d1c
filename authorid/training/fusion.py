"""From a corpus to the n-gram expert, and to the rule by which experts become one calibrated, cautious answer.

Nothing is learnt from random folds: authors write about this month's subjects, and random folds reward knowing
them. Each author's last documents by file name are held out; where names carry no numbers, those at one end of the
author's main change of subject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.errors import require
from authorid.inputs.decoding import tidy
from authorid.ngrams.model import NgramModel
from authorid.scoring.attribution import log_softmax, ngram_evidence
from authorid.training.corpus import Corpus
from authorid.training.ngram_fit import (
    DENSE_DOCUMENTS,
    Counts,
    Labels,
    NgramOptions,
    Similarities,
    count,
    count_more,
    fit,
    inverse_frequencies,
    similarities,
    weigh,
)
from authorid.training.open_set import Compared, look_for_strangers
from authorid.training.shift import shifted_split

__all__ = ["Experts", "Held", "confidence", "learn", "stack"]

HELD_OUT = 0.4
"""Share of each author's documents that is held out to learn how far answers can be trusted."""

SHORT = (10, 30, 60, 125, 250, 500, 1000)
"""Lengths in bytes to which held-out documents are cut, to learn what short texts are worth."""

OVERLOOKED = 0.002
"""Share of the held-out documents that is left to chance: so many right answers may the encoder cost, and so many
answers would it change, at most, where effort ``auto`` lets the n-grams answer alone."""

HALF_LENGTHS = (50.0, 100.0, 200.0, 300.0, 450.0, 600.0, 900.0, 1200.0)
"""Bytes, none of them 0: a text of which there is next to nothing must not be answered as one of any length is."""

WEIGHTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""What the encoder's mean log-softmax may weigh beside the n-grams."""

SPREAD = 1.5
"""Fits best, and the same, on every shifted split of Reuters C50 that was tried (docs/research/accuracy.md)."""

FLOOR = 0.05
"""Scores less apart than those of this share of the held-out documents are not pulled further apart."""

FEW_AUTHORS = 20
"""With fewer, who plays the stranger matters more for the thresholds than how they are found."""

UNMEASURED = 0.0
"""Weight of an encoder for which nothing was held out: one that learnt this month's subjects does harm, so none."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Experts:
    """What was learnt: the n-gram expert, the rule, and what the shifted split said about both."""

    expert: NgramModel
    decision: Decision
    report: dict[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """An encoder's mean log-softmaxes [validation, authors] of documents it has not seen; indices into the corpus."""

    training: Labels
    validation: Labels
    scores: Scores


@dataclass(frozen=True)
class _Fit:
    """A fit to the documents `training` [n], and all documents as it sees them: nothing is counted in the others.

    So the others are as strange to it as documents to come. Columns of scores are authors: each has one in `training`.
    """

    training: Labels
    counts: Counts
    idf: npt.NDArray[np.float32]
    matrix: Any
    products: Similarities
    ridge: float

    @classmethod
    def on(cls, training: Labels, texts: list[str], labels: Labels, options: NgramOptions) -> _Fit:
        counts = count(texts, labels, options, training)
        idf = inverse_frequencies(counts, training)
        matrix = weigh(counts, idf)
        return cls(training, counts, idf, matrix, similarities(matrix, labels), options.ridge)

    def scores(self, documents: Labels) -> Scores:
        """Those of `documents`, [documents, authors]."""
        return self.products.scores(self.training, documents, self.ridge)[0]

    def scores_of(self, texts: list[str]) -> Scores:
        """Those of other `texts`, [texts, authors]."""
        dual, _ = self.products.solve(self.training, self.ridge)
        near = weigh(count_more(self.counts, texts), self.idf)
        return np.asarray(near @ (self.matrix[self.training].T @ dual) + dual.sum(axis=0))


def learn(
    corpus: Corpus,
    options: NgramOptions = NgramOptions(),
    told: Callable[[str], None] = lambda message: None,
    encoder: Held | None = None,
) -> Experts:
    """Fit the n-gram expert on the whole of `corpus`, and its rule on a shifted split; `told` hears what goes on.

    With `encoder`, its scores of documents that it has not seen, the rule is one for both experts.
    """
    texts = [tidy(document.text) for document in corpus.documents]
    labels = np.array([document.label for document in corpus.documents], dtype=np.int64)
    authors = len(corpus.authors)
    counts = count(texts, labels, options)
    idf = inverse_frequencies(counts, np.arange(len(labels)))
    told(f"{counts.matrix.shape[1]:,} n-grams in {len(counts.reader.views)} views of {len(labels)} documents")
    chosen = _sample(labels, DENSE_DOCUMENTS)
    matrix = weigh(counts, idf)
    products = similarities(matrix[chosen], labels[chosen])
    everybody = len(chosen) == len(labels)
    expert = fit(counts, labels, authors, options, (idf, products) if everybody else None)
    paths = [corpus.documents[index].path for index in chosen]
    training, held, how = shifted_split(paths, products.labels, products.near, HELD_OUT)
    warnings = []
    few = np.bincount(labels, minlength=authors)
    if np.min(few) < 10:
        names = [corpus.authors[i] for i in np.flatnonzero(few < 10)]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warnings.append(f"fewer than 10 documents by {', '.join(names[:3])}{more}: expect many wrong answers")
    if not len(held):
        warnings.append("nothing could be held out: probabilities are not calibrated, unknown authors not recognised")
        decision = _rule(ngram_weight=0.4, half_length=300.0, least_spread=0.1)
        return Experts(expert, decision, {"split": how}, tuple(warnings))
    if len(held) < 100:
        warnings.append(f"only {len(held)} documents to calibrate on: probabilities are rough")
    subset = [texts[index] for index in chosen]
    fitted = _Fit.on(training, subset, products.labels, options)
    scores, truth = fitted.scores(held), products.labels[held]
    sizes = _bytes([subset[index] for index in held])
    decision = confidence(scores, sizes, truth, *_short(fitted, subset, held))
    probabilities = _probabilities(scores, sizes, decision)
    compared = Compared.of(paths, products, matrix[chosen], counts, options.ridge)
    strangers = look_for_strangers(compared, subset, training, held, options)
    if strangers is not None:
        decision = replace(
            decision, false_attribution_thresholds=strangers.thresholds, known_author_rule=strangers.rule
        )
    if encoder is not None and everybody and len(encoder.validation):
        ngrams = _Fit.on(encoder.training, texts, labels, options).scores(encoder.validation)
        lengths = _bytes([texts[index] for index in encoder.validation])
        decision = stack(ngrams, encoder.scores, lengths, labels[encoder.validation], decision)
    elif encoder is not None:  # its weight stays `UNMEASURED`
        warnings.append("no held-out documents to weigh the encoder by: the n-grams answer without it")
    if strangers is None:
        warnings.append(
            "too few authors, or documents too much alike, to learn what an unknown author looks like: "
            "--max-false-attribution will not work"
        )
    elif authors < FEW_AUTHORS:
        warnings.append(
            f"only {authors} authors to learn what an unknown one looks like: "
            "the rates of --max-false-attribution are rough"
        )
    report = ({} if strangers is None else strangers.report) | {
        "split": how,
        "held_out": len(held),
        "accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
    }
    return Experts(expert, decision, report, tuple(warnings))


def _sample(labels: Labels, most: int) -> Labels:
    """Indices, ascending, of about `most` documents, spread evenly over those of each author.

    Of every author there are two at least, or the only one: whoever had none would have no score.
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


def _short(fitted: _Fit, texts: list[str], held: Labels) -> tuple[Scores, Labels, Labels]:
    """Scores of pieces of some held-out documents, from anywhere in them, their lengths in bytes and their authors."""
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
    """Lengths in bytes, as they count for the answer to a text."""
    return np.array([len(text.encode("utf-8", "replace")) for text in texts], dtype=np.int64)


def _probabilities(scores: Scores, sizes: Labels, decision: Decision) -> Scores:
    return np.exp(log_softmax(ngram_evidence(scores, sizes, decision) / decision.temperature))


def _loss(evidence: Scores, truth: Labels) -> float:
    """Mean cross-entropy; a pinch of doubt, as of one more document that was wrong, keeps weights finite."""
    logs = log_softmax(evidence)
    doubt = 1.0 / (len(truth) + 1)
    return float(-((1 - doubt) * logs[np.arange(len(truth)), truth] + doubt * logs.mean(axis=1)).mean())


def _rule(**changes: float) -> Decision:
    return Decision(rule="fusion", encoder_weight=UNMEASURED, spread=SPREAD, **changes)  # type: ignore[arg-type]


def confidence(
    scores: Scores, sizes: Labels, truth: Labels, short: Scores, short_sizes: Labels, short_truth: Labels
) -> Decision:
    """Weight and half-length under which the held-out documents, whole and cut short, are likeliest."""
    best = (np.inf, _rule(least_spread=float(np.quantile(scores.std(axis=1), FLOOR))))
    for half in HALF_LENGTHS:
        plain = replace(best[1], ngram_weight=1.0, half_length=half)
        evidence = ngram_evidence(scores, sizes, plain)
        weights = np.geomspace(0.02, 20.0, 140)
        losses = [_loss(evidence * weight, truth) for weight in weights]
        weight = float(weights[int(np.argmin(losses))])
        loss = min(losses)
        if len(short):
            loss += _loss(ngram_evidence(short, short_sizes, plain) * weight, short_truth)
        if loss < best[0]:
            best = (loss, replace(plain, ngram_weight=weight))
    return best[1]


def stack(ngrams: Scores, encoder: Scores, sizes: Labels, truth: Labels, decision: Decision) -> Decision:
    """The rule for both experts, from held-out documents that neither has seen.

    `ngrams` and `encoder` are scores and mean log-softmaxes [documents, authors]. Of the encoder's weights under which
    as many documents are answered rightly as by the n-grams alone, but for `OVERLOOKED` of them, the one that makes the
    documents likeliest is taken; an encoder that adds nothing gets none. How far these documents may be trusted is not
    learnt from them, who are nearer to the training documents than those to come: the temperature is what the encoder
    changes about that of the n-grams. From the probability `exit_threshold` on, the n-grams are not overruled but for
    `OVERLOOKED` of the documents.
    """
    alone = ngram_evidence(ngrams, sizes, decision)
    loss, heat = _coolest(alone, truth)
    best, least, own = (0.0, heat), loss, heat
    spared = int(OVERLOOKED * len(truth))
    right = (alone.argmax(axis=1) == truth).sum() - spared
    for weight in WEIGHTS:
        both = alone + weight * encoder
        loss, heat = _coolest(both, truth)
        if (both.argmax(axis=1) == truth).sum() >= right and loss < least - 1e-4:
            best, least = (weight, heat), loss
    weight, heat = best
    overruled = (alone + weight * encoder).argmax(axis=1) != alone.argmax(axis=1)
    surest = np.sort(np.exp(log_softmax(alone[overruled])).max(axis=1))[::-1]
    sure = float(np.nextafter(surest[spared], 1.0)) if len(surest) > spared else 0.0
    return replace(decision, encoder_weight=weight, temperature=heat / own, exit_threshold=sure)


def _coolest(evidence: Scores, truth: Labels) -> tuple[float, float]:
    """The least loss that a temperature between 0.4 and 4 can give, and that temperature, to within a thousandth."""
    optimize = require("scipy.optimize", "train")

    def loss(log_heat: float) -> float:  # has one minimum
        return _loss(evidence / np.exp(log_heat), truth)

    found = optimize.minimize_scalar(loss, bounds=np.log((0.4, 4.0)), method="bounded", options={"xatol": 1e-3})
    return float(found.fun), float(np.exp(found.x))
