"""The model card: README.md of a bundle, with the YAML header that model hubs read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from authorid.bundle.manifest import NGRAMS, Bundle
from authorid.export.verify import Check
from authorid.training.ngram_card import NGRAM_HEADING, ngram_section

__all__ = ["model_card"]

_FILES = {
    "model.onnx": "float32, for onnxruntime, optimum and transformers; takes padded batches",
    "model_openvino.onnx": "float32 for OpenVINO",
    "model.onnx.data": "the weights of both float32 graphs",
    "model_int8.onnx": "INT8; the default, and the fastest; takes windows of one length, without padding",
    "model_int8_fused.onnx": "INT8 for authorid's own kernels (`--provider fused`)",
    "model_int8_openvino.onnx": "INT8 for OpenVINO",
    "model_int8.onnx.data": "the weights of the INT8 graphs",
    NGRAMS: "the n-gram model",
    "config.json": "model type, sizes and authors, as in any Hugging Face directory",
    "tokenizer.json": "the tokenizer",
    "tokenizer_config.json": "the tokenizer's length and special tokens, for transformers",
    "special_tokens_map.json": "the special tokens, for transformers",
    "authorid.json": "window length, decision rule, golden inputs with their logits, provenance, SHA-256 of every file",
}
"""Descriptions of a bundle's files, in the order in which a card lists them."""


def model_card(
    bundle: Bundle,
    files: Collection[str],
    record: Mapping[str, Any],
    checks: Sequence[Check],
    license_name: str = "other",
) -> str:
    """The card of a `bundle` with these `files`; `record` describes its training (run.json), `checks` its parity.

    `license_name` is an SPDX or hub identifier for the weights; ``other`` means that it depends on base model and data.
    """
    people = bundle.classes == "authors"
    what = f"which of {len(bundle.authors)} authors wrote a document" if people else _LABELLED[bundle.decision.rule]
    parts = [
        _header(license_name, people=people, int8="int8" in bundle.graphs),
        f"# {bundle.name}",
        f"This model estimates {what}. It was made with authorid. To score documents from the command line:",
        "```\nauthorid score DOCUMENTS --model THIS_DIRECTORY --out results.csv\n```",
        "## Files",
        _table(
            ("file", "contents"),
            [(name, what) for name, what in _FILES.items() if name in files or name == "authorid.json"],
        ),
        *(_source(record["source"], bundle) if "source" in record else _training(record)),
        "Parity of the graphs, checked before they were written:",
        _table(("check", "value", "bound", ""), [check.row for check in checks]),
        *((NGRAM_HEADING, ngram_section(bundle)) if bundle.ngrams else ()),
        *(_use_and_limits(bundle) if people else ()),
    ]
    return "\n\n".join(parts) + "\n"


_LABELLED: Mapping[str, str] = {
    "mean-log-softmax": "the label of a document",
    "sigmoid": "the labels of a document, each with a probability of its own",
    "identity": "a value for a document",
}
"""What a model whose classes are no authors estimates, by its decision rule."""


def _source(source: Mapping[str, Any], bundle: Bundle) -> list[str]:
    """Where a model comes from that was not trained here."""
    reads = "The model reads the first" if bundle.window.truncate else "The model reads whole documents, in windows of"
    return [
        "## Source",
        f"The graphs were made from the fine-tuned classifier `{source.get('name', 'unknown')}` (family "
        f"`{bundle.model_type}`, digest of its files `{str(source.get('sha256', ''))[:16]}`). {reads} "
        f"{bundle.window.length} tokens. Its own card says what it was trained on, and what it is for.",
    ]


def _training(record: Mapping[str, Any]) -> list[str]:
    """Data, options and metrics of a training run."""
    corpus, base = record.get("corpus", {}), record.get("base_model", {})
    held_out, name = len(record.get("validation", ())), f"`{base.get('name', 'unknown')}`"
    probe, tuned = "probe" in record, _is_tuned(record)
    layers = "lowest layers, tuned," if tuned else "lowest layers"
    made = f"is the {layers} of {name}, with a head fitted to" if probe else f"was fine-tuned from {name} on"
    then = (
        " to choose what the head reads, and to measure it; then it was fitted to all" if probe else " for validation"
    )
    return [
        "## Data",
        f"The encoder {made} {corpus.get('documents', '?')} documents "
        f"by {corpus.get('authors', '?')} authors (corpus `{corpus.get('name', 'unknown')}`, digest "
        f"`{str(corpus.get('digest', ''))[:16]}`). {held_out or 'None'} of them were held out{then}. "
        "This directory contains no text of the corpus; golden inputs are random token ids.",
        "## Training",
        _table(("option", "value"), _options(record)),
        "## Metrics of the encoder",
        _metrics(record, held_out),
    ]


def _use_and_limits(bundle: Bundle) -> list[str]:
    return [
        "## Intended use",
        "The model ranks candidate authors for documents of the kind it was trained on, for stylometry, newsroom and "
        "archive work, and triage. Its scores are evidence, not proof.",
        "## Limits",
        "- The model knows only its own authors. A document by anyone else is attributed to the most similar of them, "
        "unless you set a threshold for `unknown`.\n"
        "- Topic and style are entangled. The model recognises authors partly by their topics, so accuracy is lower "
        "than above on other topics, genres, years or languages.\n"
        f"- The encoder reads documents in windows of {bundle.window.length} tokens"
        + (" and uses only the first window" if bundle.window.truncate else "")
        + ". Very short documents contain little evidence.\n"
        "- Do not use the model to identify people who have a right to stay anonymous, or as the only basis of a "
        "decision about a person.",
    ]


def _header(license_name: str, *, people: bool, int8: bool) -> str:
    subject = ["authorship-attribution", "stylometry"] if people else []
    tags = [*subject, "onnx", "onnxruntime", *(["int8"] if int8 else []), "authorid"]
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
    # The base model may be a path on the training machine; its name is given under Data.
    options = {name: value for name, value in record.get("options", {}).items() if name != "base_model"}
    options |= {"pooling": record.get("pooling"), "head": record.get("head") or "linear"}
    if "probe" in record:
        tuning = ("epochs", "batch", "learning_rate", "topic_dropout") if _is_tuned(record) else ()
        names = ("recipe", "seed", "window", "stride", "pooling", "head", *tuning)
        options = {name: options[name] for name in names}
        options |= {"states": record["features"]["states"], "random features of a state": record["features"]["random"]}
        options |= {"ridge": record["probe"]["ridge"]}
    versions = record.get("versions", {})
    rows = [(name.replace("_", " "), str(value)) for name, value in options.items()]
    return rows + [(name, str(versions[name])) for name in ("keras", "tensorflow", "keras-hub") if name in versions]


def _is_tuned(record: Mapping[str, Any]) -> bool:
    """Whether the layers of a probe were trained too (the recipe ``tune``)."""
    return bool(record.get("tuning", {}).get("kept"))


def _metrics(record: Mapping[str, Any], held_out: int) -> str:
    metrics = record.get("metrics", {})
    if not metrics:
        return "The training recorded no metrics."
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in metrics.items()]
    note = "" if held_out else "\n\nNo documents were held out, so these figures do not estimate accuracy on new ones."
    when = "before the last fit" if "probe" in record else "after the last epoch"
    return _table((f"metric {when}", "value"), rows) + note


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
