"""``python -m bench conditions``: where the encoder helps beside the n-grams, by corpus and condition.

A CORPUS is a directory with one subdirectory of documents per author. Each author's last 40 % of documents by file name
are tested; a condition is how many of the others are learned from, and how many words of each text are read. Everything
else is as in ``authorid train --recipe probe``, except that no model is written: what the encoder reads, its ridge and
its weight are chosen on documents that are held out of those to learn from. So the weight in the table is the one that
training finds by itself. Results go to conditions.json and conditions.md, beside those of other corpora that are there.
What the encoder computes is cached, and so are the figures of each fit, until the program changes: with ``--minutes``
the work can be done in pieces.

``--long`` measures, too, how the accuracy of the encoder alone depends on how many windows of a long document it reads:
each author's tested documents are joined.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import authorid
from authorid.bundle.decision import Decision
from authorid.encoder.windows import Windower, evenly_spread
from authorid.errors import AuthoridError, expect
from authorid.machine import cpu_name
from authorid.outputs import atomic
from authorid.scoring.posterior import log_softmax, posterior
from authorid.scoring.stats import versions
from authorid.training.corpus import Corpus, load_corpus
from authorid.training.corpus_warnings import CorpusDocument
from authorid.training.encoder.backbone import backbone_of
from authorid.training.encoder.base_model import BaseModel, read_base_model
from authorid.training.encoder.document_features import document_features
from authorid.training.encoder.head_fit import HeadFit, choose_head, fit_head
from authorid.training.encoder.layer_classifier import LayerFeatures, build_window_features, columns
from authorid.training.encoder.model_directory import resolve_base_model
from authorid.training.encoder_weight import EncoderScores
from authorid.training.fusion import FusionFit, fit_fusion
from authorid.training.splits import last_split
from bench.condition_report import condition_table
from bench.processes import ROOT

__all__ = ["main"]

SCHEMA = 1
HELD_OUT, VALIDATION = 0.4, 0.2
"""Shares of each author's documents: those that are tested, and of the others those that choices are made on."""

LAYERS, RANDOM, WINDOW = 2, 1024, 128
"""The most layers that a head may read, its random features, and the tokens of a window."""

DOCUMENTS, WORDS, DRAWS = (2, 5, 10), (50, 100, 200), 3
SHORT_TEXT_AUTHORS = 25
"""The most authors in the conditions with short texts, for which the encoder has to read everything again."""
LONG_WINDOWS = (1, 2, 4, 8, 16, 32, 64, 0)

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the record and the table; the exit status is 1 if that is impossible."""
    options = _arguments(arguments)
    try:
        expect(("tensorflow", "keras", "keras_hub", "scipy"), "train")
        stem = options.out / "conditions"
        record = _joined(stem.with_suffix(".json"), _measure(options))
        stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        stem.with_suffix(".md").write_text(condition_table(record), "utf-8")
    except AuthoridError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(condition_table(record))
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench conditions", description=__doc__)
    add = parser.add_argument
    add("corpora", type=Path, nargs="+", metavar="CORPUS")
    add("--base-model", default="all-MiniLM-L6-v2", metavar="NAME", help="as for authorid train")
    add("--base-model-name", metavar="NAME", help="what the record calls it; default: the name of its directory or id")
    add("--out", type=Path, default=ROOT / "bench" / "results", metavar="DIR")
    add("--cache", type=Path, default=ROOT / ".cache" / "bench" / "conditions", metavar="DIR")
    add("--words", type=_numbers, default=WORDS, metavar="N,...", help="words of short texts; default: 50,100,200")
    add("--draws", type=int, default=DRAWS, help="draws of few documents an author, over which figures are averaged")
    add("--minutes", type=float, default=0, help="stop after so many; run again to go on; 0: never")
    add("--long", action="store_true", help="measure how many windows of long documents are enough, too")
    return parser.parse_args(arguments)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _joined(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record, behind the other corpora of the one at `path`, which stay unless its base model is another."""
    try:
        earlier = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return record
    measured = {corpus["name"] for corpus in record["corpora"]}
    if any(earlier[key] != record[key] for key in ("schema", "base_model", "draws")):
        return record
    return record | {
        "corpora": [each for each in earlier["corpora"] if each["name"] not in measured] + record["corpora"]
    }


@dataclass(frozen=True)
class _Condition:
    """So many documents an author to learn from, and so many words of every text; None: all."""

    documents: int | None = None
    words: int | None = None


