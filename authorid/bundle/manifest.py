"""The manifest of a bundle: what a model directory contains, how to read it and how to write it.

A bundle is a directory in Hugging Face layout: ``config.json``, ``tokenizer.json``, ``README.md``, ONNX graphs. It may
also hold an n-gram model. Its manifest ``authorid.json`` says how to use these files, and has the SHA-256 of each and
of its own content.
Nothing in a bundle is code or pickle, and no file outside its directory is ever opened.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from authorid.bundle.author_names import too_much_alike
from authorid.bundle.decision import Decision
from authorid.bundle.effort import NOT_MEASURED, Effort, EffortRule
from authorid.bundle.record_digest import DIGEST, check_digest, with_digest
from authorid.bundle.strict_json import read_object
from authorid.bundle.verification import verify_files, verify_graphs
from authorid.errors import BundleCorruptError, BundleLacksError, BundleNotFoundError
from authorid.outputs.answers import Answers

__all__ = [
    "FORMAT",
    "LONGEST_WINDOW",
    "MANIFEST",
    "MOST_OVERLAP",
    "NGRAMS",
    "Bundle",
    "Classes",
    "Golden",
    "Precision",
    "Provider",
    "Typography",
    "WindowSpec",
    "graph_key",
    "load_bundle",
    "manifest_record",
]

FORMAT = 5
"""The version of the manifest that this release writes."""

_WITHOUT_DIGEST = 4
"""The version before, which this release reads too: its manifests lack a digest of their own."""

MANIFEST = "authorid.json"
"""File name of the manifest."""

NGRAMS = "ngrams.safetensors"
"""File name of the n-gram model, in a training run and in a bundle."""

LONGEST_WINDOW = 1 << 16
"""The most tokens in a window. The encoders of today have 512 to 8192."""

MOST_OVERLAP = 16
"""The most windows that have a token in common: the time and memory of a document are proportional to it."""

_MOST_GOLDEN = 64

Precision = Literal["fp32", "int8"]

Provider = Literal["cpu", "fused", "openvino"]
"""The inference backend of a graph: kernels of onnxruntime, ours, or OpenVINO's. See `authorid.encoder.providers`."""

_EXPORTS: Mapping[Provider, str] = {"fused": "--quantize", "openvino": "--openvino"}
"""The option of ``authorid export`` that writes the graphs of a provider."""

Typography = Literal["folded", "kept"]
"""Whether a model gets texts with folded typography (`authorid.inputs.typography`), in training and in scoring."""


Classes = Literal["authors", "labels"]
"""What the classes of a model are. Results and messages call them so."""


def graph_key(precision: str, provider: str = "cpu") -> str:
    """The key of a graph in `Bundle.graphs`: ``int8``, ``openvino-int8``, ..."""
    return precision if provider == "cpu" else f"{provider}-{precision}"


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How a document is cut into windows: see `authorid.encoder.windows.Windower`. Lengths in tokens."""

    length: int
    stride: int
    truncate: bool = False


@dataclass(frozen=True, slots=True)
class Golden:
    """A test input: one window [s] of token ids, and the logits [authors] that graphs of each precision give for it."""

    ids: tuple[int, ...]
    logits: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Bundle:
    """A validated model directory, made by `load_bundle`.

    `graphs` maps a `graph_key` to a file name. `ngrams` is the file name of the n-gram model. A bundle has graphs, an
    n-gram model, or both. Several graphs may share one file of weights. `files` maps the name of every file to its
    SHA-256. `provenance` and `parity` are for people to read: what the model was made from, and how its graphs compare
    with the original. `typography` is what the model was trained with. `authors` are the names of the model's classes,
    also where `classes` is ``labels``, which may be anything. `effort_rule` says when the encoder is worth
    its time.
    """

    path: Path
    model_type: str
    authors: tuple[str, ...]
    window: WindowSpec
    pooling: str
    decision: Decision
    graphs: Mapping[str, str]
    golden: tuple[Golden, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    ngrams: str | None = None
    typography: Typography = "kept"
    classes: Classes = "authors"
    effort_rule: EffortRule = NOT_MEASURED

    @property
    def default_effort(self) -> Effort:
        """The effort when the user chooses none; a bundle with only one of the two models leaves no choice."""
        if self.ngrams is None:
            return "full"
        return self.effort_rule.default if self.graphs else "fast"

    @property
    def answers(self) -> Answers:
        """What the answers of the model are."""
        return Answers(
            names=self.authors,
            noun="author" if self.classes == "authors" else "label",
            measure="value" if self.decision.rule == "identity" else "probability",
            several=self.decision.rule == "sigmoid",
        )

    @property
    def name(self) -> str:
        """A short name to display: the name in `provenance`, or else the name of the directory."""
        return str(self.provenance.get("name") or self.path.name)

    def precision(self, wanted: str = "auto", provider: Provider = "cpu") -> Precision:
        """The precision to run on `provider`: `wanted`, or with ``auto`` the fastest one in the bundle.

        Raises `BundleLacksError` when the bundle has no such graph.
        """
        candidates: tuple[Precision, ...] = ("int8", "fp32")
        for candidate in candidates:
            if graph_key(candidate, provider) in self.graphs and wanted in ("auto", candidate):
                return candidate
        have = ", ".join(sorted(self.graphs)) or "n-grams only"
        lacking, hint = "no graph" if wanted == "auto" else f"no {wanted} graph", ""
        if provider != "cpu":
            lacking, hint = f"{lacking} for {provider}", f"; authorid export {_EXPORTS[provider]} writes them"
        raise BundleLacksError(f"{self.path}: {lacking} in this bundle; it has {have}{hint}")

    @property
    def digest(self) -> str:
        """What identifies the content of the bundle, wherever it is."""
        return str(manifest_record(self, self.files)[DIGEST])

    def decision_for(self, max_false_attribution: float | None, any_text: bool) -> Decision:
        """The decision rule, as strict as `max_false_attribution` requires; with `any_text` no text is too unlike.

        Raises `BundleLacksError` when the bundle knows no thresholds to choose from.
        """
        decision = replace(self.decision, coverage_threshold=0.0) if any_text else self.decision
        if max_false_attribution is None:
            return decision
        try:
            return decision.with_false_attribution(max_false_attribution)
        except ValueError as error:
            raise BundleLacksError(f"{self.path}: {error}; there is no threshold to choose") from None

    @property
    def suits_avx2(self) -> bool:
        """Whether the weights were rounded so that our kernels for AVX2 run them faster than others can."""
        calibration = self.provenance.get("calibration")
        return isinstance(calibration, Mapping) and calibration.get("products_in_16_bits") == 4

    def graph(self, precision: Precision, provider: Provider = "cpu") -> Path:
        """Path of the graph with this precision for `provider`."""
        return self.path / self.graphs[graph_key(precision, provider)]

    def sha256(self, precision: Precision, provider: Provider = "cpu") -> str:
        """SHA-256 of that graph. It covers weights in a separate file too: the graph contains their digest."""
        return self.files[self.graphs[graph_key(precision, provider)]]


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and validate the bundle in the directory `path`.

    Raises `BundleNotFoundError` when there is none, and `BundleCorruptError` when a file is missing, or when a digest,
    the format version or a shape does not match.
    """
    root = Path(path)
    try:
        record = _read_manifest(root)
        return _parse(root, record)
    except OSError as error:
        raise BundleCorruptError(f"{root}: cannot be read ({error.strerror or error})") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleCorruptError(f"{root / MANIFEST}: not a valid manifest ({error!r})") from None


