"""From a training run to a verified bundle."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from authorid import __version__
from authorid.bundle.decision import Decision
from authorid.bundle.manifest import NGRAMS, Bundle, Golden, WindowSpec, check_target, write_bundle
from authorid.encoder.windows import SPECIAL_TOKENS, Windower
from authorid.errors import CorpusError, ExportError, require
from authorid.export.encoder_weights import EncoderWeights, from_keras
from authorid.export.graph.builder import CPU, OPENVINO, emit
from authorid.export.graph.graph_runner import GraphRunner, Ids, document_scores
from authorid.export.graph.sharing import share_weights
from authorid.export.modelcard import model_card
from authorid.export.quantize.calibration import METHODS, Calibration, calibrations, fit_temperature, most_faithful
from authorid.export.sources.tf2onnx_reference import reference_graph
from authorid.export.verify import (
    EMITTED_TOLERANCE,
    REFERENCE_TOLERANCE,
    Check,
    check_documents,
    check_invariance,
    check_logits,
    require_all,
)

if TYPE_CHECKING:
    from authorid.training.corpus import Corpus, CorpusDocument
    from authorid.training.runs import Run

__all__ = ["ExportOptions", "ExportReport", "export_run"]

_PARITY_WINDOWS = 32
"""Windows on which graphs are compared logit by logit."""

_GOLDEN_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to make of a run, and how hard to look at it.

    `quantize` adds the INT8 graph; `keep_fp32` says whether the float32 one goes into the bundle too. `openvino` lets
    OpenVINO run what is there: the float32 graph as it is, INT8 in its own dialect; both INT8 graphs then have their
    weights in one file beside them. `corpus` is the training corpus; INT8 needs it for calibration
    (`calibration_windows` windows of training documents, drawn with `seed`). INT8 is compared with float32 on
    `verify_documents` documents (0: all) of the corpus `verify_on`, by default the run's validation documents, or its
    training documents when nothing was held out. `force` replaces a bundle that is there, and writes even one that
    fails its checks. `license_name` goes into the model card.
    `encoder_weight` overrides what the run measured for the encoder beside the n-grams.
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
    license_name: str = "other"
    encoder_weight: float | None = None

    def __post_init__(self) -> None:
        """Refuse options that leave nothing to write, or that are out of range."""
        if not self.quantize and not self.keep_fp32:
            raise ExportError("without --quantize the float32 graph is the only one; it cannot be left out")
        if self.calibration_windows < 1 or self.verify_documents < 0:
            raise ExportError("calibration windows must be at least 1, documents to verify on not negative")
        if self.encoder_weight is not None and not 0 <= self.encoder_weight < float("inf"):
            raise ExportError(f"the encoder's weight must be a number from 0 on, got {self.encoder_weight}")


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


@dataclass(frozen=True, slots=True)
class _Labelled:
    """Documents whose authors are known: windows of each, labels [n], and where they are from."""

    source: str
    documents: list[list[Ids]]
    labels: npt.NDArray[np.int64]

    @property
    def windows(self) -> list[Ids]:
        return [ids for windows in self.documents for ids in windows]


def export_run(
    run_dir: Path,
    out: Path,
    options: ExportOptions = ExportOptions(),
    report: Callable[[str], None] = lambda message: None,
) -> ExportReport:
    """Make, verify and write a bundle at `out` from the training run in `run_dir`.

    `report` is told what is going on. Nothing is written before all checks have passed. Raises `RunError`,
    `CorpusError`, `ExportError`, `ParityError`, `OutputError` and `MissingExtraError`.
    """
    from authorid.training.encoder.keras_setup import import_keras
    from authorid.training.runs import Run

    run = Run.load(Path(run_dir))
    check_target(out, overwrite=options.force)
    # Keras first: it settles how much TensorFlow says while it loads.
    import_keras()
    for module in ("onnx", "tf2onnx"):
        require(module, "train")
    experts = run.experts()
    if experts is None and options.encoder_weight is not None:
        raise ExportError(f"{run_dir}: has no n-grams beside its encoder, so there is nothing to weigh it against")
    corpus = _training_corpus(run, options, report)
    windower = run.windower()
    held = _verification_set(run, corpus, windower, options)
    golden = _golden_windows(windower, run.window)
    probe = (held.windows if held else [])[:_PARITY_WINDOWS] + golden

    report("converting the Keras model with tf2onnx")
    model = run.keras_model()
    truth = GraphRunner(reference_graph(model))
    made = _Made([_check_reference(truth, model, probe, len(run.authors))])
    weights = from_keras(model)
    report("emitting the float32 graph")
    _make_float32(made, weights, probe, truth.logits(probe), openvino=options.openvino)
    if options.quantize:
        assert corpus is not None and held is not None  # _training_corpus saw to it
        found = _calibrations(run, corpus, windower, weights, options, report)
        _make_int8(made, found, probe, held, report, openvino=options.openvino)
    best = made.runners["int8" if options.quantize else "fp32"]
    if not options.force:
        require_all(made.checks)
    if not options.keep_fp32:
        made.drop_float32()

    names, contents = _graph_files(made.graphs)
    files: dict[str, bytes | str | Path] = {**contents}
    files |= {name: run.path / name for name in ("config.json", "tokenizer.json")}
    if experts is None:
        decision = Decision(temperature=_temperature(run, corpus, windower, best, options, report))
    else:
        expert, decision = experts
        files[NGRAMS] = expert.to_bytes()
        if options.encoder_weight is not None:
            decision = replace(decision, encoder_weight=options.encoder_weight)
    bundle = Bundle(
        path=Path(out),
        model_type=run.geometry.family,
        authors=run.authors,
        window=WindowSpec(run.window, run.stride, run.truncate),
        pooling=run.pooling,
        decision=decision,
        ngrams=None if experts is None else NGRAMS,
        graphs=names,
        golden=_golden(golden, made.runners),
        provenance=_provenance(run, weights, options, made.calibration, Path(out)),
        parity={
            "ok": all(check.ok for check in made.checks),
            "documents": held.source if held else None,
            "checks": [check.to_json() for check in made.checks],
        },
    )
    files["README.md"] = model_card(bundle, files, run.record, made.checks, options.license_name)
    return ExportReport(write_bundle(bundle, files, overwrite=options.force), tuple(made.checks))


@dataclass(slots=True)
class _Made:
    """What an export has so far: what was checked, graphs by `graph_key`, and onnxruntime's own by precision."""

    checks: list[Check]
    graphs: dict[str, bytes] = field(default_factory=dict)
    runners: dict[str, GraphRunner] = field(default_factory=dict)
    calibration: Calibration | None = None

    def add(self, precision: str, graph: bytes) -> GraphRunner:
        """Keep a graph that onnxruntime's own kernels run."""
        self.graphs[precision], self.runners[precision] = graph, GraphRunner(graph)
        return self.runners[precision]

    def check_invariance(self, precision: str, name: str, probe: Sequence[Ids]) -> None:
        """Check that a window alone is what it is in a batch, on any number of threads."""
        threaded = GraphRunner(self.graphs[precision], threads=2)
        name = f"{name}: window alone = in a batch"
        self.checks.append(check_invariance(name, self.runners[precision], threaded, probe))

    def drop_float32(self) -> None:
        """Forget the float32 graphs, once nothing has to be compared with them any more."""
        self.graphs = {key: graph for key, graph in self.graphs.items() if not key.endswith("fp32")}
        self.runners.pop("fp32")