@dataclass(frozen=True)
class _Measured:
    """Documents of a corpus, some words of each, as both models see them."""

    corpus: Corpus
    tokens: list[npt.NDArray[np.int32]]
    features: npt.NDArray[np.float32]
    windows: Labels

    @cached_property
    def labels(self) -> Labels:
        """The author of each document."""
        return np.array([document.label for document in self.corpus.documents], dtype=np.int64)


class _Clock:
    """A `Reporter` that shows progress; it ends the work, with an `AuthoridError`, when its minutes are over."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + minutes * 60 if minutes else float("inf")
        self._shown = 0.0

    def info(self, message: str) -> None:
        """Drop it."""

    warning = info

    def check(self) -> None:
        """End the work if its minutes are over."""
        if time.monotonic() > self._end:
            raise AuthoridError("the minutes are over; run again to go on")

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Show it every ten seconds."""
        self.check()
        now = time.monotonic()
        if now > self._shown + 10:
            self._shown = now
            sys.stderr.write(f"{done:,} of {total or 0:,} {detail}\n")


@dataclass(frozen=True)
class _FigureCache:
    """Figures of finished fits, one file each in the directory `root`."""

    root: Path
    clock: _Clock

    @cached_property
    def _program(self) -> bytes:
        """A digest of all code: other code may give other figures."""
        digest = hashlib.sha256(Path(__file__).read_bytes())
        for path in sorted(Path(authorid.__file__).parent.rglob("*.py")):
            digest.update(path.read_bytes())
        return digest.digest()

    def figures(
        self, seen: _Measured, training: Labels, tested: Labels, compute: Callable[[], dict[str, float]]
    ) -> dict[str, float]:
        """What `compute` returns, or has returned for the same documents."""
        digest = hashlib.sha256(self._program)
        for part in (seen.features, seen.labels, training, tested):
            digest.update(hashlib.sha256(np.ascontiguousarray(part).tobytes()).digest())
        for document in seen.corpus.documents:
            digest.update(hashlib.sha256(document.text.encode("utf-8", "replace")).digest())
        path = self.root / f"figures-{digest.hexdigest()[:16]}.json"
        if path.is_file():
            found: dict[str, float] = json.loads(path.read_text("utf-8"))
            return found
        self.clock.check()
        computed = compute()
        atomic.write_file(path, json.dumps(computed).encode())
        return computed


