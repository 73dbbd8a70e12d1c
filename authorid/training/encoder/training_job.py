"""What the training of an encoder is given, and what comes out of it, whatever the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.encoder.windows import Windower
from authorid.outputs.directory import Workspace
from authorid.reporter import Reporter
from authorid.training.corpus import Corpus
from authorid.training.encoder.base_model import BaseModel
from authorid.training.encoder.classifier import Geometry
from authorid.training.encoder.epochs import History
from authorid.training.encoder.preparation import Split
from authorid.training.recipes import TrainingOptions
from authorid.training.run_directory import Existing

__all__ = ["Trained", "TrainingJob"]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A corpus with its split, the base model, and where the run is to be written.

    `plan` is what must stay the same when the training is resumed (`authorid.training.encoder.checkpoint`).
    """

    corpus: Corpus
    split: Split
    base: BaseModel
    options: TrainingOptions
    plan: Mapping[str, Any]
    workspace: Workspace
    existing: Existing
    reporter: Reporter


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained Keras classifier in float32.

    `windows` is the number of windows that it was trained on. `held_out` [validation, authors] are mean log-softmaxes
    for the validation documents, by a model that was not trained on them. `head` is the activation of the head's hidden
    layer, None without one. `details` are more entries for run.json.
    """

    training_id: str
    model: Any
    history: History
    windower: Windower
    geometry: Geometry
    windows: int
    held_out: npt.NDArray[np.float64]
    head: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
