"""A fine-tuned text classifier in Hugging Face layout, of a family that the emitter can build."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision, Rule
from authorid.bundle.effort import NOT_MEASURED, EffortRule
from authorid.bundle.manifest import Classes, Precision, Typography, WindowSpec
from authorid.encoder.windows import Windower
from authorid.errors import BundleCorruptError, ExportError, require
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import LEAST_LENGTH, ExportOptions
from authorid.export.sources.classifier_config import ClassifierConfig, read_config
from authorid.export.sources.huggingface_tokenizer import ClassifierTokenizer, read_classifier_tokenizer
from authorid.export.sources.huggingface_weights import ClassifierTensors, from_huggingface, obstacle
from authorid.export.sources.source import CorpusRecord, Reference
from authorid.export.sources.tf2onnx_reference import keras_reference
from authorid.export.sources.torch_pickle import PICKLED
from authorid.ngrams.model import NgramModel
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.encoder.model_directory import SAFETENSORS, ModelDirectory, Tensors

__all__ = ["HuggingFaceClassifier", "HuggingFaceDirectory", "has_weights", "read_classifier"]

_LONGEST = 512
"""Tokens that a model reads at most, where its directory does not say."""

_DROPPED = ("_name_or_path", "auto_map", "transformers_version")
"""Settings of config.json that a bundle does not have: they may name a path, or mean nothing for it."""


@dataclass(frozen=True)
class HuggingFaceClassifier:
    """What all sources in this layout have in common: `config`, tokenizer, and how documents are cut.

    `positions` is how many tokens the model can read; None: as many as its tokenizer says.
    """

    directory: ModelDirectory
    configuration: ClassifierConfig
    tokenizer: ClassifierTokenizer
    options: ExportOptions
    positions: int | None = None
    classes: Classes = "labels"
    typography: Typography = "kept"
    more_warnings: tuple[str, ...] = field(default=())

    @property
    def precision(self) -> Precision:
        """That of the weights."""
        return "fp32"

    @property
    def corpus(self) -> CorpusRecord | None:
        """None: nobody recorded it."""
        return None

    @property
    def path(self) -> Path:
        """The directory."""
        return self.directory.root

    @property
    def family(self) -> str:
        """The ``model_type`` of config.json."""
        return self.configuration.family

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of config.json."""
        return self.configuration.labels

    @property
    def rule(self) -> Rule:
        """As transformers' pipeline has it."""
        return self.configuration.rule

    @cached_property
    def window(self) -> WindowSpec:
        """One window at the model's own length, as other tools truncate; or windows over the whole document.

        Raises `ExportError` when the options ask for more tokens than the model can read.
        """
        known = [length for length in (self.positions, self.tokenizer.longest) if length is not None]
        own = min(known, default=_LONGEST)
        length = self.options.max_length or own
        if length > own:
            raise ExportError(f"{self.path}: the model reads at most {own} tokens; --max-length {length} is too long")
        if length < LEAST_LENGTH:
            raise ExportError(f"{self.path}: the model reads at most {length} tokens, which is no room for a text")
        special = Windower(self.tokenizer.tokenizer, length).special_tokens
        return WindowSpec(length, length - special, truncate=not self.options.windows)

    @property
    def record(self) -> Mapping[str, Any]:
        """Where the model comes from: its name and the digest of its files."""
        return {"source": {"name": self.path.resolve().name, "sha256": self.directory.sha256()}}

    @property
    def config(self) -> str:
        """config.json with the labels, and without what means nothing in a bundle."""
        kept = {name: value for name, value in self.configuration.record.items() if name not in _DROPPED}
        kept["id2label"] = {str(index): label for index, label in enumerate(self.labels)}
        kept["label2id"] = {label: index for index, label in enumerate(self.labels)}
        return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """As the directory names them."""
        return self.tokenizer.special

    @property
    def warnings(self) -> tuple[str, ...]:
        """About the tokenizer, and about how the model is exported."""
        return (*self.tokenizer.warnings, *self.more_warnings)

    def windower(self) -> Windower:
        """The tokenizer, cutting documents as `window` says; raises `ExportError` when its template is unknown."""
        spec = self.window
        try:
            return Windower(self.tokenizer.tokenizer, spec.length, spec.stride, truncate=spec.truncate)
        except BundleCorruptError as error:
            raise ExportError(f"{self.path}: {error}") from None

    @property
    def effort_rule(self) -> EffortRule:
        """Not measured."""
        return NOT_MEASURED

    def ngrams(self) -> tuple[NgramModel, Decision] | None:
        """None."""
        return None


