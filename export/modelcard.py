"""The model card: README.md of a bundle, with the YAML header that model hubs read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from authorid.bundle.manifest import NGRAMS, Bundle
from authorid.export.verify import Check
from authorid.training.ngram_run import BESIDE, beside

__all__ = ["model_card"]

_FILES = {
    "model.onnx": "float32; takes windows of one length, without padding",
    "model_openvino.onnx": "float32 for OpenVINO",
    "model.onnx.data": "the weights of both float32 graphs",
    "model_int8.onnx": "INT8; the one that is meant to run",
    "model_int8_openvino.onnx": "INT8 for OpenVINO",
    "model_int8.onnx.data": "the weights of both INT8 graphs",
    NGRAMS: "the n-gram expert",
    "config.json": "family, size and authors, as in any Hugging Face directory",
    "tokenizer.json": "the tokenizer",
    "authorid.json": "window length, decision rule, golden answers, provenance, SHA-256 of every file",
}
"""What a bundle's files are, in the order in which a card lists them."""


def model_card(
    bundle: Bundle,
    files: Collection[str],
    record: Mapping[str, Any],
    checks: Sequence[Check],
    license_name: str = "other",
) -> str:
    """Write the card of `bundle`: its `files`, the `record` of its run (run.json) and parity `checks`.

    `license_name` is an SPDX or hub identifier for the weights; ``other``: it follows from base model and data.
    """
    corpus, base = record.get("corpus", {}), record.get("base_model", {})
    held_out = len(record.get("validation", ()))
    parts = [
        _header(license_name, int8="int8" in bundle.graphs),
        f"# {bundle.name}",
        f"Tells which of {len(bundle.authors)} authors wrote a document. Made with "
        "authorid (`pip install authorid-toolkit`, or `pip install .` in a checkout); the files run on any "
        "onnxruntime, the command line is:",
        "```\nauthorid score DOCUMENTS --model THIS_DIRECTORY --out results.csv\n```",
        "## Files",
        _table(
            ("file", "what"),
            [(name, what) for name, what in _FILES.items() if name in files or name == "authorid.json"],
        ),
        "## Data",
        f"Fine-tuned from `{base.get('name', 'unknown')}` on {corpus.get('documents', '?')} documents by "
        f"{corpus.get('authors', '?')} authors (corpus `{corpus.get('name', 'unknown')}`, digest "
        f"`{str(corpus.get('digest', ''))[:16]}`), {held_out or 'none'} of them held out for validation. "
        "No text of the corpus is in this directory. Golden inputs are random token ids.",
        "## Training",
        _table(("option", "value"), _options(record)),
        "## Metrics of the encoder",
        _metrics(record, held_out),
        "Parity of the graphs, checked before this directory was written:",
        _table(("check", "value", "bound", ""), [check.row for check in checks]),
        *((BESIDE, beside(bundle)) if bundle.ngrams else ()),
        "## Intended use",
        "Ranking candidate authors for documents of the kind the model was trained on: stylometry, newsroom and "
        "archive work, triage. Scores are evidence to weigh, not proof.",
        "## Limits",
        "- It knows only its own authors: a text by anybody else still gets the nearest of them, unless a threshold "
        "for `unknown` is set.\n"
        "- Topic and style are entangled. Authors who write about one thing are recognised by it in part, and on "
        "other topics, genres, years or languages accuracy is lower than the figures above.\n"
        f"- Documents are read in windows of {bundle.window.length} tokens"
        + (", of which only the first is used" if bundle.window.truncate else "")
        + "; very short texts carry little evidence.\n"
        "- Do not use it to unmask people who have a right to stay anonymous, nor as the sole ground of a decision "
        "about anyone.",
    ]
    return "\n\n".join(parts) + "\n"


def _header(license_name: str, *, int8: bool) -> str:
    tags = ["authorship-attribution", "stylometry", "onnx", "onnxruntime", *(["int8"] if int8 else []), "authorid"]
    lines = [
        "---",
        f"license: {json.dumps(license_name)}",
        "library_name: onnx",
        "pipeline_tag: text-classification",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "metrics:",
        "- accuracy",
        "- f1",
        "---",
    ]
    return "\n".join(lines)


def _options(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    # The base model may have been a path on the machine that trained; its name is given under Data.
    options = {name: value for name, value in record.get("options", {}).items() if name != "base_model"}
    options |= {"pooling": record.get("pooling"), "head": record.get("head") or "linear"}
    versions = record.get("versions", {})
    rows = [(name.replace("_", " "), str(value)) for name, value in options.items()]
    return rows + [(name, str(versions[name])) for name in ("keras", "tensorflow", "keras-hub") if name in versions]


def _metrics(record: Mapping[str, Any], held_out: int) -> str:
    metrics = record.get("metrics", {})
    if not metrics:
        return "The training run recorded none."
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in metrics.items()]
    note = "" if held_out else "\n\nNothing was held out, so none of these is an estimate of accuracy on new documents."
    return _table(("measure, last epoch", "value"), rows) + note


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
