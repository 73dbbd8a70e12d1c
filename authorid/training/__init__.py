"""Training: a directory of authors becomes a `Run`.

This package imports Keras (extra ``train``) only when it is needed.
"""

from authorid.evaluation.plots import plot_history
from authorid.training.corpus import Corpus, load_corpus
from authorid.training.corpus_spec import CorpusSpec
from authorid.training.encoder.backbone import load_backbone
from authorid.training.encoder.classifier import Geometry, build_classifier
from authorid.training.encoder.examples import prepare_batched
from authorid.training.encoder.model_directory import BaseModelError
from authorid.training.encoder.train import train
from authorid.training.recipes import TrainingOptions
from authorid.training.runs import Run

__all__ = [
    "BaseModelError",
    "Corpus",
    "CorpusSpec",
    "Geometry",
    "Run",
    "TrainingOptions",
    "build_classifier",
    "load_backbone",
    "load_corpus",
    "plot_history",
    "prepare_batched",
    "train",
]