def manifest_record(bundle: Bundle, digests: Mapping[str, str]) -> dict[str, Any]:
    """The content of the manifest of `bundle`; `digests` maps the name of each file to its SHA-256."""
    return with_digest(
        {
            "format": FORMAT,
            "window": asdict(bundle.window),
            "pooling": bundle.pooling,
            "decision": asdict(bundle.decision),
            "graphs": dict(bundle.graphs),
            **({"ngrams": bundle.ngrams} if bundle.ngrams else {}),
            # A manifest without it, as those before there was folding, means "kept".
            **({"typography": bundle.typography} if bundle.typography != "kept" else {}),
            # A manifest without it, as those before it was measured, means `NOT_MEASURED`.
            **({"effort": bundle.effort_rule.to_json()} if bundle.effort_rule != NOT_MEASURED else {}),
            # A manifest without it means "authors".
            **({"classes": bundle.classes} if bundle.classes != "authors" else {}),
            "golden": [asdict(item) for item in bundle.golden],
            "parity": dict(bundle.parity),
            "provenance": dict(bundle.provenance),
            "files": dict(digests),
        }
    )


def _read_manifest(root: Path) -> dict[str, Any]:
    manifest = root / MANIFEST
    if not manifest.is_file():
        hint = ""
        if (root / "run.json").is_file():
            hint = f"; this is a training run: authorid export {root} --quantize"
        elif (root / "config.json").is_file():
            hint = f"; make one of this model: authorid export {root} --quantize --corpus DOCUMENTS"
        elif not root.exists():
            from authorid.outputs.directory import unfinished_work

            hint = f"; {unfinished_work(root) or 'there is nothing at that path'}"
        raise BundleNotFoundError(f"{root}: not a model bundle (no {MANIFEST}){hint}")
    if manifest.is_symlink():
        raise BundleCorruptError(f"{manifest}: is a link, and could lead out of the bundle; copy the file itself")
    try:
        record = read_object(manifest)
    except ValueError as error:
        raise BundleCorruptError(f"{manifest}: unreadable ({error})") from None
    if record.get("format") not in (_WITHOUT_DIGEST, FORMAT):
        raise BundleCorruptError(
            f"{manifest}: bundle format {record.get('format')!r}; this release reads format {FORMAT}. "
            "Export the model again, or install a matching authorid."
        )
    try:
        check_digest(record, required=record["format"] == FORMAT)
    except ValueError as error:
        raise BundleCorruptError(f"{manifest}: {error}. Copy the bundle again.") from None
    return record


