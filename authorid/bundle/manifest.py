"""A model on disk: read, validate, describe, write.

A bundle is a directory in Hugging Face layout (``config.json``, ``tokenizer.json``, ``README.md``, ONNX graphs)
with the n-grams as one more file, and ``authorid.json``, which says how all is to be used and carries the SHA-256 of
every other file. Nothing in a bundle is code or pickle, and no file outside its directory is ever opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from authorid.bundle.decision import Decision
from authorid.bundle.onnx_scan import check_graph
from authorid.encoder.windows import Windower
from authorid.errors import BundleCorruptError, BundleLacksError, BundleNotFoundError, OutputError, os_error_reason
from authorid.ngrams.model import NgramModel

__all__ = [
    "FORMAT",
    "MANIFEST",
    "NGRAMS",
    "Bundle",
    "Golden",
    "Precision",
    "Provider",
    "WindowSpec",
    "check_target",
    "check_writable",
    "graph_key",
    "load_bundle",
    "write_bundle",
]

FORMAT = 4
"""The version of the layout that this release reads and writes."""

MANIFEST = "authorid.json"

NGRAMS = "ngrams.safetensors"
"""Name of the n-gram expert's file, in a run and in a bundle."""

Precision = Literal["fp32", "int8"]

Provider = Literal["cpu", "openvino"]
"""Who runs a graph: onnxruntime's own CPU kernels, or OpenVINO's. See `authorid.encoder.providers`."""


