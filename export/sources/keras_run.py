"""A run directory of ``authorid train``: a Keras classifier with its tokenizer, corpus record and n-gram model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision, Rule
from authorid.bundle.effort import EffortRule
from authorid.bundle.manifest import Classes, Precision, Typography, WindowSpec
from authorid.encoder.windows import Windower
from authorid.errors import ExportError, require
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import ExportOptions
from authorid.export.sources.keras_weights import from_keras
from authorid.export.sources.source import CorpusRecord, Reference
from authorid.export.sources.tf2onnx_reference import keras_reference
from authorid.ngrams.model import NgramModel
from authorid.outputs.directory import unfinished_work
from authorid.training.encoder.base_tokenizer import BERT_TOKENS
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.runs import Run

__all__ = ["KerasRun"]


@dataclass(frozen=True)
class KerasRun:
    """A `Source`: the finished training run `run`."""

    description: ClassVar[str] = "a training run (a directory with run.json)"

    run: Run
    framework: str = "Keras"
    classes: Classes = "authors"
    rule: Rule = "mean-log-softmax"
    precision: Precision = "fp32"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether there is a run.json, or an unfinished training, which `open` refuses."""
        return (path / "run.json").is_file() or bool(unfinished_work(path))

    @classmethod
    def open(cls, path: Path, options: ExportOptions) -> KerasRun:
        """Read run.json; raises `RunError`, and `ExportError` for options that are for models from elsewhere."""
        run = Run.load(path)
        if options.windows or options.max_length is not None or options.allow_pickle:
            raise ExportError(
                f"{path}: a training run reads documents as it was trained to; leave out --windows, "
                "--max-length and --allow-pickle"
            )
        return cls(run)

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.run.path

    @property
    def family(self) -> str:
        """That of the base model."""
        return self.run.geometry.family

    @property
    def labels(self) -> tuple[str, ...]:
        """The authors."""
        return self.run.authors

    @property
    def window(self) -> WindowSpec:
        """Window and stride of the training."""
        return WindowSpec(self.run.window, self.run.stride, self.run.truncate)

    @property
    def typography(self) -> Typography:
        """As in the training."""
        return self.run.options.typography

    @property
    def corpus(self) -> CorpusRecord:
        """The corpus as run.json describes it."""
        record = self.run.record["corpus"]
        path = record.get("path")
        return CorpusRecord(
            name=record.get("name", "the corpus"),
            path=Path(path) if path else None,
            digest=self.run.corpus_digest,
            training=self.run.training,
            validation=self.run.validation,
            reading=record.get("reading", {}),
            refitted=self.run.features is not None,
        )

    @property
    def record(self) -> Mapping[str, Any]:
        """The contents of run.json."""
        return self.run.record

    @property
    def config(self) -> Path:
        """config.json of the run."""
        return self.run.path / "config.json"

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """BERT's: base models of a run are of its family."""
        known = self.run.windower().tokenizer.token_to_id
        return {role: token for role, token in BERT_TOKENS.items() if known(token) is not None}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whether the run lacks digests."""
        return self.run.warnings

    def require_packages(self) -> None:
        """Import Keras and the converters; raises `MissingExtraError`."""
        # Keras first: import_keras sets the log level of TensorFlow, which the others import.
        import_keras()
        for module in ("onnx", "tf2onnx"):
            require(module, "train")

    def windower(self) -> Windower:
        """The tokenizer and window cutter of the run."""
        return self.run.windower()

    def ngrams(self) -> tuple[NgramModel, Decision] | None:
        """The n-gram model of the run and its decision rule, if it has one; raises `RunError`."""
        return self.run.load_fusion()

    @property
    def effort_rule(self) -> EffortRule:
        """As the training measured it; raises `RunError`."""
        return self.run.effort_rule

    def weights(self) -> EncoderWeights:
        """The weights of the Keras model."""
        return from_keras(self._model)

    def reference(self, windows: Sequence[npt.NDArray[np.int32]]) -> Reference:
        """The Keras model, converted by tf2onnx, and what it computes."""
        return keras_reference(self._model, windows, len(self.labels))

    @cached_property
    def _model(self) -> Any:
        return self.run.keras_model()