@dataclass(frozen=True)
class HuggingFaceDirectory(HuggingFaceClassifier):
    """A `Source`: BERT, DistilBERT, RoBERTa, XLM-RoBERTa, CamemBERT or ELECTRA with its classification head."""

    description: ClassVar[str] = "a fine-tuned classifier in Hugging Face layout (a directory with config.json)"

    framework: str = "Keras"
    tensors: ClassifierTensors = field(kw_only=True, repr=False)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether there is a config.json of a family that the emitter can build, and no graph in place of weights."""
        if not (path / "config.json").is_file() or (not has_weights(path) and any(path.glob("**/*.onnx"))):
            return False
        return _can_be_emitted(path)

    @classmethod
    def open(cls, path: Path, options: ExportOptions) -> HuggingFaceDirectory:
        """Read all but the weights; raises `ExportError` and `BaseModelError`."""
        directory, config, tokenizer = read_classifier(path)
        tensors = ClassifierTensors(config, _weights(directory, options))
        return cls(directory, config, tokenizer, options, tensors.positions, tensors=tensors)

    def require_packages(self) -> None:
        """Import Keras and the converters; raises `MissingExtraError`."""
        import_keras()  # first: it sets the log level of TensorFlow, which the others import
        for module in ("keras_hub", "onnx", "tf2onnx"):
            require(module, "train")

    def weights(self) -> EncoderWeights:
        """The weights in the directory's files."""
        return from_huggingface(self.tensors)

    def reference(self, windows: Sequence[npt.NDArray[np.int32]]) -> Reference:
        """The same weights in keras-hub's layers, which are gone afterwards: converted by tf2onnx, and computed."""
        from authorid.export.sources.keras_twin import keras_classifier

        return keras_reference(keras_classifier(self.tensors), windows, len(self.labels))


def read_classifier(path: Path) -> tuple[ModelDirectory, ClassifierConfig, ClassifierTokenizer]:
    """Read the directory of a classifier, but not its weights; raises `ExportError` and `BaseModelError`."""
    directory = ModelDirectory(path)
    record = directory.json("config.json", "a model in Hugging Face layout has one")
    config = read_config(path / "config.json", record)
    return directory, config, read_classifier_tokenizer(directory, record)


def has_weights(path: Path) -> bool:
    """Whether the directory has weights from which a graph can be made."""
    return any(any(path.glob(pattern)) for pattern in ("*.safetensors", "*.bin", "*.index.json", "*.h5", "*.msgpack"))


def _can_be_emitted(path: Path) -> bool:
    """False also where the configuration cannot be read or is refused; another source, or `read_config`, says why."""
    try:
        record = ModelDirectory(path).json("config.json", "")
        config = read_config(path / "config.json", record)
    except Exception:  # whatever is wrong with it, it is reported when it is opened
        return True
    return obstacle(config) is None


def _weights(directory: ModelDirectory, options: ExportOptions) -> Tensors:
    """Tensors of safetensors files, or of PyTorch's if that is allowed."""
    if any(directory.has(name) for name in (SAFETENSORS.single, SAFETENSORS.index)):
        return directory.weights()
    if any(directory.has(name) for name in (PICKLED.single, PICKLED.index)):
        if not options.allow_pickle:
            raise ExportError(
                f"{directory.root}: only {PICKLED.single}, which is a pickle and could run code when other tools open "
                "it; pass --allow-pickle to read just its tensors, or save the model as safetensors"
            )
        return directory.weights(PICKLED)
    return directory.weights()
