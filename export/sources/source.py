"""What the exporter needs to know about a trained classifier, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision, Rule
from authorid.bundle.effort import EffortRule
from authorid.bundle.manifest import Classes, Precision, Typography, WindowSpec
from authorid.encoder.windows import Windower
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import ExportOptions
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.ngrams.model import NgramModel
from authorid.outputs.directory import Content
from authorid.training.corpus_spec import CorpusSpec

__all__ = ["CorpusRecord", "Reference", "Source"]


@dataclass(frozen=True, slots=True)
class CorpusRecord:
    """The corpus that a classifier was trained on: its `name`, its `path` at that time, and the digest of its texts.

    `training` and `validation` are paths of documents, relative to the corpus. `reading` is how it was read, as
    `CorpusSpec.to_json` gives it. With `refitted` the classifier has been fitted to all of them in the end.
    """

    name: str
    path: Path | None
    digest: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    reading: Mapping[str, Any] = field(default_factory=dict)
    refitted: bool = False

    def spec(self, path: Path) -> CorpusSpec:
        """The same corpus, or another one to be read alike, at `path`; raises `RunError`."""
        return replace(CorpusSpec.from_json(path, self.reading), all_authors=True)


class Reference(NamedTuple):
    """What emitted graphs are compared with: a float32 graph from another converter, and the framework's own answers.

    `logits` [n, labels] are None where no framework computes any.
    """

    graph: OnnxGraph
    logits: npt.NDArray[np.float32] | None = None


class Source(Protocol):
    """A trained classifier on disk. Each layout has one class in this package, registered in `SOURCES`."""

    description: ClassVar[str]
    """What `open` takes, for the message when no source recognises a path."""

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` holds a classifier of this kind; reads little and never raises."""

    @classmethod
    def open(cls, path: Path, options: ExportOptions) -> Self:
        """Read and check all but the weights; raises a subclass of `AuthoridError` when something is wrong."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def framework(self) -> str:
        """Name of what computes the logits of `reference`, for the parity table."""

    @property
    def family(self) -> str:
        """The ``model_type`` of Hugging Face."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""

    @property
    def classes(self) -> Classes:
        """Whether the classes are authors."""

    @property
    def rule(self) -> Rule:
        """The decision rule without n-grams: what the logits mean."""

    @property
    def window(self) -> WindowSpec:
        """How the classifier expects documents to be cut."""

    @property
    def typography(self) -> Typography:
        """Whether the classifier was trained on texts with folded typography."""

    @property
    def precision(self) -> Precision:
        """The precision of the reference graph."""

    @property
    def corpus(self) -> CorpusRecord | None:
        """The training corpus, if there is a record of it."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What is known about the model, with the keys of a run's run.json, for provenance and the model card."""

    @property
    def config(self) -> Content:
        """The content of config.json, or the path of that file."""

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """The special tokens of the tokenizer, by their roles (``pad_token``, ...)."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about the source."""

    def require_packages(self) -> None:
        """Import what the methods below need; raises `MissingExtraError`."""

    def windower(self) -> Windower:
        """The tokenizer and window cutter of the classifier."""

    def ngrams(self) -> tuple[NgramModel, Decision] | None:
        """The n-gram model beside the encoder and the decision rule for both, if there is one."""

    @property
    def effort_rule(self) -> EffortRule:
        """When the encoder is worth its time beside the n-gram model."""

    def weights(self) -> EncoderWeights | None:
        """The weights; None when the emitter cannot build the architecture, and the reference graph is to be used."""

    def reference(self, windows: Sequence[npt.NDArray[np.int32]]) -> Reference:
        """What emitted graphs are compared with; its logits are those of `windows` (int32 [s] each)."""
