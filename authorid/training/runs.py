"""A finished training run on disk.

::

    RUN/
      run.json        what was trained, on what, with what; the SHA-256 of all other files and of its own content
      model.keras     the weights (and a description of the model, which is not read)
      config.json     Hugging Face style: model_type, sizes, id2label
      tokenizer.json  the base model's tokenizer
      ngrams.safetensors  the n-gram model (not with the classic recipe)
      history.json, history.png

It appears when it is complete; until then, everything is in a directory beside it (see `authorid.outputs.directory`).
Loading builds the model in code from run.json and reads only weights from model.keras: neither code nor architecture
comes from that file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from authorid.bundle.author_names import too_much_alike
from authorid.bundle.decision import Decision
from authorid.bundle.effort import NOT_MEASURED, EffortRule
from authorid.bundle.manifest import NGRAMS
from authorid.bundle.record_digest import check_digest
from authorid.bundle.strict_json import read_object
from authorid.encoder.windows import Windower
from authorid.errors import BundleCorruptError, RunError, require
from authorid.ngrams.model import NgramModel
from authorid.outputs.directory import unfinished_work
from authorid.training.encoder.classifier import Geometry, Pooling, build_classifier
from authorid.training.encoder.examples import inputs
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.encoder.layer_classifier import LayerFeatures, build_layer_classifier
from authorid.training.recipes import TrainingOptions
from authorid.training.run_directory import RUN_FORMAT

__all__ = ["Run", "predict_windows"]

_FORWARD = "authorid_forward"
"""Attribute of a Keras model: what computes its logits."""


@dataclass(frozen=True)
class Run:
    """A finished training run; made by `train` or `Run.load`.

    `training` and `validation` are document paths relative to the corpus; `record` is all of run.json. `features` is
    what the head reads if the pooling is ``layers``, else None.
    """

    path: Path
    geometry: Geometry
    authors: tuple[str, ...]
    options: TrainingOptions
    window: int
    stride: int
    truncate: bool
    pooling: Pooling
    hidden_activation: str | None
    training: tuple[str, ...]
    validation: tuple[str, ...]
    corpus_digest: str
    metrics: Mapping[str, float]
    record: Mapping[str, Any] = field(repr=False)
    features: LayerFeatures | None = None

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read and check the run at `path`, with the digests of all its files; raises `RunError`."""
        root = Path(path)
        if not (root / "run.json").is_file():
            if unfinished := unfinished_work(root):
                raise RunError(f"{root}: {unfinished}")
            if not root.is_dir():
                raise RunError(f"{root}: no such run directory")
            raise RunError(f"{root}: not a training run (no run.json)")
        record = _read_json(root / "run.json")
        if record.get("recipe") == "ngrams":
            raise RunError(f"{root}: this run has no encoder; it is a bundle already, ready for score and export")
        _check_format(root / "run.json", record)
        try:
            _check_files(root, record)
            return cls._from_record(root, record)
        except RunError as error:
            raise RunError(f"{root / 'run.json'}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise RunError(f"{root / 'run.json'}: {reason}") from None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user of this run should know."""
        if "files" in self.record:
            return ()
        return (f"{self.path}: written by an older release, without digests: damage to its files cannot be noticed",)

    def keras_model(self) -> Any:
        """Build the classifier in float32 (see `build_classifier`) and load its weights; raises `RunError`."""
        import_keras()
        if self.features is not None:
            model = build_layer_classifier(self.geometry, len(self.authors), self.features)
        else:
            model = build_classifier(
                self.geometry,
                len(self.authors),
                self.pooling,
                self.hidden_activation,
                self.options.dropout,
                self.options.funnel,
            )
        weights = self.path / "model.keras"
        try:
            model.load_weights(str(weights))
        except Exception as error:  # zip, h5 and shape errors come in many classes
            raise RunError(f"{weights}: the weights do not fit run.json ({error})") from error
        return model

    def windower(self) -> Windower:
        """Return the windower that cuts documents for this model."""
        return Windower.from_file(self.path / "tokenizer.json", self.window, self.stride, truncate=self.truncate)

    def predict_logits(self, texts: Sequence[str], batch: int = 16) -> list[npt.NDArray[np.float32]]:
        """Return the logits of all windows: float32 [windows, authors] for each text, [0, authors] for an empty one."""
        windower = self.windower()
        windows = [[window.ids for window in windower.windows(ids)] for ids in windower.token_ids(list(texts))]
        return predict_windows(self._model, windows, len(self.authors), batch=batch)

    @cached_property
    def _model(self) -> Any:
        return self.keras_model()

    def load_fusion(self) -> tuple[NgramModel, Decision] | None:
        """Return the n-gram model and the decision rule, or None if the run has only an encoder; raises `RunError`."""
        record = self.record.get("fusion")
        if record is None:
            return None
        try:
            return NgramModel.load(self.path / NGRAMS), Decision.from_json(record["decision"])
        except (BundleCorruptError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(f"{self.path}: the n-gram model cannot be used ({error})") from None

    @property
    def effort_rule(self) -> EffortRule:
        """When the encoder is worth its time, as the training measured it; raises `RunError`."""
        try:
            record = self.record.get("fusion", {}).get("effort")
            return NOT_MEASURED if record is None else EffortRule.from_json(record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(f"{self.path}: the rule for effort auto cannot be used ({error!r})") from None

    @classmethod
    def _from_record(cls, root: Path, record: Mapping[str, Any]) -> Run:
        authors = record["authors"]
        if not (
            isinstance(authors, list)
            and len(authors) >= 2
            and all(isinstance(author, str) and author for author in authors)
            and len(set(authors)) == len(authors)
        ):
            raise RunError("authors must be at least two different names")
        alike = too_much_alike(authors)
        if alike is not None:
            raise RunError(f"the authors {alike}; rename one in the corpus and train again")
        geometry = Geometry.from_json(record["geometry"])
        options = TrainingOptions.from_json(record["options"])
        window, stride, head = int(record["window"]), int(record["stride"]), record["head"]
        if window > geometry.max_sequence_length:
            raise RunError(f"window {window} is longer than the encoder's {geometry.max_sequence_length}")
        if record["pooling"] not in get_args(Pooling):
            raise RunError(f"unknown pooling {record['pooling']!r}")
        features = LayerFeatures.from_json(record["features"]) if record["pooling"] == "layers" else None
        if features is not None and features.depth != geometry.num_layers:
            raise RunError(f"the head reads layer {features.depth}, the encoder has {geometry.num_layers}")
        if head not in (None, "relu", "tanh"):
            raise RunError(f"unknown head activation {head!r}")
        return cls(
            path=root,
            geometry=geometry,
            authors=tuple(authors),
            options=options,
            window=window,
            stride=stride,
            truncate=bool(record["truncate"]),
            pooling=record["pooling"],
            hidden_activation=head,
            training=tuple(record["training"]),
            validation=tuple(record["validation"]),
            corpus_digest=str(record["corpus"]["digest"]),
            metrics=dict(record["metrics"]),
            record=record,
            features=features,
        )


def predict_windows(
    model: Any, documents: Sequence[Sequence[npt.NDArray[np.int32]]], authors: int, batch: int = 16
) -> list[npt.NDArray[np.float32]]:
    """Return the logits float32 [windows, authors] of each document; its windows are token ids, int32 [s].

    Windows of similar length share a batch and are padded to its longest.
    """
    results = [np.zeros((len(windows), authors), dtype=np.float32) for windows in documents]
    queue = sorted(
        (
            (len(ids), document, position)
            for document, ids_list in enumerate(documents)
            for position, ids in enumerate(ids_list)
        ),
    )
    tensorflow = require("tensorflow", "train")
    names = [tensor.name for tensor in model.inputs]
    forward = _forward(model)
    for start in range(0, len(queue), batch):
        chosen = queue[start : start + batch]
        rows = [documents[document][position] for _, document, position in chosen]
        padded = inputs(rows, chosen[-1][0], segments="segment_ids" in names)
        logits = forward({name: tensorflow.constant(padded[name]) for name in names}).numpy()
        for (_, document, position), row in zip(chosen, logits, strict=True):
            results[document][position] = row
    return results


def _forward(model: Any) -> Any:
    """What computes the logits of a Keras model, for windows of any shape.

    It is traced once for each model, and kept with it. Keras' own predict would trace again for each new shape.
    """
    if getattr(model, _FORWARD, None) is None:
        tensorflow = require("tensorflow", "train")
        names = [tensor.name for tensor in model.inputs]
        signature = [{name: tensorflow.TensorSpec((None, None), tensorflow.int32, name=name) for name in names}]
        compute = tensorflow.function(lambda named: model(named, training=False), input_signature=signature)
        setattr(model, _FORWARD, compute)
    return getattr(model, _FORWARD)


def _check_format(path: Path, record: Mapping[str, Any]) -> None:
    """Raise `RunError` if this version cannot read `record`, the content of `path`, or if it is damaged.

    Runs of format 2 and 1 lack digests. Format 1 is read if the run has only an encoder: what changed since then is the
    record of the n-gram model.
    """
    version = record.get("format")
    if version not in (RUN_FORMAT, 2) and not (version == 1 and "experts" not in record):
        hint = "; it was written by an older version, train again" if version == 1 else ""
        raise RunError(f"{path}: format {version!r}; this version of authorid reads format {RUN_FORMAT}{hint}")
    try:
        check_digest(record, required=version == RUN_FORMAT)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: {error}") from None


def _check_files(root: Path, record: Mapping[str, Any]) -> None:
    """Raise `RunError` if a file is missing, or its digest is not the one in `record`."""
    required = {"model.keras", "tokenizer.json", "config.json", *([NGRAMS] if "fusion" in record else [])}
    digests: Mapping[str, str] = record["files"] if record["format"] == RUN_FORMAT else dict.fromkeys(required, "")
    for name in sorted(required | digests.keys()):
        file = root / name
        if Path(name).name != name or file.is_symlink() or not file.is_file():
            raise RunError(f"{name} is missing, or not a regular file")
        if record["format"] != RUN_FORMAT:
            continue
        with file.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != digests[name]:
            raise RunError(f"the SHA-256 of {name} is another one; {file} was changed or damaged")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        return read_object(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not readable JSON ({error})") from None