class _Encoder:
    """The features of the base model, with their cache."""

    def __init__(self, base: BaseModel, cache: Path, clock: _Clock) -> None:
        depth = min(LAYERS, base.geometry.num_layers)
        self.depth, self.width = depth, base.geometry.hidden_dim
        self._base = replace(base, geometry=replace(base.geometry, num_layers=depth))
        self._cache, self._clock = cache, clock
        self.results = _FigureCache(cache, clock)
        self.windower = Windower(base.tokenizer, min(WINDOW, base.geometry.max_sequence_length))

    @cached_property
    def _model(self) -> Any:
        return build_window_features(backbone_of(self._base), RANDOM)

    @property
    def candidates(self) -> list[tuple[LayerFeatures, Labels]]:
        """What a head may read, fastest first."""
        kinds = [LayerFeatures(tuple(range(last + 1)), own) for last in range(1, self.depth + 1) for own in (0, RANDOM)]
        return [(kind, columns(kind, self.depth, self.width, RANDOM)) for kind in kinds]

    def features(self, tokens: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.float32]:
        """The vectors [documents, size] of documents, from the cache where they are there."""
        digest = hashlib.sha256(f"{self._base.sha256()} {self.depth} {RANDOM} {WINDOW}".encode())
        for ids in tokens:
            digest.update(len(ids).to_bytes(8, "little") + ids.tobytes())
        state = self._cache / digest.hexdigest()[:16]
        state.mkdir(parents=True, exist_ok=True)
        return document_features(self._model, tokens, self.windower, state, self._clock)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole record."""
    encoder = _Encoder(read_base_model(resolve_base_model(options.base_model)), options.cache, _Clock(options.minutes))
    corpora = [load_corpus(path, typography="folded") for path in options.corpora]
    for corpus in corpora:
        for each in _conditions(corpus, options.words):
            if each.documents is None:  # all features, before anything is fitted
                encoder.features(_tokens(_part(corpus, each), each.words, encoder))
    found = []
    for corpus in corpora:
        rows = [_row(_part(corpus, each), encoder, each, options.draws) for each in _conditions(corpus, options.words)]
        entry = {"name": _name(corpus), "rows": rows}
        found.append(entry | ({"long": _long(corpus, encoder)} if options.long else {}))
    machine = {"cpu": cpu_name(), "versions": versions()}
    return {
        "schema": SCHEMA,
        "kind": "authorid conditions bench",
        "base_model": options.base_model_name or Path(options.base_model).name,
        "draws": options.draws,
        "machine": machine,
        "corpora": found,
    }


def _name(corpus: Corpus) -> str:
    """The name of the corpus: that of its directory, and of the one above where that is a part of it."""
    root = corpus.root.resolve()
    return root.parent.name if root.name in ("train", "known") else root.name


def _part(corpus: Corpus, condition: _Condition) -> Corpus:
    """The corpus for a condition: with short texts, at most `SHORT_TEXT_AUTHORS`, drawn with a fixed seed."""
    if condition.words is None or len(corpus.authors) <= SHORT_TEXT_AUTHORS:
        return corpus
    kept = sorted(random.Random(0).sample(range(len(corpus.authors)), SHORT_TEXT_AUTHORS))
    documents = tuple(
        replace(document, label=kept.index(document.label)) for document in corpus.documents if document.label in kept
    )
    return replace(corpus, authors=tuple(corpus.authors[index] for index in kept), documents=documents)


def _conditions(corpus: Corpus, words: Sequence[int]) -> Iterator[_Condition]:
    """The conditions that the corpus can fill."""
    training, _ = last_split(corpus, HELD_OUT)
    most = max(np.bincount([corpus.documents[index].label for index in training]))
    yield from (_Condition(documents=number) for number in DOCUMENTS if number < most)
    yield from (_Condition(words=number) for number in words)
    yield _Condition()


def _shorten(text: str, words: int | None) -> str:
    """The first `words` words of a text, with the space between them as it is."""
    beginning = None if words is None else re.match(rf"(?:\s*\S+){{1,{words}}}", text)
    return beginning[0] if beginning else text


def _tokens(corpus: Corpus, words: int | None, encoder: _Encoder) -> list[npt.NDArray[np.int32]]:
    return encoder.windower.token_ids([_shorten(document.text, words) for document in corpus.documents])


def _see(corpus: Corpus, words: int | None, encoder: _Encoder) -> _Measured:
    tokens = _tokens(corpus, words, encoder)
    documents = tuple(
        CorpusDocument(each.path, each.label, _shorten(each.text, words), "") for each in corpus.documents
    )
    windows = np.array([len(encoder.windower.windows(ids)) for ids in tokens], dtype=np.int64)
    return _Measured(replace(corpus, documents=documents), tokens, encoder.features(tokens), windows)


def _row(corpus: Corpus, encoder: _Encoder, condition: _Condition, draws: int) -> dict[str, Any]:
    """The figures of a condition; of few documents an author, the means over several draws."""
    seen = _see(corpus, condition.words, encoder)
    training, tested = (np.array(part, dtype=np.int64) for part in last_split(corpus, HELD_OUT))
    results = []
    for draw in range(1 if condition.documents is None else draws):
        started = time.monotonic()
        chosen = training if condition.documents is None else _drawn(seen, training, condition.documents, draw)
        compute = partial(_figures, seen, chosen, tested, encoder)
        results.append(encoder.results.figures(seen, chosen, tested, compute))
        sys.stderr.write(f"{corpus.root.name} {condition} {draw}: {results[-1]} ({time.monotonic() - started:.0f} s)\n")
    return {
        "authors": len(corpus.authors),
        "documents": condition.documents,
        "words": condition.words,
        "training": len(chosen),
        "tested": len(tested),
        **{name: round(float(np.mean([result[name] for result in results])), 4) for name in results[0]},
    }


def _drawn(seen: _Measured, training: Labels, number: int, draw: int) -> Labels:
    """At most `number` of the training documents of each author, ascending."""
    kept: list[int] = []
    for label in range(len(seen.corpus.authors)):
        own = training[seen.labels[training] == label].tolist()
        random.Random(f"{label} {draw}").shuffle(own)
        kept += own[:number]
    return np.array(sorted(kept), dtype=np.int64)


def _figures(seen: _Measured, training: Labels, tested: Labels, encoder: _Encoder) -> dict[str, float]:
    """Train on some documents, and the accuracy of each model, and of both, on the tested ones."""
    corpus = replace(seen.corpus, documents=tuple(seen.corpus.documents[index] for index in training))
    inner = tuple(np.array(part, dtype=np.int64) for part in last_split(corpus, VALIDATION))
    if not len(inner[1]):
        raise AuthoridError(f"{corpus.root}: no document can be held out")
    features, labels = seen.features[training], seen.labels[training]
    choice = choose_head(encoder.candidates, features, labels, (inner[0], inner[1]))
    own = dict(encoder.candidates)[choice.features]
    head = fit_head(features[:, own], labels, len(corpus.authors), choice.ridge).times(choice.factor)
    scores = EncoderScores(inner[0], inner[1], choice.log_softmax, seen.windows[training][inner[1]])
    fitted = fit_fusion(corpus, encoder=scores, open_set=False)
    alone, both = _answers(
        fitted,
        [seen.corpus.documents[index].text for index in tested],
        log_softmax(head.scores(seen.features[tested][:, own])),
    )
    truth = seen.labels[tested]
    encoded = head.scores(seen.features[tested][:, own])
    return {
        "ngrams": float((alone.argmax(axis=1) == truth).mean()),
        "encoder": float((encoded.argmax(axis=1) == truth).mean()),
        "both": float((both.argmax(axis=1) == truth).mean()),
        "weight": fitted.decision.encoder_weight,
        "ngrams_loss": _loss(alone, truth),
        "both_loss": _loss(both, truth),
    }


def _loss(probabilities: Scores, truth: Labels) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean())


def _answers(fitted: FusionFit, texts: Sequence[str], encoded: Scores) -> tuple[Scores, Scores]:
    """Probabilities [documents, authors] of the n-grams alone and of both models."""
    decision: Decision = fitted.decision
    ngrams = np.concatenate([fitted.ngrams.score_texts(texts[i : i + 128]).scores for i in range(0, len(texts), 128)])
    sizes = [len(text.encode("utf-8", "replace")) for text in texts]
    alone = posterior(None, decision, ngrams, sizes)
    rows = zip(ngrams, encoded, sizes, strict=True)
    return alone, np.array([posterior(own[None], decision, row, size) for row, own, size in rows])


def _long(corpus: Corpus, encoder: _Encoder) -> list[dict[str, Any]]:
    """The accuracy of the encoder alone on the joined tested documents of each author, by the number of windows read.

    The tested documents of an author make two long ones. Windows are chosen as `Windower` chooses them.
    """
    seen = _see(corpus, None, encoder)
    training, tested = (np.array(part, dtype=np.int64) for part in last_split(corpus, HELD_OUT))
    inner = tuple(
        np.array(part, dtype=np.int64)
        for part in last_split(
            replace(corpus, documents=tuple(corpus.documents[index] for index in training)), VALIDATION
        )
    )
    choice = choose_head(encoder.candidates, seen.features[training], seen.labels[training], (inner[0], inner[1]))
    own = dict(encoder.candidates)[choice.features]
    head = fit_head(seen.features[training][:, own], seen.labels[training], len(corpus.authors), choice.ridge)
    logits, truth = _long_logits(seen, tested, encoder, head.times(choice.factor), own)
    return [_read_some(logits, truth, most) for most in LONG_WINDOWS]


def _long_logits(
    seen: _Measured, tested: Labels, encoder: _Encoder, head: HeadFit, own: Labels
) -> tuple[list[Scores], Labels]:
    """The log-softmaxes [windows, authors] of each long document, and the authors."""
    windows: list[npt.NDArray[np.int32]] = []
    owners: list[int] = []
    truth: list[int] = []
    for label in range(len(seen.corpus.authors)):
        documents = tested[seen.labels[tested] == label]
        for part in np.array_split(documents, 2):
            if len(part):
                ids = np.concatenate([seen.tokens[index] for index in part])
                cut = encoder.windower.windows(ids)
                windows += [window.ids[1:-1] for window in cut]
                owners += [len(truth)] * len(cut)
                truth.append(label)
    scores = log_softmax(head.scores(encoder.features(windows)[:, own]))
    return [scores[np.array(owners) == number] for number in range(len(truth))], np.array(truth)


def _read_some(logits: Sequence[Scores], truth: Labels, most: int) -> dict[str, Any]:
    means = np.array([own[list(evenly_spread(len(own), most or len(own)))].mean(axis=0) for own in logits])
    return {
        "windows": most,
        "accuracy": round(float((means.argmax(axis=1) == truth).mean()), 4),
        "log_loss": round(float(-log_softmax(means)[np.arange(len(truth)), truth].mean()), 4),
        "documents": len(truth),
        "mean_windows": round(float(np.mean([len(own) for own in logits])), 1),
    }
