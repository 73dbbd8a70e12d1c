"""The models that are raced: prepared in the Keras environment, or a bundle as it is when there are no peers."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authorid.bundle.manifest import load_bundle
from authorid.encoder.windows import load_windower
from authorid.errors import AuthoridError
from bench.environments import Environment
from bench.runner import ROOT, child_environment

__all__ = ["Model", "from_bundle", "prepared"]


@dataclass(frozen=True)
class Model:
    """A prepared directory (see `bench.peer.Prepared`), and whether its weights were `trained` or drawn."""

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


def prepared(
    geometry: str,
    run: Path | None,
    bundle: Path | None,
    tokenizer_of: Path | None,
    environment: Environment,
    cache: Path,
    c50: Path | None,
    say: Callable[[str], None],
) -> Model:
    """The weights of training run `run`, or random ones of `geometry`, for everybody; made anew when code changed.

    `bundle` is used instead of exporting the run, and may be of another one like it; a random model
    takes its tokenizer from the bundle `tokenizer_of`.
    """
    sources = [*sorted((ROOT / "export").glob("*.py")), ROOT / "bench" / "prepare.py", ROOT / "authorid" / "bundle.py"]
    sources.append(ROOT / "authorid" / "training" / "funnel.py")
    # What peers make of the weights is kept beside them.
    sources += sorted((ROOT / "bench" / "peers").rglob("*.py"))
    for directory, names in ((run, ("run.json",)), (bundle, ("authorid.json",))):
        sources += [directory / name for name in names if directory is not None]
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sources)).hexdigest()[:12]
    name = run.resolve().name if run is not None else geometry
    target = cache / "models" / f"{name}-{digest}"
    if not (target / "model.json").is_file():
        say(f"preparing the weights of {name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [str(environment.python), "-m", "bench.prepare", "--out", str(target)]
        if run is not None:
            command += ["--run", str(run.resolve())]
            command += ["--corpus", str(c50 / "C50train")] if c50 is not None else []
            command += ["--bundle", str(bundle.resolve())] if bundle is not None else []
        else:
            tokenizer = _tokenizer(tokenizer_of)
            command += ["--geometry", geometry] + (["--tokenizer", str(tokenizer)] if tokenizer else [])
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


def _tokenizer(bundle: Path | None) -> Path | None:
    """tokenizer.json of that bundle, else of the embedded one; None where there is neither."""
    if bundle is None:
        from authorid.models import default_bundle

        try:
            bundle = default_bundle()
        except AuthoridError:
            return None
    return bundle / "tokenizer.json"


def from_bundle(bundle: Path, cache: Path) -> Model:
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
"""Our names of the sizes that decide the work -> those of BERT's and DistilBERT's config.json."""


def _geometry(bundle: Path) -> dict[str, Any]:
    """Sizes of the encoder, as far as config.json tells; {} when it does not."""
    config = json.loads((bundle / "config.json").read_text("utf-8"))
    place = 1 if config.get("model_type") == "distilbert" else 0
    sizes = {ours: config.get(theirs[place]) for ours, theirs in _SIZES.items()}
    return sizes if all(sizes.values()) else {}


def _model(name: str, path: Path, trained: bool) -> Model:
    record = json.loads((path / "model.json").read_text("utf-8"))
    bundle = load_bundle(path / "bundle")
    return Model(
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
