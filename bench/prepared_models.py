"""The models of a benchmark: prepared for all systems, or a bundle as it is when there are no peers."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from authorid.bundle.manifest import load_bundle
from authorid.encoder.windows import load_windower
from authorid.errors import AuthoridError
from authorid.reporter import Reporter
from bench.environments import OURS, Environment
from bench.prepare_huggingface import geometry_of
from bench.processes import INSTALLED, ROOT, child_environment

__all__ = ["PreparedModel", "WeightSource", "Workshop", "exports_here", "from_bundle", "is_run"]

_PEERS_READ = 512
"""Tokens that peers read of a document where authorid reads all of it: what their tutorials set."""

_FOR_EXPORT = ("keras_hub", "onnx", "safetensors", "tensorflow", "tf2onnx")
"""Packages without which an environment cannot export a classifier."""


@dataclass(frozen=True)
class PreparedModel:
    """A prepared directory (see `bench.peer_interface.Prepared`), and whether its weights were `trained` or drawn."""

    name: str
    path: Path
    trained: bool
    length: int
    """Tokens of a window of ours."""
    author_names: tuple[str, ...]
    vocabulary: int
    geometry: dict[str, Any]
    pooling: str
    funnel: bool
    """Whether our bundle is of a model that leaves out every second token, which the peers' cannot."""
    truncate: int = _PEERS_READ
    """Tokens of a document that peers read, special ones included."""
    huggingface: bool = False
    """Whether it came in Hugging Face layout, with a head that transformers knows."""
    bundle_name: str = "bundle"

    @property
    def bundle(self) -> Path:
        """Our bundle of it."""
        return self.path / self.bundle_name


@dataclass(frozen=True)
class WeightSource:
    """Where weights come from: a training run or a Hugging Face directory `path`, or random numbers.

    `bundle` is used instead of exporting it, and may come from a similar run. `corpus` calibrates INT8. Documents are
    cut to each of `lengths` tokens, if the model is in Hugging Face layout; by default to what it was made for.
    """

    name: str
    path: Path | None = None
    bundle: Path | None = None
    corpus: Path | None = None
    lengths: tuple[int, ...] = ()
    random: bool = False


def is_run(path: Path) -> bool:
    """Whether `path` is a directory that ``authorid train`` wrote."""
    return (path / "run.json").is_file()


def exports_here() -> bool:
    """Whether the environment that runs this can export a classifier."""
    return all(find_spec(name) is not None for name in _FOR_EXPORT)


@dataclass(frozen=True)
class Workshop:
    """Where models are prepared: in the cache, with the tools of the environments."""

    environments: Mapping[str, Environment]
    cache: Path
    reporter: Reporter

    def from_keras(self, source: WeightSource) -> PreparedModel:
        """The model of a training run, or a random one of MiniLM's sizes with the embedded bundle's tokenizer.

        It is prepared again when the code that prepares it changed. Raises `AuthoridError`.
        """
        target = self.cache / "models" / f"{source.name}-{_digest(source, self._authorid)}"
        if not (target / "model.json").is_file():
            if source.path is not None:
                arguments = ["--run", str(source.path.resolve())]
                arguments += ["--corpus", str(source.corpus)] if source.corpus is not None else []
                arguments += ["--bundle", str(source.bundle.resolve())] if source.bundle is not None else []
            else:
                tokenizer = _tokenizer()
                arguments = ["--tokenizer", str(tokenizer)] if tokenizer else []
            self._run(source, ["bench.prepare", *arguments, "--out", str(target)], self._exporter(keras=True))
        return _model(source.name, target, source.path is not None)

    def from_huggingface(self, source: WeightSource) -> list[PreparedModel]:
        """The classifier in Hugging Face layout at the source's path, once for each length; raises `AuthoridError`."""
        assert source.path is not None and source.corpus is not None
        target = self.cache / "models" / f"{source.name}-{_digest(source, self._authorid)}"
        if not (target / "model.json").is_file():
            arguments = ["--model", str(source.path.resolve()), "--corpus", str(source.corpus)]
            arguments += [part for length in source.lengths for part in ("--length", str(length))]
            arguments += ["--bundle", str(source.bundle.resolve())] if source.bundle is not None else []
            arguments += ["--random"] if source.random else []
            command = ["bench.prepare_huggingface", *arguments, "--out", str(target)]
            self._run(source, command, self._exporter(keras=False))
        torch = next((found for name in ("torch", "optimum") if (found := self._python(name))), None)
        if torch is not None and not (target / "golden.npz").is_file():
            self._run(source, ["bench.reference_logits", str(target)], torch)
        names = json.loads((target / "model.json").read_text("utf-8"))["lengths"]
        models = [_model(source.name, target, not source.random, name) for name in names]
        return sorted(models, key=lambda model: model.length)

    @property
    def _authorid(self) -> Path:
        return self.cache / INSTALLED / "authorid"

    def _python(self, name: str) -> Path | None:
        environment = self.environments.get(name)
        return None if environment is None else environment.python

    def _exporter(self, *, keras: bool) -> Path:
        """The interpreter of the first environment that can export: for what `keras` makes, with its pinned version."""
        ours = self._python(OURS) if exports_here() and not keras else None
        python = ours or self._python("keras")
        if python is None:
            raise AuthoridError("the model is prepared with Keras, whose environment is not there (--peers none?)")
        return python

    def _run(self, source: WeightSource, command: Sequence[str], python: Path) -> None:
        """Run a module of the bench; its output goes to a log, and its last line into the error."""
        self.reporter.info(f"preparing the weights of {source.name}")
        (self.cache / "models").mkdir(parents=True, exist_ok=True)
        log = self.cache / "logs" / f"prepare-{source.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as output:
            status = subprocess.run(
                [str(python), "-m", *command],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                env=child_environment(2, self.cache),
                timeout=3600,
            ).returncode
        if status:
            reason = (log.read_text("utf-8", "replace").strip().splitlines() or [f"status {status}"])[-1]
            if status < 0:
                reason = f"the process was ended by signal {-status}, after: {reason}"
            raise AuthoridError(f"the weights of {source.name} could not be prepared: {reason}")