def graph_key(precision: str, provider: str = "cpu") -> str:
    """What a graph is called in `Bundle.graphs`, and its logits in `Golden.logits`: ``int8``, ``openvino-int8``, ..."""
    return precision if provider == "cpu" else f"{provider}-{precision}"


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How documents are cut: see `authorid.encoder.windows.Windower`. Lengths in tokens."""

    length: int
    stride: int
    truncate: bool = False


@dataclass(frozen=True, slots=True)
class Golden:
    """One window [s] of token ids and the logits [authors] that each graph, by its `graph_key`, must give for it."""

    ids: tuple[int, ...]
    logits: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Bundle:
    """A validated model directory. Make one with `load_bundle`.

    `graphs` maps a `graph_key` to a file name: graphs for onnxruntime's own kernels go by their precision, those in the
    dialect of another provider have its name in front. `ngrams` is the file of the n-gram expert; it or the graphs may
    be missing. Graphs may keep their weights in a file that they share. `files` maps every file to its SHA-256;
    `provenance` and `parity` are records for people: what the model was made from, and how its graphs compare.
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

    @property
    def name(self) -> str:
        """A short name for people: the name that provenance gives, or the directory's."""
        return str(self.provenance.get("name") or self.path.name)

    def precision(self, wanted: str = "auto", provider: Provider = "cpu") -> Precision:
        """The precision to run on `provider`: `wanted`, or with ``auto`` the fastest there is.

        Raises `BundleLacksError` when the bundle has no such graph.
        """
        candidates: tuple[Precision, ...] = ("int8", "fp32")
        for candidate in candidates:
            if graph_key(candidate, provider) in self.graphs and wanted in ("auto", candidate):
                return candidate
        have = ", ".join(sorted(self.graphs)) or "n-grams only"
        lacking, hint = f"no {wanted} graph", ""
        if provider != "cpu":
            lacking = "no graph" if wanted == "auto" else lacking
            lacking, hint = f"{lacking} for {provider}", f"; authorid export --{provider} writes them"
        raise BundleLacksError(f"{self.path}: {lacking} in this bundle; it has {have}{hint}")

    def graph(self, precision: Precision, provider: Provider = "cpu") -> Path:
        """Path of the graph of that precision in the dialect of `provider`."""
        return self.path / self.graphs[graph_key(precision, provider)]

    def sha256(self, precision: Precision, provider: Provider = "cpu") -> str:
        """Digest of that graph; it covers weights in another file, because the graph has their digest inside."""
        return self.files[self.graphs[graph_key(precision, provider)]]

    def expert(self) -> NgramModel | None:
        """The n-gram expert, when there is one; raises `BundleCorruptError`."""
        if self.ngrams is None:
            return None
        expert = NgramModel.load(self.path / self.ngrams)
        if len(expert.bias) != len(self.authors):
            raise BundleCorruptError(
                f"{self.path / self.ngrams}: made for {len(expert.bias)} authors, not for {len(self.authors)}"
            )
        familiar, views = self.decision.known_author_rule, len(expert.reader.views)
        if familiar is not None and (
            len(familiar.mean) != len(self.authors)
            or len(familiar.view_weights) != views
            or max(familiar.plain_views) >= views
        ):
            raise BundleCorruptError(f"{self.path / MANIFEST}: the known-author rule is not that of {self.ngrams}")
        return expert

    def windower(self) -> Windower:
        """The tokenizer and window cutter that this model was trained with."""
        spec = self.window
        return Windower.from_file(self.path / "tokenizer.json", spec.length, spec.stride, truncate=spec.truncate)


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and validate the bundle in the directory `path`.

    Raises `BundleNotFoundError` when there is none, and `BundleCorruptError` when a file is missing or its
    digest, the version or a shape does not match.
    """
    root = Path(path)
    try:
        return _load(root)
    except OSError as error:
        raise BundleCorruptError(f"{root}: cannot be read ({error.strerror or error})") from None


def _load(root: Path) -> Bundle:
    manifest = root / MANIFEST
    if not manifest.is_file():
        hint = ""
        if (root / "run.json").is_file():
            hint = f"; this is a training run: authorid export {root} --out BUNDLE --quantize"
        elif not root.exists():
            hint = "; there is nothing at that path"
        raise BundleNotFoundError(f"{root}: not a model bundle (no {MANIFEST}){hint}")
    if manifest.is_symlink():
        raise BundleCorruptError(f"{manifest}: is a link, and could lead out of the bundle; copy the file itself")
    try:
        record = json.loads(manifest.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleCorruptError(f"{manifest}: unreadable ({error})") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        version = record.get("format") if isinstance(record, dict) else None
        raise BundleCorruptError(
            f"{manifest}: bundle format {version!r}; this release reads format {FORMAT}. "
            "Export the model again, or install a matching authorid."
        )
    try:
        return _parse(root, record)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleCorruptError(f"{manifest}: not a valid bundle record ({error!r})") from None


def _parse(root: Path, record: dict[str, Any]) -> Bundle:
    files = {str(name): str(digest) for name, digest in record["files"].items()}
    for name, digest in files.items():
        _check_file(root, name, digest)
    graphs = {str(precision): str(name) for precision, name in record["graphs"].items()}
    ngrams = record.get("ngrams")
    if ngrams is not None and not (isinstance(ngrams, str) and ngrams.endswith(".safetensors")):
        raise BundleCorruptError(f"{root / MANIFEST}: the n-gram expert must be a .safetensors file")
    parts = (*(("tokenizer.json", *graphs.values()) if graphs else ()), *((ngrams,) if ngrams else ()))
    for needed in ("config.json", *parts):
        if needed not in files:
            raise BundleCorruptError(f"{root / MANIFEST}: no digest for {needed}")
    for name in graphs.values():
        if not name.endswith(".onnx"):  # onnxruntime reads .ort files as another, laxer format
            raise BundleCorruptError(f"{root / name}: a graph must be an .onnx file")
        check_graph(root / name, frozenset(files))
    config = json.loads((root / "config.json").read_text("utf-8"))
    labels = {int(index): str(label) for index, label in config["id2label"].items()}
    if sorted(labels) != list(range(len(labels))) or len(labels) < 2:
        raise BundleCorruptError(f"{root / 'config.json'}: id2label must number at least two authors from 0")
    golden = tuple(
        Golden(
            tuple(int(i) for i in item["ids"]),
            {str(k): tuple(float(x) for x in row) for k, row in item["logits"].items()},
        )
        for item in record.get("golden", ())
    )
    for item in golden:
        for row in item.logits.values():
            if len(row) != len(labels):
                raise BundleCorruptError(
                    f"{root / MANIFEST}: golden logits for {len(row)} authors, but config.json has {len(labels)}"
                )
    window = WindowSpec(**record["window"])
    decision = Decision.from_json(record["decision"])
    whole = isinstance(window.length, int) and isinstance(window.stride, int)
    if not parts or not whole or not 0 < window.stride <= window.length - 2:
        raise BundleCorruptError(f"{root / MANIFEST}: neither graphs nor n-grams, or a window out of range")
    if (decision.rule == "fusion") != (ngrams is not None):
        raise BundleCorruptError(f"{root / MANIFEST}: the decision rule does not fit the experts of this bundle")
    return Bundle(
        path=root,
        model_type=str(config["model_type"]),
        authors=tuple(labels[i] for i in range(len(labels))),
        window=window,
        pooling=str(record["pooling"]),
        decision=decision,
        graphs=graphs,
        golden=golden,
        provenance=dict(record.get("provenance", {})),
        parity=dict(record.get("parity", {})),
        files=files,
        ngrams=ngrams,
    )


_CODE = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".keras", ".py", ".so", ".dll", ".dylib")
"""Endings of pickles and of other files that run when they are opened. Nothing here opens them; nobody should."""


def _check_file(root: Path, name: str, digest: str) -> None:
    # A name with a directory part, or a link, could lead out of the bundle.
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise BundleCorruptError(f"{root / MANIFEST}: {name!r} is not a plain file name")
    if name.lower().endswith(_CODE):
        raise BundleCorruptError(f"{root / name}: files that can carry code have no place in a bundle")
    file = root / name
    if file.is_symlink() or not file.is_file():
        raise BundleCorruptError(f"{file}: missing, or not a regular file; the bundle is incomplete")
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != digest:
        raise BundleCorruptError(
            f"{file}: its SHA-256 is {actual[:12]}…, the bundle says {digest[:12]}…; "
            "the file was changed or damaged. Copy the bundle again."
        )


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False, kind: str = MANIFEST) -> Path:
    """Where `write_bundle` will put a bundle that goes to `path`: links are followed, to what they lead to.

    With `overwrite`, a directory that is empty or has a file named `kind` in it may be replaced. Raises `OutputError`
    when there is anything else, or something that cannot be replaced in one step, or nothing can be written there.
    """
    with _refusing(path):
        target = Path(path).resolve()
        check_writable(target.parent)
        if not target.exists():
            return target
        if not overwrite:
            raise OutputError(f"{path}: already exists; choose another place or pass --force")
        names = {entry.name for entry in target.iterdir()} if target.is_dir() else {""}
        if names and not (target / kind).is_file():
            what = "a bundle" if kind == MANIFEST else "a training run"
            raise OutputError(f"{path}: exists and is not {what}; refusing to replace it")
        strange = names - _own_names(target) if names and kind == MANIFEST else set()
        if strange:
            raise OutputError(f"{path}: holds files that are not of the bundle ({min(strange)}); move them away first")
        if target.is_mount():
            raise OutputError(f"{path}: is a mount point and cannot be replaced; choose a directory in it")
        if Path.cwd().is_relative_to(target):
            raise OutputError(f"{path}: is the current directory, or one above it; go elsewhere to replace it")
        return target


def check_writable(place: Path) -> None:
    """Check that directories can be made in `place`, or where it is to be made, and leave nothing behind.

    For whoever is about to work long before anything is written. Raises `OutputError`.
    """
    with _refusing(place):
        there = place.absolute()
        while not there.exists():
            there = there.parent
        with tempfile.TemporaryDirectory(prefix=".authorid-", dir=there):
            pass


def _own_names(root: Path) -> set[str]:
    """Names of the files of the bundle at `root`, which may be damaged."""
    try:
        return {MANIFEST, *json.loads((root / MANIFEST).read_text("utf-8"))["files"]}
    except (ValueError, TypeError, KeyError):
        return {entry.name for entry in root.iterdir()}


def write_bundle(
    bundle: Bundle, files: Mapping[str, bytes | str | Path], *, overwrite: bool = False, kind: str = MANIFEST
) -> Bundle:
    """Write `bundle` with the contents of `files` (bytes, text, or a path to copy) at ``bundle.path``.

    The directory appears whole or not at all, and what it replaces (see `check_target`) is gone only then. Digests are
    computed here; ``bundle.files`` is ignored. Returns the bundle as `load_bundle` reads it back. Raises `OutputError`.
    """
    target = check_target(bundle.path, overwrite=overwrite, kind=kind)
    with _refusing(bundle.path):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            staging.chmod(0o755)
            digests = {name: _write(staging / name, content) for name, content in sorted(files.items())}
            record = {
                "format": FORMAT,
                "window": asdict(bundle.window),
                "pooling": bundle.pooling,
                "decision": asdict(bundle.decision),
                "graphs": dict(bundle.graphs),
                **({"ngrams": bundle.ngrams} if bundle.ngrams else {}),
                "golden": [asdict(item) for item in bundle.golden],
                "parity": dict(bundle.parity),
                "provenance": dict(bundle.provenance),
                "files": digests,
            }
            _write(staging / MANIFEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            load_bundle(staging).expert()
            _put_in_place(staging, target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return load_bundle(bundle.path)


def _write(path: Path, content: bytes | str | Path) -> str:
    """Write `content` so that it survives the machine; its SHA-256. What is no Unicode in a text becomes ``?``."""
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with path.open("xb") as stream:
        if isinstance(data, Path):
            with data.open("rb") as source:
                shutil.copyfileobj(source, stream)
        else:
            stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename `staging` to `target`; what is there is moved aside, back if that fails, and removed if it does not."""
    if not target.exists():
        staging.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    try:
        target.rename(aside)
        staging.rename(target)
    except BaseException:
        if not target.exists():
            aside.rename(target)
        raise
    finally:
        if target.exists():  # else what was there could not be put back, and waits where it is
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _refusing(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{os.fspath(path)}: cannot write there: {os_error_reason(error)}") from None
