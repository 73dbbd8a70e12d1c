"""From a trained classifier to a verified bundle."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from authorid.bundle.decision import Decision
from authorid.bundle.effort import NOT_MEASURED
from authorid.bundle.manifest import NGRAMS, Bundle, Precision
from authorid.bundle.save import reserve_bundle, write_bundle_in
from authorid.encoder.windows import Windower
from authorid.errors import ExportError
from authorid.export.agreement import VerificationSet
from authorid.export.bundle_files import graph_files, provenance, tokenizer_files
from authorid.export.corpus_windows import (
    calibration_draws,
    held_out_documents,
    known_documents,
    training_corpus,
    training_texts,
    unlabelled_documents,
)
from authorid.export.document_texts import DocumentTexts, read_texts
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import ExportOptions
from authorid.export.golden_windows import golden_logits, golden_windows
from authorid.export.graph.fused_operators import can_be_fused
from authorid.export.graph.graph_runner import GraphRunner, Ids, document_means
from authorid.export.graph.int8 import Together
from authorid.export.graph_set import GraphSet
from authorid.export.modelcard import model_card
from authorid.export.quantize.calibration import Calibration, calibrate
from authorid.export.quantize.dynamic import dynamic_int8
from authorid.export.sources import Source, open_source
from authorid.export.temperature import fit_temperature
from authorid.export.verify import AGREEMENT, EXPLAINED, REFERENCE_TOLERANCE, Check, check_logits, require_all
from authorid.ngrams.model import load_ngram_model
from authorid.outputs.directory import Content, Workspace
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus

__all__ = ["ExportReport", "export_model"]

_PROBE_WINDOWS = 32
"""Windows of documents on which graphs are compared logit by logit."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The bundle that was written, and how its graphs compare."""

    bundle: Bundle
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all checks passed; only a forced export can have failed some."""
        return all(check.ok for check in self.checks)

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """The parity table: check, value, bound, verdict."""
        return [check.row for check in self.checks]


def export_model(
    path: Path | str, out: Path, options: ExportOptions = ExportOptions(), *, reporter: Reporter = SILENT
) -> ExportReport:
    """Make, verify and write a bundle at `out` from the classifier at `path`.

    `path` is a training run, a directory in Hugging Face layout, a hub id, or an ONNX file. Nothing is written before
    all checks have passed. Raises `RunError`, `BaseModelError`, `CorpusError`, `ExportError`, `ParityError`,
    `OutputError` and `MissingExtraError`.
    """
    source = open_source(path, options)
    for warning in source.warnings:
        reporter.warning(warning)
    with reserve_bundle(out, overwrite=options.force, reporter=reporter) as workspace:
        source.require_packages()
        return _export(source, workspace, options, reporter)


def _export(source: Source, workspace: Workspace, options: ExportOptions, reporter: Reporter) -> ExportReport:
    decision, ngram_files = _ngrams(source, options)
    export = _prepare(source, options, reporter)
    weights, graphs = _make_graphs(export)
    if not options.force:
        require_all(graphs.checks)
    if decision is None:
        decision = Decision(rule=source.rule, temperature=_temperature(export, graphs.runners))
    inputs = next(iter(graphs.runners.values())).input_names  # of the graph that takes padded batches, if any does
    if not options.keep_fp32:
        graphs.drop_float32()
    names, contents = graph_files(graphs.graphs)
    name = options.name or Path(workspace.out).name
    files: dict[str, Content] = {
        **contents,
        **ngram_files,
        "config.json": source.config,
        **tokenizer_files(export.windower, source.special_tokens, inputs),
    }
    bundle = Bundle(
        path=Path(workspace.out),
        model_type=source.family,
        authors=source.labels,
        classes=source.classes,
        window=source.window,
        typography=source.typography,
        pooling=weights.head.pooling if weights is not None else "first",
        decision=decision,
        # What was measured for another weight says nothing about this one.
        effort_rule=source.effort_rule if options.encoder_weight is None else NOT_MEASURED,
        ngrams=NGRAMS if ngram_files else None,
        graphs=names,
        golden=golden_logits(export.golden, graphs.runners),
        provenance=provenance(source.record, weights, options, graphs.calibration, name),
        parity={
            "ok": all(check.ok for check in graphs.checks),
            "documents": export.verification.origin if export.verification else None,
            "checks": [check.to_json() for check in graphs.checks],
        },
    )
    reporter.info(f"default effort: {bundle.default_effort}")
    files["README.md"] = model_card(bundle, files, source.record, graphs.checks, options.license_name)
    written = write_bundle_in(workspace, bundle, files, check=load_ngram_model)
    return ExportReport(written, tuple(graphs.checks))


@dataclass(frozen=True, slots=True)
class _Export:
    """What an export works with: the source, documents to calibrate on, and the windows to compare graphs on.

    `corpus` is the training corpus, if there is one and it was found; `texts` are other documents.
    """

    source: Source
    options: ExportOptions
    reporter: Reporter
    windower: Windower
    corpus: Corpus | None
    texts: DocumentTexts | None
    verification: VerificationSet | None
    golden: list[Ids]

    @property
    def calibration_texts(self) -> list[str]:
        """The texts to calibrate INT8 on; `_prepare` has seen to it that there are some."""
        if self.texts is not None:
            return list(self.texts.calibration)
        assert self.source.corpus is not None and self.corpus is not None
        return training_texts(self.source.corpus, self.corpus)


def _ngrams(source: Source, options: ExportOptions) -> tuple[Decision | None, Mapping[str, bytes]]:
    """The decision rule for encoder and n-grams, and the file of the n-gram model; None and no file without one."""
    ngrams = source.ngrams()
    if ngrams is None:
        if options.encoder_weight is not None:
            raise ExportError(f"{source.path}: has no n-gram model, so the encoder cannot be given a weight beside it")
        return None, {}
    model, decision = ngrams
    if options.encoder_weight is not None:
        decision = replace(decision, encoder_weight=options.encoder_weight)
    return decision, {NGRAMS: model.to_bytes()}


def _prepare(source: Source, options: ExportOptions, reporter: Reporter) -> _Export:
    """Read the documents that the export needs; raises `ExportError` when it needs some and knows none."""
    corpus, texts, windower = None, None, source.windower()
    verification: VerificationSet | None = None
    if source.corpus is not None:
        corpus = training_corpus(source, options.corpus, required=options.quantize, reporter=reporter)
        if corpus is not None and options.verify_on is None:
            most = options.verify_documents
            verification = held_out_documents(source, source.corpus, corpus, windower, most)
    elif options.corpus is not None:
        texts = read_texts(options.corpus, options.documents, options.text_column, options.seed, reporter)
        if options.verify_on is None:
            verification = unlabelled_documents(source, texts, windower, options.verify_documents)
    elif options.quantize:
        raise ExportError(
            f"{source.path}: INT8 is calibrated on documents like those to be scored; pass --corpus with a directory, "
            "a file or a table of them (their labels are not needed)"
        )
    if options.verify_on is not None:
        verification = known_documents(source, options, windower)
    golden = golden_windows(windower, source.window.length)
    return _Export(source, options, reporter, windower, corpus, texts, verification, golden)


def _make_graphs(export: _Export) -> tuple[EncoderWeights | None, GraphSet]:
    """Make all graphs and compare them: source = reference graph = float32 = INT8. No weights if none are emitted."""
    source, options, verification = export.source, export.options, export.verification
    probe = (verification.windows if verification else [])[:_PROBE_WINDOWS] + export.golden
    graphs = GraphSet(probe, options.openvino, export.reporter)
    export.reporter.info(f"converting the {source.framework} model to the reference graph")
    graph, computed = source.reference(probe)
    expected = GraphRunner(graph).logits(probe)
    if computed is not None:
        name = f"reference = {source.framework}: largest difference"
        graphs.checks.append(check_logits(name, expected, computed, REFERENCE_TOLERANCE))
    weights = source.weights()
    if weights is None:
        graphs.add_given(graph, source.precision)
        if options.quantize and source.precision == "int8":
            raise ExportError(f"{source.path}: the graph is quantized already; leave out --quantize")
        if options.quantize:
            assert verification is not None  # `_prepare` requires documents
            graphs.add_quantized(dynamic_int8(graph), verification)
        return None, graphs
    del graph  # as large as the model; the emitted graphs take its place
    gc.collect()  # Keras models are in reference cycles
    graphs.add_float32(weights, expected)
    if options.quantize:
        assert verification is not None
        graphs.add_int8(weights, _calibrations(export, weights), verification, _enough(export))
    return weights, graphs


def _enough(export: _Export) -> float:
    """Agreement at which no further calibration is tried; a training run gets the best of all."""
    if export.source.corpus is not None:
        return float("inf")
    return EXPLAINED if export.source.rule == "identity" else AGREEMENT


def _calibrations(export: _Export, weights: EncoderWeights) -> Iterator[Calibration]:
    """The calibrations of each draw of windows.

    A training run gets the most faithful of all. For a model from elsewhere the first that is faithful enough will do;
    so the one whose graph our kernels run fastest comes first.
    """
    draws = calibration_draws(export.calibration_texts, export.windower, export.options, export.reporter)
    choices: tuple[Together, ...] = (2,) if export.source.corpus is not None or not can_be_fused(weights) else (4, 2)
    for draw, windows in enumerate(draws):
        for together in choices:
            yield replace(calibrate(weights, windows, export.options.seed + draw, together), draw=draw)


def _temperature(export: _Export, runners: Mapping[Precision, GraphRunner]) -> float:
    """Fitted on validation documents; 1.0 without any, because training documents would give a wrong one."""
    recorded = export.source.corpus
    if recorded is None or export.corpus is None or not recorded.validation:
        return 1.0
    most = export.options.verify_documents
    held_out = held_out_documents(export.source, recorded, export.corpus, export.windower, most)
    assert held_out.labels is not None
    runner = runners["int8" if "int8" in runners else "fp32"]
    scores = document_means(runner.logits(held_out.windows), held_out.documents)
    temperature = fit_temperature(scores, held_out.labels)
    export.reporter.info(f"temperature {temperature:.3f}, fitted on {len(held_out.documents)} validation documents")
    return temperature
