"""Trained classifiers that can be exported. A new kind of source is one file here and one entry in `SOURCES`."""

from __future__ import annotations

from pathlib import Path

from authorid.errors import RunError
from authorid.export.export_options import ExportOptions
from authorid.export.sources.huggingface import HuggingFaceDirectory
from authorid.export.sources.keras_run import KerasRun
from authorid.export.sources.onnx_file import OnnxFile
from authorid.export.sources.optimum import OptimumDirectory
from authorid.export.sources.source import CorpusRecord, Source
from authorid.export.sources.torch_pickle import PICKLED
from authorid.outputs.directory import unfinished_work
from authorid.training.encoder.model_directory import SAFETENSORS, BaseModelError, resolve_base_model

__all__ = ["SOURCES", "CorpusRecord", "Source", "open_source"]

SOURCES: tuple[type[Source], ...] = (KerasRun, HuggingFaceDirectory, OptimumDirectory, OnnxFile)
"""All kinds of source; the first that recognises a path opens it."""


def open_source(name: Path | str, options: ExportOptions = ExportOptions()) -> Source:
    """Open the classifier at the path `name`, or else with this Hugging Face hub id.

    Raises `RunError` when no source recognises it, and what `Source.open` raises.
    """
    path = Path(name)
    for source in SOURCES if path.exists() or unfinished_work(path) else ():
        if source.recognises(path):
            return source.open(path, options)
    if not path.exists():
        if path.suffix == ".onnx":
            raise RunError(f"{path}: no such file")
        formats = (SAFETENSORS, PICKLED) if options.allow_pickle else (SAFETENSORS,)
        try:
            return open_source(resolve_base_model(str(name), formats), options)
        except BaseModelError as error:
            raise RunError(str(error)) from None
    known = "; ".join(source.description for source in SOURCES)
    raise RunError(f"{path}: there is no model to export; expected one of these: {known}")