def _make_float32(
    made: _Made, weights: EncoderWeights, probe: Sequence[Ids], expected: npt.NDArray[np.float32], *, openvino: bool
) -> None:
    """Add the float32 graphs, which must give `expected`, the logits of the reference, for the windows `probe`."""
    emitted = made.add("fp32", emit(weights))
    name = "emitted float32 = reference: largest difference"
    made.checks.append(check_logits(name, emitted.logits(probe), expected, EMITTED_TOLERANCE))
    made.check_invariance("fp32", "float32", probe)
    if openvino:
        made.graphs["openvino-fp32"] = graph = emit(weights, dialect=OPENVINO)
        name = "float32 in OpenVINO's dialect = reference: largest difference"
        made.checks.append(check_logits(name, GraphRunner(graph).logits(probe), expected, EMITTED_TOLERANCE))


def _make_int8(
    made: _Made,
    found: Sequence[Calibration],
    probe: Sequence[Ids],
    held: _Labelled,
    report: Callable[[str], None],
    *,
    openvino: bool,
) -> None:
    """Add the INT8 graphs of the most faithful calibration, held to what float32 says of the documents `held`."""
    report(f"choosing among {len(found)} ranges on {len(held.documents)} {held.source} documents")
    expected = made.runners["fp32"].logits(held.windows)
    dialects = (CPU, OPENVINO) if openvino else (CPU,)
    made.calibration = chosen = most_faithful(found, expected, held.windows, held.documents, dialects)
    runner = made.add("int8", emit(chosen.weights, "int8", chosen.ranges))
    made.check_invariance("int8", "INT8", probe)
    report(f"comparing INT8 ({chosen.name}) with float32 on these documents")
    made.checks += check_documents(runner.logits(held.windows), expected, held.documents, held.labels)
    if openvino:
        report("comparing INT8 in OpenVINO's dialect with float32 on the same documents")
        made.graphs["openvino-int8"] = graph = emit(chosen.weights, "int8", chosen.ranges, dialect=OPENVINO)
        actual = GraphRunner(graph).logits(held.windows)
        made.checks += check_documents(actual, expected, held.documents, held.labels, "INT8 in OpenVINO's dialect")


