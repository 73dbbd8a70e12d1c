"""The models of a benchmark: prepared in the Keras environment, or a bundle as it is when there are no peers."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authorid.bundle.manifest import load_bundle
from authorid.encoder.windows import load_windower
from authorid.errors import AuthoridError
from authorid.reporter import Reporter
from bench.environments import Environment
from bench.processes import ROOT, child_environment

__all__ = ["PreparedModel", "WeightSource", "from_bundle", "prepare"]


@dataclass(frozen=True)
class PreparedModel:
    """A prepared directory (see `bench.peer_interface.Prepared`), and whether its weights were `trained` or drawn."""

    name: str
    path: Path
    trained: bool
    window: int
    author_names: tuple[str, ...]
    vocabulary: int
    geometry: dict[str, Any]
    pooling: str
    funnel: bool
    """Whether our bundle is of a model that leaves out every second token, which the peers' cannot."""

    @property
    def bundle(self) -> Path:
        """Our bundle of it."""
        return self.path / "bundle"


@dataclass(frozen=True)
class WeightSource:
    """Where weights come from: the training run `run`, or random numbers in the shape of `geometry`.

    `bundle` is used instead of exporting the run, and may come from a similar run. `corpus` calibrates INT8.
    """

    geometry: str
    run: Path | None = None
    bundle: Path | None = None
    corpus: Path | None = None


def prepare(source: WeightSource, environment: Environment, cache: Path, reporter: Reporter) -> PreparedModel:
    """One set of weights for all systems, in the cache; prepared again when the code that prepares them changed.

    A random model has the tokenizer of the embedded bundle. Raises `AuthoridError`.
    """
    run, bundle = source.run, source.bundle
    name = run.resolve().name if run is not None else source.geometry
    digest = _digest(source)
    target = cache / "models" / f"{name}-{digest}"
    if not (target / "model.json").is_file():
        reporter.info(f"preparing the weights of {name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [str(environment.python), "-m", "bench.prepare", "--out", str(target)]
        if run is not None:
            command += ["--run", str(run.resolve())]
            command += ["--corpus", str(source.corpus)] if source.corpus is not None else []
            command += ["--bundle", str(bundle.resolve())] if bundle is not None else []
        else:
            tokenizer = _tokenizer()
            command += ["--geometry", source.geometry] + (["--tokenizer", str(tokenizer)] if tokenizer else [])
        log = cache / "logs" / f"prepare-{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as output:
            status = subprocess.run(
                command, cwd=ROOT, stdout=output, stderr=output, env=child_environment(2, cache), timeout=1800
            ).returncode
        if status:
            reason = (log.read_text("utf-8", "replace").strip().splitlines() or [f"status {status}"])[-1]
            raise AuthoridError(f"the weights of {name} could not be prepared: {reason}")
    return _model(name, target, run is not None)


def _digest(source: WeightSource) -> str:
    """Identifies the code and files that decide what is prepared."""
    files = [ROOT / "bench" / "prepare.py"]
    for directory in ("export", "authorid/bundle", "authorid/training/encoder", "bench/peers"):
        files += sorted((ROOT / directory).rglob("*.py"))
    for given, name in ((source.run, "run.json"), (source.bundle, "authorid.json")):
        files += [given / name] if given is not None else []
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:12]


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
        "window": loaded.window.length,
        "geometry": _geometry(bundle),
        "pooling": loaded.pooling,
    }
    (target / "model.json").write_text(json.dumps(record), "utf-8")
    return _model(loaded.name, target, True)


_SIZES = {
    "num_layers": ("num_hidden_layers", "n_layers"),
    "hidden_dim": ("hidden_size", "dim"),
    "intermediate_dim": ("intermediate_size", "hidden_dim"),
}
"""Our names of sizes -> their names in the config.json of BERT and of DistilBERT."""


def _geometry(bundle: Path) -> dict[str, Any]:
    """Sizes of the encoder, as far as config.json tells; {} when it does not."""
    config = json.loads((bundle / "config.json").read_text("utf-8"))
    column = 1 if config.get("model_type") == "distilbert" else 0
    sizes = {ours: config.get(theirs[column]) for ours, theirs in _SIZES.items()}
    return sizes if all(sizes.values()) else {}


def _model(name: str, path: Path, trained: bool) -> PreparedModel:
    record = json.loads((path / "model.json").read_text("utf-8"))
    bundle = load_bundle(path / "bundle")
    return PreparedModel(
        name=name,
        path=path.resolve(),
        trained=trained,
        window=int(record["window"]),
        author_names=tuple(record["authors"]),
        vocabulary=load_windower(bundle).tokenizer.get_vocab_size(),
        geometry=dict(record["geometry"]),
        pooling=str(record["pooling"]),
        funnel=bool(bundle.provenance.get("funnel", False)),
    )
