"""From a trained classifier to a verified bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from authorid.bundle.decision import Decision
from authorid.bundle.manifest import NGRAMS, Bundle
from authorid.bundle.save import reserve_bundle, write_bundle_in
from authorid.encoder.windows import Windower
from authorid.errors import ExportError
from authorid.export.bundle_files import graph_files, provenance
from authorid.export.corpus_windows import VerificationSet, calibration_draws, training_corpus, verification_set
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import ExportOptions
from authorid.export.golden_windows import golden_logits, golden_windows
from authorid.export.graph.graph_runner import GraphRunner, Ids, document_scores
from authorid.export.graph_set import GraphSet
from authorid.export.modelcard import model_card
from authorid.export.quantize.calibration import Calibration, calibrate
from authorid.export.sources import Source, open_source
from authorid.export.temperature import fit_temperature
from authorid.export.verify import REFERENCE_TOLERANCE, Check, check_logits, require_all
from authorid.ngrams.model import load_ngram_model
from authorid.outputs.directory import Content, Workspace
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus

__all__ = ["ExportReport", "export_run"]

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


def export_run(
    path: Path, out: Path, options: ExportOptions = ExportOptions(), *, reporter: Reporter = SILENT
) -> ExportReport:
    """Make, verify and write a bundle at `out` from the classifier at `path`.

    Nothing is written before all checks have passed. Raises `RunError`, `CorpusError`, `ExportError`, `ParityError`,
    `OutputError` and `MissingExtraError`.
    """
    source = open_source(Path(path))
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
        decision = Decision(temperature=_temperature(export, graphs.runners["int8" if options.quantize else "fp32"]))
    if not options.keep_fp32:
        graphs.drop_float32()
    names, contents = graph_files(graphs.graphs)
    name = options.name or Path(workspace.out).name
    files: dict[str, Content] = {**contents, **source.files, **ngram_files}
    bundle = Bundle(
        path=Path(workspace.out),
        model_type=weights.family,
        authors=source.labels,
        window=source.window,
        typography=source.typography,
        pooling=weights.head.pooling,
        decision=decision,
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
    files["README.md"] = model_card(bundle, files, source.record, graphs.checks, options.license_name)
    written = write_bundle_in(workspace, bundle, files, check=load_ngram_model)
    return ExportReport(written, tuple(graphs.checks))


@dataclass(frozen=True, slots=True)
class _Export:
    """What an export works with: the source, its corpus if it was found, and the windows to compare graphs on."""

    source: Source
    options: ExportOptions
    reporter: Reporter
    windower: Windower
    corpus: Corpus | None
    verification: VerificationSet | None
    golden: list[Ids]


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
    corpus = training_corpus(source, options.corpus, required=options.quantize, reporter=reporter)
    windower = source.windower()
    verification = verification_set(source, corpus, windower, options)
    golden = golden_windows(windower, source.window.length)
    return _Export(source, options, reporter, windower, corpus, verification, golden)


def _make_graphs(export: _Export) -> tuple[EncoderWeights, GraphSet]:
    """Emit all graphs and compare them: source = reference graph = float32 = INT8."""
    source, options, verification = export.source, export.options, export.verification
    probe = (verification.windows if verification else [])[:_PROBE_WINDOWS] + export.golden
    graphs = GraphSet(probe, options.openvino, export.reporter)
    export.reporter.info(f"converting the {source.framework} model to the reference graph")
    reference = GraphRunner(source.reference_graph()).logits(probe)
    name = f"reference = {source.framework}: largest difference"
    graphs.checks.append(check_logits(name, reference, source.logits(probe), REFERENCE_TOLERANCE))
    weights = source.weights()
    graphs.add_float32(weights, reference)
    if options.quantize:
        assert verification is not None  # the training corpus is required, and any corpus gives some
        graphs.add_int8(_calibrations(export, weights), verification)
    return weights, graphs


def _calibrations(export: _Export, weights: EncoderWeights) -> list[Calibration]:
    """One calibration for each draw of windows."""
    assert export.corpus is not None  # `training_corpus` raises when it is required and missing
    paths, seed = export.source.corpus.training, export.options.seed
    draws = calibration_draws(export.corpus, paths, export.windower, export.options, export.reporter)
    return [replace(calibrate(weights, windows, seed + draw), draw=draw) for draw, windows in enumerate(draws)]


def _temperature(export: _Export, runner: GraphRunner) -> float:
    """Fitted on validation documents; 1.0 without any, because training documents would give a wrong one."""
    if export.corpus is None or not export.source.corpus.validation:
        return 1.0
    options = replace(export.options, verify_on=None)
    held_out = verification_set(export.source, export.corpus, export.windower, options)
    assert held_out is not None  # there is a corpus
    scores = document_scores(runner.logits(held_out.windows), held_out.documents)
    temperature = fit_temperature(scores, held_out.labels)
    export.reporter.info(f"temperature {temperature:.3f}, fitted on {len(held_out.documents)} validation documents")
    return temperature