_FILES = {
    "fp32": "model.onnx",
    "int8": "model_int8.onnx",
    "openvino-fp32": "model_openvino.onnx",
    "openvino-int8": "model_int8_openvino.onnx",
}


def _graph_files(graphs: Mapping[str, bytes]) -> tuple[dict[str, str], dict[str, bytes]]:
    """Names of the graphs' files by `graph_key`, and what is in these files and those that they may share."""
    contents: dict[str, bytes] = {}
    for precision in ("fp32", "int8"):
        alike = {_FILES[key]: graph for key, graph in graphs.items() if key.endswith(precision)}
        if len(alike) > 1:
            weights = f"{_FILES[precision]}.data"
            alike, contents[weights] = share_weights(alike, weights)
        contents |= alike
    return {key: _FILES[key] for key in graphs}, contents


def _training_corpus(run: Run, options: ExportOptions, report: Callable[[str], None]) -> Corpus | None:
    """The very corpus of the run, told by its digest; None when there is no need for it and it is not at hand."""
    from authorid.training.corpus import load_corpus

    recorded = run.record["corpus"].get("path")
    place = options.corpus or (Path(recorded) if recorded and Path(recorded).is_dir() else None)
    if place is None:
        if options.quantize:
            raise ExportError(
                f"INT8 is calibrated on training documents of {run.record['corpus'].get('name', 'the corpus')!r}; "
                "say where the corpus is with --corpus DIR"
            )
        return None
    try:
        corpus = load_corpus(place)
        if corpus.digest != run.corpus_digest:
            raise CorpusError(
                f"{place}: not the corpus this run was trained on (its digest is {corpus.digest[:12]}…, the run says "
                f"{run.corpus_digest[:12]}…)"
            )
        return corpus
    except CorpusError as error:
        if options.quantize or options.corpus is not None:
            raise
        report(f"{error}; going on without it")
        return None


def _verification_set(run: Run, corpus: Corpus | None, windower: Windower, options: ExportOptions) -> _Labelled | None:
    from authorid.training.corpus import load_corpus

    if options.verify_on is not None:
        other = load_corpus(options.verify_on, copies=True)
        strangers = sorted(set(other.authors) - set(run.authors))
        if strangers:
            raise CorpusError(
                f"{options.verify_on}: {len(strangers)} of its authors are unknown to the run: "
                f"{', '.join(strangers[:5])}{', ...' if len(strangers) > 5 else ''}"
            )
        return _labelled(run, other, "verification", list(other.documents), windower, options)
    if corpus is None:
        return None
    source, wanted = ("validation", run.validation) if run.validation else ("training", run.training)
    return _labelled(run, corpus, source, _documents(corpus, wanted), windower, options)


def _labelled(
    run: Run,
    corpus: Corpus,
    source: str,
    documents: Sequence[CorpusDocument],
    windower: Windower,
    options: ExportOptions,
) -> _Labelled:
    """At most `options.verify_documents` of the documents that have any tokens.

    Which, does not depend on the seed: who tries several must not change what they are measured on.
    """
    order = np.random.default_rng(0).permutation(len(documents))
    if options.verify_documents:
        order = order[: options.verify_documents]
    chosen = [documents[i] for i in sorted(order)]
    windows = _windows(windower, chosen)
    kept = [i for i, own in enumerate(windows) if own]
    if not kept:
        raise CorpusError(f"{corpus.root}: no {source} documents with any words to compare graphs on")
    index = {author: number for number, author in enumerate(run.authors)}
    labels = np.array([index[corpus.authors[chosen[i].label]] for i in kept], np.int64)
    return _Labelled(source, [windows[i] for i in kept], labels)


def _documents(corpus: Corpus, paths: Sequence[str]) -> list[CorpusDocument]:
    by_path = {document.path: document for document in corpus.documents}
    return [by_path[path] for path in paths if path in by_path]


