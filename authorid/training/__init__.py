"""Fine-tuning: a directory of authors becomes a `Run`.

Importing this is cheap; Keras is imported when something is built (extra ``train``).
"""

from authorid.evaluation.plots import plot_history
from authorid.training.backbone import BaseModelError, load_backbone
from authorid.training.batches import prepare_batched
from authorid.training.corpus import Corpus, load_corpus
from authorid.training.loop import Progress, train
from authorid.training.model import Geometry, build_classifier
from authorid.training.recipes import TrainingOptions
from authorid.training.runs import Run

__all__ = [
    "BaseModelError",
    "Corpus",
    "Geometry",
    "Progress",
    "Run",
    "TrainingOptions",
    "build_classifier",
    "load_backbone",
    "load_corpus",
    "plot_history",
    "prepare_batched",
    "train",
]