def _parse(root: Path, record: dict[str, Any]) -> Bundle:
    """Validate the manifest `record` and the files it lists, and build the bundle."""
    manifest = root / MANIFEST
    files = {str(name): str(digest) for name, digest in record["files"].items()}
    verify_files(manifest, files)
    graphs = {str(key): str(name) for key, name in record["graphs"].items()}
    ngrams = record.get("ngrams")
    if ngrams is not None and not (isinstance(ngrams, str) and ngrams.endswith(".safetensors")):
        raise BundleCorruptError(f"{manifest}: the n-gram model must be a .safetensors file")
    if not graphs and not ngrams:
        raise BundleCorruptError(f"{manifest}: the bundle has neither graphs nor an n-gram model")
    required = ["config.json"]
    if graphs:
        required += ["tokenizer.json", *graphs.values()]
    if ngrams:
        required.append(ngrams)
    for name in required:
        if name not in files:
            raise BundleCorruptError(f"{manifest}: no digest for {name}")
    verify_graphs(manifest, graphs.values(), files)
    classes = _parse_classes(manifest, record.get("classes", "authors"))
    decision = Decision.from_json(record["decision"])
    model_type, names = _read_config(root / "config.json", classes, decision.fewest_classes)
    if (decision.rule == "fusion") != (ngrams is not None):
        raise BundleCorruptError(
            f"{manifest}: the decision rule is {decision.rule!r}, which does not match a bundle "
            f"{'without' if ngrams is None else 'with'} an n-gram model"
        )
    return Bundle(
        path=root,
        model_type=model_type,
        authors=names,
        window=_parse_window(manifest, record["window"]),
        pooling=str(record["pooling"]),
        decision=decision,
        graphs=graphs,
        golden=_parse_golden(manifest, record.get("golden", ()), len(names)),
        provenance=dict(record.get("provenance", {})),
        parity=dict(record.get("parity", {})),
        files=files,
        ngrams=ngrams,
        typography=_parse_typography(manifest, record.get("typography", "kept")),
        classes=classes,
        effort_rule=EffortRule.from_json(record["effort"]) if "effort" in record else NOT_MEASURED,
    )


def _parse_typography(manifest: Path, value: object) -> Typography:
    for known in get_args(Typography):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise BundleCorruptError(f"{manifest}: unknown typography {value!r}; this release knows folded and kept")


def _parse_classes(manifest: Path, value: object) -> Classes:
    for known in get_args(Classes):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise BundleCorruptError(f"{manifest}: unknown classes {value!r}; this release knows authors and labels")


def _read_config(path: Path, classes: Classes, fewest: int) -> tuple[str, tuple[str, ...]]:
    """The model type and the names of the `classes`, in the order of their numbers, from ``config.json``."""
    try:
        config = read_object(path)
        labels = {int(index): str(label) for index, label in config["id2label"].items()}
        model_type = str(config["model_type"])
        "".join(labels.values()).encode()  # raises ValueError for what no file of results can hold
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise BundleCorruptError(f"{path}: not a usable configuration ({reason})") from None
    if sorted(labels) != list(range(len(labels))) or len(labels) < fewest:
        raise BundleCorruptError(f"{path}: id2label must number the {classes} from 0, at least {fewest} of them")
    if classes == "authors":
        alike = too_much_alike(labels.values())
        if alike is not None:
            raise BundleCorruptError(f"{path}: the authors {alike}; rename one in the training corpus and train again")
    elif len(set(labels.values())) < len(labels):
        twice = next(name for name, count in Counter(labels.values()).items() if count > 1)
        raise BundleCorruptError(f"{path}: the label {twice!r} occurs twice; rename one and export the model again")
    return model_type, tuple(labels[index] for index in range(len(labels)))


def _parse_window(manifest: Path, record: Mapping[str, Any]) -> WindowSpec:
    window = WindowSpec(**record)
    whole = isinstance(window.length, int) and isinstance(window.stride, int)
    if (
        not whole
        or not 0 < window.stride <= window.length - 2
        or window.length > LONGEST_WINDOW
        or window.stride * MOST_OVERLAP < window.length - 2
    ):
        raise BundleCorruptError(f"{manifest}: window length or stride is out of range")
    return window


def _parse_golden(manifest: Path, records: Iterable[Mapping[str, Any]], classes: int) -> tuple[Golden, ...]:
    golden = tuple(
        Golden(
            tuple(int(token) for token in item["ids"]),
            {str(key): tuple(float(logit) for logit in row) for key, row in item["logits"].items()},
        )
        for item in records
    )
    if len(golden) > _MOST_GOLDEN:
        raise BundleCorruptError(f"{manifest}: {len(golden)} golden windows, at most {_MOST_GOLDEN} are allowed")
    for item in golden:
        if len(item.ids) > LONGEST_WINDOW or not all(0 <= token < 1 << 31 for token in item.ids):
            raise BundleCorruptError(f"{manifest}: a golden window is too long, or has a token that is out of range")
        for row in item.logits.values():
            if len(row) != classes:
                raise BundleCorruptError(
                    f"{manifest}: golden logits for {len(row)} classes, but config.json has {classes}"
                )
    return golden
