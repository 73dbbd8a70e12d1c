"""What a fine-tuning needs before its first step: the corpus, the compiled model, and its examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Typography
from authorid.encoder.windows import Windower
from authorid.errors import CorpusError, RunError
from authorid.reporter import Reporter
from authorid.training.corpus import Corpus, load_corpus, load_known_corpus
from authorid.training.corpus_spec import LEAVE_OUT, CorpusSpec
from authorid.training.encoder.backbone import backbone_of
from authorid.training.encoder.base_model import BaseModel
from authorid.training.encoder.classifier import POLICIES, Geometry, build_classifier, freeze_embeddings
from authorid.training.encoder.epochs import ValidationSet, compile_model
from authorid.training.encoder.examples import Examples
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.recipes import TrainingOptions
from authorid.training.splits import split

__all__ = ["Corpora", "Preparation", "TokenizedCorpus", "load_corpora", "prepare", "tokenize"]

Split = tuple[list[int], list[int]]
"""Indices of the training and of the validation documents."""

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Corpora:
    """The corpus to train on, and the one, if any, to evaluate the finished model on."""

    training: Corpus
    test: Corpus | None

    def split(self, options: TrainingOptions) -> Split:
        """Split the training corpus; raises `CorpusError`."""
        return split(self.training, options)


@dataclass(frozen=True, slots=True)
class TokenizedCorpus:
    """A corpus as an encoder reads it: the token ids of each document, and what cuts them into windows."""

    windower: Windower
    tokens: list[IntArray]

    def windows(self, document: int) -> list[IntArray]:
        """The windows of the document with this index."""
        return [window.ids for window in self.windower.windows(self.tokens[document])]


@dataclass(frozen=True, slots=True)
class Preparation:
    """Everything that the epochs and the record of a fine-tuning need.

    `model` is compiled; `head` is the activation of its hidden layer, None without one. `split` holds the indices of
    the training and of the validation documents in `corpus`.
    """

    corpus: Corpus
    split: Split
    base: BaseModel
    options: TrainingOptions
    tokenizer: Any
    windower: Windower
    geometry: Geometry
    head: str | None
    model: Any
    examples: Examples
    validation: ValidationSet


def load_corpora(
    corpus: Path | CorpusSpec, test_corpus: Path | None, typography: Typography, reporter: Reporter
) -> Corpora:
    """Read the corpora, both as `corpus` says, and report their warnings; raises `CorpusError`."""
    training = load_corpus(corpus, typography=typography)
    test = None
    if test_corpus is not None:
        spec = CorpusSpec.of(corpus).at(Path(test_corpus))
        test = load_known_corpus(spec, training.authors, LEAVE_OUT, typography)
    reporter.info(training.summary)
    for warning in (*training.warnings, *(test.warnings if test else ())):
        reporter.warning(warning)
    return Corpora(training, test)


def prepare(corpus: Corpus, chosen: Split, base: BaseModel, options: TrainingOptions) -> Preparation:
    """Build and compile the classifier, and cut the documents into windows.

    Everything is checked before Keras is imported, which takes many seconds. Sets the random seeds of Python, numpy and
    TensorFlow. Raises `RunError` when base model and options do not fit, and
    `CorpusError` when an author has no document left to train on.
    """
    geometry = base.geometry
    tokenized = tokenize(corpus, chosen, base, options)
    windower, tokens = tokenized.windower, tokenized.tokens
    training, validation = chosen
    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    backbone = backbone_of(base, POLICIES[options.precision])
    if options.freeze_embeddings:
        freeze_embeddings(backbone)
    head = _head(geometry, options)
    model = build_classifier(backbone, len(corpus.authors), options.pooling, head, options.dropout, options.funnel)
    compile_model(keras, model, options)
    return Preparation(
        corpus=corpus,
        split=chosen,
        base=base,
        options=options,
        tokenizer=base.tokenizer,
        windower=windower,
        geometry=geometry,
        head=head,
        model=model,
        examples=Examples(
            [tokens[index] for index in training],
            [corpus.documents[index].label for index in training],
            windower,
            options,
            segments=geometry.num_segments > 0,
        ),
        validation=_validation_set(corpus, validation, tokenized),
    )


def tokenize(corpus: Corpus, chosen: Split, base: BaseModel, options: TrainingOptions) -> TokenizedCorpus:
    """Tokenize the documents of `corpus`, of which the `chosen` ones are trained on.

    Raises `RunError` when base model and options do not fit, and `CorpusError` when an author has no document left to
    train on.
    """
    windower = _windower(base.tokenizer, base.geometry, options)
    _check_tokenizer(windower, base.geometry, options)
    tokens = windower.token_ids([document.text for document in corpus.documents])
    _check_authors(corpus, {corpus.documents[index].label for index in chosen[0] if len(tokens[index])})
    return TokenizedCorpus(windower, tokens)


def _validation_set(corpus: Corpus, validation: Sequence[int], tokenized: TokenizedCorpus) -> ValidationSet:
    return ValidationSet(
        [tokenized.windows(index) for index in validation],
        np.array([corpus.documents[index].label for index in validation], dtype=np.int64),
    )


def _windower(tokenizer: Any, geometry: Geometry, options: TrainingOptions) -> Windower:
    window = options.window
    if window > geometry.max_sequence_length:
        if not options.truncate:
            raise RunError(f"window {window} is longer than the encoder's {geometry.max_sequence_length} tokens")
        window = geometry.max_sequence_length
    return Windower(tokenizer, window, min(options.stride, window - 2), truncate=options.truncate)


def _head(geometry: Geometry, options: TrainingOptions) -> str | None:
    """Return the activation of the hidden layer: for the classic recipe that of the family's classification head."""
    if options.recipe != "classic":
        return None
    return "relu" if geometry.family == "distilbert" else "tanh"


def _check_tokenizer(windower: Windower, geometry: Geometry, options: TrainingOptions) -> None:
    """Raise `RunError` unless tokenizer, encoder and options fit together."""
    size = windower.tokenizer.get_vocab_size(with_added_tokens=True)
    if size > geometry.vocabulary_size:
        raise RunError(f"{options.base_model}: the tokenizer has {size} tokens, the encoder {geometry.vocabulary_size}")
    if options.topic_dropout and windower.tokenizer.token_to_id("[MASK]") is None:
        raise RunError(f"{options.base_model}: topic dropout needs a [MASK] token; set topic_dropout to 0")


def _check_authors(corpus: Corpus, trained: set[int]) -> None:
    """Raise `CorpusError` unless every author is among the labels `trained`, those of documents with tokens."""
    for label, author in enumerate(corpus.authors):
        if label not in trained:
            raise CorpusError(f"{corpus.root / author}: no document of this author is left to train on")
