"""The process of one system, and how it is asked to work: one JSON object a line, both ways."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bench.systems import System

__all__ = ["INSTALLED", "ROOT", "SystemFailure", "SystemProcess", "child_environment"]

ROOT = Path(__file__).resolve().parents[1]

INSTALLED = "installed"
"""The directory in the cache in which child processes find the authorid that runs this."""


class SystemFailure(Exception):
    """A system could not do what was requested; the message says why."""


def child_environment(threads: int, cache: Path) -> dict[str, str]:
    """The environment variables of every child process: one thread limit for all libraries, no network."""
    limit = str(threads)
    paths = [str(cache / INSTALLED), *filter(None, [os.environ.get("PYTHONPATH")])]
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON")
    names = (*(f"{name}_NUM_THREADS" for name in libraries), "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(names, limit),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "AUTHORID_CACHE": str(cache / "authorid"),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
    }


class SystemProcess:
    """A running system. `loaded` are the sessions and threads that its model was loaded with, None before."""

    def __init__(self, system: System, python: Path, threads: int, cache: Path) -> None:
        self.system = system
        self.loaded: tuple[int, int] | None = None
        log = cache / "logs" / f"{system.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("a", encoding="utf-8")
        self.started = time.perf_counter()
        cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []
        self._process = subprocess.Popen(
            [str(python), "-m", "bench.worker", system.peer],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=child_environment(threads, cache),
            text=True,
            start_new_session=True,
        )
        if cores:
            os.sched_setaffinity(self._process.pid, cores)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            self._answers.put(line)
        self._answers.put("")

    def request(self, operation: str, timeout: float = 180.0, **arguments: Any) -> dict[str, Any]:
        """Have the process run one operation of `bench.worker` and return its answer; raises `SystemFailure`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"op": operation, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.kill()
            raise SystemFailure(f"{operation} took longer than {timeout:.0f} s") from None
        except OSError:
            line = ""
        if not line:
            code = self._process.wait()
            raise SystemFailure(f"its process ended during {operation} with status {code}")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise SystemFailure(str(answer["error"]))
        return answer

    def kill(self) -> None:
        """End the process and its children."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