def _windows(windower: Windower, documents: Sequence[CorpusDocument]) -> list[list[Ids]]:
    tokens = windower.token_ids([document.text for document in documents])
    return [[window.ids for window in windower.windows(ids)] for ids in tokens]


def _golden_windows(windower: Windower, length: int) -> list[Ids]:
    """Windows of random vocabulary, from one token to a full window: nobody's text, and the same for every seed."""
    rng = np.random.default_rng(0)
    content = length - SPECIAL_TOKENS
    sizes = np.unique(np.geomspace(1, content, _GOLDEN_WINDOWS).round().astype(int))
    vocabulary = windower.tokenizer.get_vocab_size()
    return [windower.wrap(rng.integers(0, vocabulary, size, dtype=np.int32)) for size in sizes]


def _golden(windows: Sequence[Ids], runners: Mapping[str, GraphRunner]) -> tuple[Golden, ...]:
    """The windows with their logits by precision."""
    return tuple(
        Golden(
            tuple(int(i) for i in ids),
            {name: tuple(float(x) for x in runner.run(ids[None])["logits"][0]) for name, runner in runners.items()},
        )
        for ids in windows
    )


def _check_reference(truth: GraphRunner, model: Any, probe: Sequence[Ids], authors: int) -> Check:
    from authorid.training.runs import predict_windows

    expected = np.concatenate(predict_windows(model, [[ids] for ids in probe], authors))
    return check_logits("reference = Keras: largest difference", truth.logits(probe), expected, REFERENCE_TOLERANCE)


def _calibrations(
    run: Run,
    corpus: Corpus,
    windower: Windower,
    weights: EncoderWeights,
    options: ExportOptions,
    report: Callable[[str], None],
) -> list[Calibration]:
    rng = np.random.default_rng(options.seed)
    documents = _documents(corpus, run.training)
    found: list[Calibration] = []
    for draw in range(_DRAWS):
        chosen = [documents[i] for i in rng.permutation(len(documents))[: options.calibration_windows]]
        windows = [ids for own in _windows(windower, chosen) for ids in own]
        picked = [windows[i] for i in rng.permutation(len(windows))[: options.calibration_windows]]
        if not picked:
            raise CorpusError(f"{corpus.root}: no training documents with any words to calibrate on")
        report(f"calibrating INT8 on {len(picked)} windows of {len(chosen)} training documents")
        # The methods differ far more than the draws: what clips is not tried again.
        methods = METHODS if not draw else METHODS[:1]
        made = calibrations(weights, picked, options.seed + draw, methods)
        found += [replace(calibration, draw=draw) for calibration in made]
        if (len(chosen), len(picked)) == (len(documents), len(windows)):
            break  # there are no others
    return found


_DRAWS = 4
"""Choices of windows to calibrate on, where there are more windows than are looked at."""


def _temperature(
    run: Run,
    corpus: Corpus | None,
    windower: Windower,
    runner: GraphRunner,
    options: ExportOptions,
    report: Callable[[str], None],
) -> float:
    """Fitted on validation documents; 1.0 when there are none, because on training documents it means nothing."""
    if corpus is None or not run.validation:
        return 1.0
    held = _labelled(run, corpus, "validation", _documents(corpus, run.validation), windower, options)
    temperature = fit_temperature(document_scores(runner.logits(held.windows), held.documents), held.labels)
    report(f"temperature {temperature:.3f}, fitted on {len(held.documents)} validation documents")
    return temperature


def _provenance(
    run: Run, weights: EncoderWeights, options: ExportOptions, calibration: Calibration | None, out: Path
) -> dict[str, Any]:
    record = run.record
    corpus = {key: record["corpus"].get(key) for key in ("name", "digest", "documents", "authors")}
    versions = {"python": platform.python_version(), "authorid": __version__}
    for name in ("onnx", "onnxruntime", "tf2onnx", "tensorflow", "keras", "keras-hub", "numpy"):
        versions[name] = importlib.metadata.version(name)
    return {
        "name": options.name or out.name,
        "base_model": dict(record.get("base_model", {})),
        "corpus": corpus,
        "recipe": record.get("recipe"),
        "funnel": weights.halved is not None,
        "parameters": weights.parameters,
        "seeds": {"training": record.get("seed"), "export": options.seed},
        "versions": {"training": dict(record.get("versions", {})), "export": versions},
        "calibration": calibration.to_json() if calibration else None,
        **({"fusion": {k: v for k, v in record["fusion"].items() if k != "decision"}} if "fusion" in record else {}),
    }
