"""What an export should produce."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from authorid.errors import ExportError
from authorid.inputs.documents import DEFAULTS, ReadOptions

__all__ = ["LEAST_LENGTH", "ExportOptions"]

LEAST_LENGTH = 8
"""Tokens in the shortest window that a model may be told to read."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to produce, and what to check.

    `quantize` adds the INT8 graph; `keep_fp32` says whether the float32 graph goes into the bundle too. `openvino` adds
    graphs in OpenVINO's dialect; graphs of one precision then share one file of weights.

    INT8 is calibrated on `calibration_windows` windows of documents, drawn with `seed`. For a training run, `corpus` is
    its training corpus (default: where the run says it was). For any other model, `corpus` is where there are documents
    of the kind to be scored, whose classes need not be known: a directory, a file, or a table. Graphs are compared on
    `verify_documents` documents (0: all) of the corpus `verify_on`, which has a directory for each class; by default on
    the run's validation documents, or on its training documents when nothing was held out, or on a part of `corpus`
    that is not calibrated on.

    A model that is not a training run truncates documents at its own length, or with `windows` reads them whole, in
    windows. `max_length` is a smaller length in tokens, special tokens included. `allow_pickle` permits weights in
    PyTorch's format, of which only the tensors are read. `documents` says how `corpus` is read then, and
    `text_column` which column of a table holds the texts.

    `name` and `license_name` go into the model card. `encoder_weight` replaces the weight that the run measured for the
    encoder beside the n-grams. `force` replaces an existing bundle, and writes even one that fails its checks. Raises
    `ExportError` when the options leave nothing to write or are out of range.
    """

    quantize: bool = False
    force: bool = False
    name: str | None = None
    keep_fp32: bool = True
    openvino: bool = False
    corpus: Path | None = None
    verify_on: Path | None = None
    calibration_windows: int = 1536
    verify_documents: int = 500
    seed: int = 0
    windows: bool = False
    max_length: int | None = None
    allow_pickle: bool = False
    documents: ReadOptions = DEFAULTS
    text_column: str | None = None
    license_name: str = "other"
    encoder_weight: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.quantize and not self.keep_fp32:
            raise ExportError("without --quantize the float32 graph is the only one; it cannot be left out")
        if self.calibration_windows < 1:
            raise ExportError(f"the number of calibration windows must be at least 1, got {self.calibration_windows}")
        if self.verify_documents < 0:
            raise ExportError(f"the number of documents to verify must not be negative, got {self.verify_documents}")
        if self.max_length is not None and self.max_length < LEAST_LENGTH:
            raise ExportError(f"the length of a window must be at least {LEAST_LENGTH} tokens, got {self.max_length}")
        if self.encoder_weight is not None and not 0 <= self.encoder_weight < float("inf"):
            raise ExportError(f"the encoder's weight must be a number from 0 on, got {self.encoder_weight}")
