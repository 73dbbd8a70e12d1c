"""What the config.json of a fine-tuned classifier says: its family, its labels, and what its logits mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authorid.bundle.decision import Rule
from authorid.errors import ExportError

__all__ = ["ClassifierConfig", "read_config"]

_CLASSIFIER = "ForSequenceClassification"

_OTHER_TASKS = (
    ("ForConditionalGeneration", "a text-to-text model"),
    ("ForCausalLM", "a model that generates text"),
    ("LMHeadModel", "a model that generates text"),
    ("ForImageClassification", "an image model"),
    ("ForAudioClassification", "an audio model"),
    ("ForTokenClassification", "a model that labels tokens, not documents"),
    ("ForQuestionAnswering", "a model that answers questions"),
    ("ForMultipleChoice", "a model that chooses among several texts"),
)
"""Endings of the names of other architectures, and what these are."""

_OTHER_INPUTS = ("vision_config", "image_size", "num_mel_bins", "feat_extract_norm")
"""Settings that only models of images or sounds have."""


@dataclass(frozen=True, slots=True)
class ClassifierConfig:
    """The configuration at `path`: its content `record`, the `labels` in the order of the logits, and their `rule`.

    `family` is the ``model_type``, `architecture` the name of the class in transformers, empty if it is not recorded.
    """

    path: Path
    record: Mapping[str, Any]
    family: str
    architecture: str
    labels: tuple[str, ...]
    rule: Rule

    def number(self, name: str, default: int | None = None) -> int:
        """The whole number `name`, 1 or more; raises `ExportError`."""
        value = self.record.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ExportError(f"{self.path}: {name} must be a whole number from 1, got {value!r}")
        return value


def read_config(path: Path, record: Mapping[str, Any]) -> ClassifierConfig:
    """Check `record`, the content of the config.json at `path`.

    Raises `ExportError` when it is not the configuration of a text classifier that runs without code of its own.
    """
    if "auto_map" in record:
        raise ExportError(
            f"{path}: the model brings code of its own (auto_map), which is never run; it cannot be exported"
        )
    family = record.get("model_type")
    if not isinstance(family, str):
        raise ExportError(f"{path}: has no model_type; this is not a model in Hugging Face layout")
    architectures = record.get("architectures") or [""]
    architecture = str(architectures[0]) if isinstance(architectures, list) else ""
    _check_architecture(path, record, family, architecture)
    labels = _labels(path, record)
    return ClassifierConfig(path, record, family, architecture, labels, _rule(path, record, len(labels)))


def _check_architecture(path: Path, record: Mapping[str, Any], family: str, architecture: str) -> None:
    if architecture.endswith(_CLASSIFIER):
        return
    what = next((what for ending, what in _OTHER_TASKS if architecture.endswith(ending)), None)
    if what is None and any(name in record for name in _OTHER_INPUTS):
        what = "not a model of text"
    if what is None and record.get("is_encoder_decoder"):
        what = "a text-to-text model"
    shown = architecture or family
    if what is not None:
        raise ExportError(f"{path}: {shown} is {what}; only text classifiers (...{_CLASSIFIER}) can be exported")
    if architecture:
        raise ExportError(
            f"{path}: {shown} has no classification head; fine-tune it first, for example with "
            f"authorid train CORPUS --base-model {path.parent}"
        )


def _labels(path: Path, record: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of ``id2label``; without them, the names that transformers gives."""
    count = record.get("num_labels", 2)
    named = record.get("id2label")
    if named is None:
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1_000_000:
            raise ExportError(f"{path}: num_labels must be a whole number from 1, got {count!r}")
        return tuple(f"LABEL_{index}" for index in range(count))
    try:
        labels = {int(index): str(label) for index, label in named.items()}
    except (AttributeError, TypeError, ValueError):
        raise ExportError(f"{path}: id2label must give a label to each number from 0") from None
    if not labels or sorted(labels) != list(range(len(labels))):
        raise ExportError(f"{path}: id2label must number the labels from 0, without a gap")
    if len(set(labels.values())) < len(labels):
        raise ExportError(f"{path}: two labels in id2label are the same; give each its own name")
    return tuple(labels[index] for index in range(len(labels)))


def _rule(path: Path, record: Mapping[str, Any], count: int) -> Rule:
    """The rule that transformers' text-classification pipeline follows."""
    problem = record.get("problem_type")
    if problem == "regression":
        return "identity"
    if problem == "multi_label_classification" or count == 1:
        return "sigmoid"
    if problem in (None, "single_label_classification"):
        return "mean-log-softmax"
    raise ExportError(f"{path}: unknown problem_type {problem!r}")
