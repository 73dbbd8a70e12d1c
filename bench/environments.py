"""Each peer in its own virtual environment, because their pins conflict; made once, from pinned requirements."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from authorid.reporter import Reporter

__all__ = ["OURS", "PEERS", "Environment", "ensure"]

PEERS = ("keras", "torch", "optimum", "openvino", "tfidf", "ours_openvino")
OURS = "ours"

_HERE = Path(__file__).parent
_NEED_AUTHORID = ("keras", "ours_openvino")
"""Environments that import authorid themselves; the Keras system is the model of `authorid.training`."""


@dataclass(frozen=True)
class Environment:
    """`python` of a peer's environment, or the `reason` why there is none."""

    python: Path | None
    reason: str | None = None
    seconds: float = 0.0


def ensure(peer: str, directory: Path, reporter: Reporter) -> Environment:
    """The environment of `peer` below `directory`, installed now if it is not there or its requirements changed."""
    if peer == OURS:
        return Environment(Path(sys.executable))
    requirements = _HERE / "peers" / peer / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    root, marker = directory / peer, directory / peer / "ready"
    python = root / "bin" / "python"
    if marker.is_file() and marker.read_text("utf-8") == digest and python.is_file():
        return Environment(python)
    reporter.info(f"installing the environment of {peer}")
    started = time.perf_counter()
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    steps = [[sys.executable, "-m", "venv", str(root)], [str(python), "-m", "pip", "install", "-r", str(requirements)]]
    if peer in _NEED_AUTHORID:
        steps.append([str(python), "-m", "pip", "install", "-e", str(_HERE.parent)])
    log = directory / f"{peer}.log"
    with log.open("w", encoding="utf-8") as output:
        for step in steps:
            try:
                subprocess.run(step, stdout=output, stderr=subprocess.STDOUT, check=True, timeout=1200)
            except (subprocess.SubprocessError, OSError) as error:
                return Environment(None, _reason(log, error), time.perf_counter() - started)
    marker.write_text(digest, "utf-8")
    return Environment(python, seconds=time.perf_counter() - started)


def _reason(log: Path, error: Exception) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if "ERROR" in line]
    return (lines[-1] if lines else f"installation failed: {error}")[:200]
