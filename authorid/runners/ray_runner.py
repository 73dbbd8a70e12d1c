"""Runs the shards of a run on a Ray cluster: an actor for each few CPUs, each with one scorer.

Ray starts an actor again when its process or its node dies, and gives it the same shard, which goes on where the
journal of the part ends. So results cannot depend on what died. Errors, such as a full disk, come back as values; those
shards are tried again on nodes that had no error.

These are plain actors, not a pool of Ray Data, whose workers hold 110 MB more each, for pyarrow and pandas: here only
the numbers of shards travel.

Ray prints to the descriptors of the process, whatever its options; see `quiet_descriptors`.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from authorid.errors import ClusterError, first_line, require
from authorid.machine import available_cores
from authorid.runners.shard_worker import ShardDone, ShardRun, ShardWorker

__all__ = ["RayCluster", "quiet_descriptors"]

_OBJECT_STORE = 128 << 20
"""Bytes of the object store of a Ray that is started here: objects are numbers of shards."""

_RESTARTS = 100
"""So many times an actor is started again: one whose process dies before it can begin must not go on for ever."""

_CONNECT_SECONDS = 10.0

_ENVIRONMENT = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
"""Each shard has new threads, and Ray has many: memory of glibc's arenas, one for each, would add up over shards."""

_ARROW = "pyarrow"
"""Ray imports it into every process, to send tables, of which there are none here: it would take 15 MB an actor."""


@contextmanager
def quiet_descriptors(log: Path) -> Iterator[TextIO]:
    """Send what is printed in the block to the file `log`; yields a stream to where standard error went before.

    Raises `OSError`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    stream = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield stream
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for copy, descriptor in zip(kept, (1, 2), strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(target)
        with suppress(OSError):
            stream.close()


class RayCluster:
    """A connection to a Ray cluster, or to a Ray of its own on this machine. A context manager.

    `address` is that of the cluster, ``auto`` for the one that this machine belongs to; None starts one here, unless
    ``RAY_ADDRESS`` is set. An actor gets `cpus` CPUs.

    Raises `MissingExtraError` without Ray, and `ClusterError` where there is no such cluster, or no room for an actor.

    Attributes:
        actors: How many actors the cluster has room for.

    """

    def __init__(self, address: str | None, cpus: int) -> None:
        self._cpus = cpus
        # Ray counts its users over the network, unless it is told not to before it is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # A Ray that is started here would keep a process of 50 MB ready for each CPU, which no actor uses.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
        self._ray: Any = require("ray", "ray")
        address = address or os.environ.get("RAY_ADDRESS")
        own = {"num_cpus": available_cores(), "object_store_memory": _OBJECT_STORE, "include_dashboard": False}
        try:
            _reach(address)
            self._ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"worker_process_setup_hook": _withhold_arrow},
                **({} if address else own),
            )
        except Exception as error:  # ConnectionError, RuntimeError, ValueError, ...
            where = f"no Ray cluster answers at {address}" if address else "Ray does not start here"
            raise ClusterError(f"{where}: {first_line(error)}") from error
        self.actors = self._room()
        if not self.actors:
            self._ray.shutdown()
            raise ClusterError(f"no node of the Ray cluster has {cpus} CPUs for a worker (--workers, --threads)")

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def score(self, run: ShardRun, report: Callable[[ShardDone], None]) -> None:
        """Score all shards of `run` that are not finished, and `report` what became of each attempt.

        Raises `ClusterError` when shards cannot be finished: those that are stay finished.
        """
        avoided: set[str] = set()
        while todo := run.plan.unfinished():
            errors: list[ShardDone] = []
            for done in self._pass(run, todo, avoided):
                if done.error:
                    errors.append(done)
                report(done)
            nodes = {done.node for done in errors}
            if errors and (nodes <= avoided or not self._room(avoided | nodes)):
                raise ClusterError(self._failure(run, errors))
            avoided |= nodes

    def _room(self, avoided: Collection[str] = ()) -> int:
        """How many actors fit on the nodes that are alive and not `avoided`."""
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["NodeID"] not in avoided]
        return sum(int(node["Resources"].get("CPU", 0)) // self._cpus for node in nodes)

    def _failure(self, run: ShardRun, errors: list[ShardDone]) -> str:
        names = {node["NodeID"]: node["NodeManagerHostname"] for node in self._ray.nodes()}
        first = errors[0]
        more = f"; {len(errors) - 1} more shards failed" if len(errors) > 1 else ""
        return f"shard {run.plan.shard(first.shard)} on {names.get(first.node, first.node)}: {first.error}{more}"

    def _pass(self, run: ShardRun, shards: list[int], avoided: Collection[str]) -> Iterator[ShardDone]:
        """Score each of the `shards`, on other nodes than those `avoided`; an actor that fails gets no other one."""
        ray, waiting = self._ray, list(reversed(shards))
        elsewhere = {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(avoided))})"}} if avoided else {}
        kind = ray.remote(
            num_cpus=self._cpus,
            max_restarts=_RESTARTS,
            max_task_retries=-1,
            scheduling_strategy="SPREAD",
            runtime_env=_ENVIRONMENT,
            **elsewhere,
        )(_ShardActor)
        # At least one: it waits for a node to come back.
        actors = [kind.remote(run) for _ in range(min(max(self._room(avoided), 1), len(shards)))]
        busy = {actor.score.remote(waiting.pop()): actor for actor in actors}
        try:
            while busy:
                (finished,), _ = ray.wait(list(busy), num_returns=1)
                actor = busy.pop(finished)
                done = ray.get(finished)
                if waiting and not done.error:
                    busy[actor.score.remote(waiting.pop())] = actor
                else:
                    ray.kill(actor)  # an actor that lost its node may be waiting for these CPUs
                yield done
        except ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ClusterError(f"Ray: {reason.strip()}") from error
        finally:
            for actor in busy.values():
                ray.kill(actor)


def _reach(address: str | None) -> None:
    """Raise `OSError` when nobody answers at an address ``HOST:PORT``: Ray would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and "//" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


def _withhold_arrow() -> None:
    """Let imports of pyarrow fail until an actor has begun: then Ray has found that it is not there."""
    sys.modules.setdefault(_ARROW, None)  # type: ignore[arg-type]


class _ShardActor:
    """One actor of the pool."""

    def __init__(self, run: ShardRun) -> None:
        import ray

        if sys.modules.get(_ARROW) is None:
            sys.modules.pop(_ARROW, None)  # tables are read with it
        self._worker = ShardWorker(run, ray.get_runtime_context().get_node_id())

    def score(self, number: int) -> ShardDone:
        """See `ShardWorker.score`."""
        return self._worker.score(number)
