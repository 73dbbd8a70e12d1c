"""Each peer in its own virtual environment, because their pins conflict; made once, from pinned requirements."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from authorid.reporter import Reporter

__all__ = ["OURS", "PEERS", "Environment", "ensure", "link_authorid"]

PEERS = ("keras", "torch", "optimum", "openvino", "tfidf", "ours_openvino")
OURS = "ours"

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Environment:
    """`python` of a peer's environment, or the `reason` why there is none."""

    python: Path | None
    reason: str | None = None
    seconds: float = 0.0


def ensure(peer: str, directory: Path, reporter: Reporter) -> Environment:
    """The environment of `peer` below `directory`, installed now if it is not there or its requirements changed.

    authorid is not installed in it: processes find it in the directory that `link_authorid` makes.
    """
    if peer == OURS:
        return Environment(Path(sys.executable))
    requirements = _HERE / "peers" / peer / "requirements.txt"
    pins = b"".join(path.read_bytes() for path in _files(requirements))
    digest = hashlib.sha256(pins + sys.version.encode()).hexdigest()
    root, marker = directory / peer, directory / peer / "ready"
    python = root / "bin" / "python"
    if marker.is_file() and marker.read_text("utf-8") == digest and python.is_file():
        return Environment(python)
    reporter.info(f"installing the environment of {peer}")
    started = time.perf_counter()
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    log = directory / f"{peer}.log"
    with log.open("w", encoding="utf-8") as output:
        for step in (
            [sys.executable, "-m", "venv", str(root)],
            [str(python), "-m", "pip", "install", "-r", str(requirements)],
        ):
            try:
                subprocess.run(step, stdout=output, stderr=subprocess.STDOUT, check=True, timeout=1200)
            except (subprocess.SubprocessError, OSError) as error:
                return Environment(None, _reason(log, error), time.perf_counter() - started)
    marker.write_text(digest, "utf-8")
    return Environment(python, seconds=time.perf_counter() - started)


def _files(requirements: Path) -> Iterator[Path]:
    """A file of requirements, and those that it includes."""
    yield requirements
    for line in requirements.read_text("utf-8").splitlines():
        if line.startswith("-r "):
            yield from _files(requirements.parent / line.removeprefix("-r ").strip())


def _reason(log: Path, error: Exception) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if "ERROR" in line]
    return (lines[-1] if lines else f"installation failed: {error}")[:200]


def link_authorid(directory: Path) -> Path:
    """Make `directory`, for PYTHONPATH: it holds links to the authorid that runs this, and nothing else.

    So all processes have the same code, however it is installed, and no other package of this environment.
    """
    package = directory / "authorid"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    modules = {name: importlib.import_module(f"authorid.{name}") for name in ("errors", "export", "models")}
    links = {path.name: path for path in _folder(modules.pop("errors")).iterdir() if path.name != "__pycache__"}
    # These two are elsewhere in a checkout.
    links |= {name: _folder(module) for name, module in modules.items()}
    for name, target in links.items():
        (package / name).symlink_to(target.resolve())
    return directory


def _folder(module: object) -> Path:
    return Path(str(getattr(module, "__file__", ""))).parent