def _digest(source: WeightSource, authorid: Path) -> str:
    """Identifies the code, of `authorid` and of the bench, and the files that decide what is prepared."""
    bench = Path(__file__).parent
    files = [bench / name for name in ("prepare.py", "prepare_huggingface.py", "reference_logits.py")]
    for directory in (authorid / "export", authorid / "bundle", authorid / "training" / "encoder", bench / "peers"):
        files += sorted(directory.rglob("*.py"))
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in files]
    for given, names in ((source.path, ("run.json", "config.json")), (source.bundle, ("authorid.json",))):
        digests += [(given / name).read_bytes() for name in names if given is not None and (given / name).is_file()]
    if source.path is not None and not is_run(source.path):  # weights are large: their size and date will do
        states = [(path.name, path.stat()) for path in sorted(source.path.iterdir()) if path.is_file()]
        digests += [f"{name} {state.st_size} {state.st_mtime_ns}".encode() for name, state in states]
    digests.append(f"{source.lengths} {source.random}".encode())
    return hashlib.sha256(b"\0".join(digests)).hexdigest()[:12]


def _tokenizer() -> Path | None:
    """tokenizer.json of the embedded bundle; None where there is no such bundle."""
    from authorid.models import default_bundle

    try:
        return default_bundle() / "tokenizer.json"
    except AuthoridError:
        return None


def from_bundle(bundle: Path, cache: Path) -> PreparedModel:
    """A bundle alone: enough for us, nothing for the peers."""
    loaded = load_bundle(bundle)
    target = cache / "models" / f"bundle-{loaded.name}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bundle, target / "bundle")
    record = {
        "authors": list(loaded.authors),
        "geometry": geometry_of(json.loads((bundle / "config.json").read_text("utf-8"))),
        "pooling": loaded.pooling,
    }
    (target / "model.json").write_text(json.dumps(record), "utf-8")
    return _model(loaded.name, target, True)


def _model(name: str, path: Path, trained: bool, bundle_name: str = "bundle") -> PreparedModel:
    record = json.loads((path / "model.json").read_text("utf-8"))
    bundle = load_bundle(path / bundle_name)
    length = bundle.window.length
    return PreparedModel(
        name=name,
        path=path.resolve(),
        trained=trained,
        length=length,
        author_names=tuple(record["authors"]),
        vocabulary=load_windower(bundle).tokenizer.get_vocab_size(),
        geometry=dict(record["geometry"]),
        pooling=str(record["pooling"]),
        funnel=bool(bundle.provenance.get("funnel", False)),
        truncate=length if bundle.window.truncate else _PEERS_READ,
        huggingface=bool(record.get("huggingface", False)),
        bundle_name=bundle_name,
    )
