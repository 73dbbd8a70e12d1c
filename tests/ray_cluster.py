"""A real Ray cluster on this machine: several nodes, whose workers can be killed, slowed down or made to crash."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from command import command, environment

HOOK = '''
"""Runs when Python starts. In workers of authorid, it notes their pids, and injects faults that tests ask for."""
import errno, importlib.util, os, signal, sys, time
from pathlib import Path

HOME = Path(__file__).parent


def fault(text):
    """Documents slow down or kill the process that touches them."""
    delay = HOME / "delay"
    if delay.exists():
        time.sleep(float(delay.read_text() or 0))
    if "POISON" in text:
        os.kill(os.getpid(), signal.SIGSEGV)
        signal.pause()


def in_worker(module):
    (HOME / "pids" / str(os.getpid())).touch()


def in_disk(module):
    """The disk of a node is full."""
    def write_all(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "FULL_DISK" in os.environ:
        module.write_all = write_all


def in_reading(module):
    plain = module.tidy
    def tidy(text, *arguments, **options):
        if "READ" in text or "POISON" not in text:
            fault(text)
        return plain(text, *arguments, **options)
    module.tidy = tidy


def in_scoring(module):
    plain = module.score_ngrams
    def score_ngrams(cascade, states, *arguments):
        for state in states:
            if "POISON" in state.document.text:
                fault(state.document.text)
        return plain(cascade, states, *arguments)
    module.score_ngrams = score_ngrams


PATCHES = {
    "authorid.runners.shard_worker": in_worker,
    "authorid.outputs.atomic": in_disk,
    "authorid.inputs.decoding": in_reading,
    "authorid.scoring.document_steps": in_scoring,
}


class Finder:
    def find_spec(self, name, path=None, target=None):
        patch = PATCHES.pop(name, None)
        if patch is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            patch(module)
        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
'''


def hooked(home: Path) -> Path:
    """A directory for PYTHONPATH, whose processes have the faults."""
    (home / "pids").mkdir(parents=True)
    (home / "sitecustomize.py").write_text(HOOK)
    return home


class TestCluster:
    """A cluster of `nodes` nodes with one CPU each, beside a head without any. A context manager."""

    __test__ = False

    def __init__(self, home: Path, nodes: int = 2) -> None:
        self.home = home
        hooked(home)
        self._saved = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
        os.environ |= {"PYTHONPATH": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
        from ray.cluster_utils import Cluster

        self._memory = {"object_store_memory": 100 << 20}
        head = {"num_cpus": 0, "include_dashboard": False, **self._memory}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Any] = []
        for _ in range(nodes):
            self.add_node()

    def __enter__(self) -> TestCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()
        for name, value in self._saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def add_node(self, **environment: str) -> None:
        self.nodes.append(self._cluster.add_node(num_cpus=1, env_vars=environment, **self._memory))

    def kill_node(self, index: int = -1) -> None:
        self._cluster.remove_node(self.nodes.pop(index), allow_graceful=False)

    def workers(self) -> list[int]:
        """The processes of actors that are alive."""
        pids = [int(path.name) for path in (self.home / "pids").iterdir()]
        return [pid for pid in pids if _is_worker(pid)]

    def kill_worker(self, choice: random.Random) -> bool:
        workers = self.workers()
        if workers:
            os.kill(choice.choice(workers), signal.SIGKILL)
        return bool(workers)

    def delay(self, seconds: float) -> None:
        """From now on, each document takes so many seconds more."""
        (self.home / "delay").write_text(str(seconds))

    @contextmanager
    def driver(self, *arguments: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
        """`authorid score ... --runner ray` on this cluster, in a process of its own, which is killed at the end."""
        line = command("score", *arguments, "--runner", "ray", "--ray-address", self._cluster.address)
        with subprocess.Popen(
            line,
            cwd=cwd,
            env={**environment(cwd), "PYTHONPATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def score(self, *arguments: object, cwd: Path) -> tuple[int, str, str]:
        """Run the driver to its end; returns (exit code, stdout, stderr)."""
        with self.driver(*arguments, cwd=cwd) as process:
            stdout, stderr = process.communicate(timeout=240)
        return process.returncode, stdout, stderr


def _is_worker(pid: int) -> bool:
    try:
        return b"_ShardActor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def finished(parts: Path) -> int:
    """How many parts are finished."""
    return sum(not path.with_name(f"{path.name}.journal").exists() for path in parts.glob("*.part"))


__all__ = ["TestCluster", "finished", "hooked", "wait_for"]
