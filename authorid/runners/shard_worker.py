"""Scores one shard after the other, in a process that may die at any moment. It knows no cluster."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from authorid.bundle.manifest import MANIFEST
from authorid.errors import AuthoridError, BundleError, BusyError, ClusterError, first_line
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.reading import file_sha256
from authorid.inputs.shards import ShardFiles
from authorid.inputs.timeouts import Timeout
from authorid.outputs import Destination, Output, reserve, run_fingerprint
from authorid.outputs.part_files import PartEnd, PartWriter, read_part
from authorid.outputs.records import Attribution
from authorid.runners.attempts import MOST_DEATHS, Attempt
from authorid.scoring.merged_stats import shard_statistics
from authorid.scoring.run_inputs import Recall, read_files
from authorid.scoring.stats import RunStats, versions

if TYPE_CHECKING:
    from authorid.encoder.engine_options import EngineOptions
    from authorid.runners.run_plan import RunPlan
    from authorid.scoring.scorer import Scorer

__all__ = ["ShardDone", "ShardRun", "ShardWorker", "rows_fingerprint"]

_BUSY_SECONDS = 60.0
"""How long to wait for the predecessor, which may be dying, to let go of a part."""


class ShardDone(NamedTuple):
    """What became of a shard on a `node`: how many documents it has, or the `error` that ended the attempt."""

    shard: int
    node: str
    documents: int = 0
    failed: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class ShardRun:
    """All that a worker has to know, which can be pickled.

    Attributes:
        plan: The shards.
        token: Different in each run of the driver.
        directory: The working directory, from which the paths of documents start.
        paths: What the user named.
        documents: How to read.
        model: The arguments of `Scorer.load`; `digest` is that of the model.
        engine: How to run the encoder.
        rows: The keyword arguments of `Scorer.score` that decide what a row has (`evidence`, `explain`).

    """

    plan: RunPlan
    token: str
    directory: str
    paths: tuple[str, ...]
    documents: ReadOptions
    model: Mapping[str, Any]
    digest: str
    engine: EngineOptions
    rows: Mapping[str, bool] = field(default_factory=dict)

    def fingerprint(self, scorer: Scorer) -> dict[str, Any]:
        """The fingerprint of the parts."""
        shards = {"listing": self.plan.extent.digest, "shards": self.plan.shards}
        return rows_fingerprint(scorer, self.paths, self.documents, self.rows) | shards


def rows_fingerprint(
    scorer: Scorer, paths: tuple[str, ...], documents: ReadOptions, rows: Mapping[str, bool]
) -> dict[str, Any]:
    """The fingerprint of the records of a run, whatever format they are written in."""
    return run_fingerprint(
        paths,
        documents,
        manifest=scorer.bundle.path / MANIFEST,
        scorer=scorer.describe(),
        versions=versions(),
        output={"format": "part", **rows},
    )


class ShardWorker:
    """Scores the shards of a run on the `node`. The model is read with the first one."""

    def __init__(self, run: ShardRun, node: str) -> None:
        self._run = run
        self._node = node

    def score(self, number: int) -> ShardDone:
        """Score a shard, or what an earlier attempt has left of it, and write its part. Errors are returned."""
        node = self._node
        try:
            documents, failed = self._score(number)
        except AuthoridError as error:
            return ShardDone(number, node, error=first_line(error))
        except Exception as error:  # of any thread of the run: another attempt may succeed, here or elsewhere
            return ShardDone(number, node, error=f"{type(error).__name__}: {first_line(error)}")
        return ShardDone(number, node, documents, failed)

    @cached_property
    def _scorer(self) -> Scorer:
        from authorid.scoring.scorer import Scorer

        run = self._run
        try:
            scorer = Scorer.load(options=run.engine, **run.model)
        except BundleError as error:
            raise ClusterError(f"{error}; every node needs the model at the same path") from None
        if scorer.bundle.digest != run.digest:
            raise ClusterError(f"{scorer.bundle.path}: another model than on the machine that started the run")
        gc.freeze()
        return scorer

    def _score(self, number: int) -> tuple[int, int]:
        """Returns how many documents the shard has, and how many of them failed."""
        part = self._run.plan.part(number)
        self._enter()
        with _reserved(str(part)) as destination:
            if destination.complete:
                status = read_part(part).statistics()["state"]["status"]
                return sum(status.values()), status.get("failed", 0)
            with Attempt(*self._run.plan.attempts(number), self._run.token) as attempt:
                if attempt.deaths >= MOST_DEATHS:
                    raise ClusterError(f"{attempt.deaths} processes died while they scored it")
                stats = self._write_part(number, attempt, destination)
        return stats.documents, stats.status["failed"]

    def _enter(self) -> None:
        """Go to the working directory of the run. Raises `ClusterError` where its files are not there."""
        run = self._run
        needed = "; every node needs the same files at the same paths"
        for directory in (run.directory, run.plan.directory):
            if not os.path.isdir(directory):  # noqa: PTH112 (bytes that are not text stay as they are)
                raise ClusterError(f"{directory}: no such directory{needed}")
        os.chdir(run.directory)
        if "-" not in run.paths and not any(map(os.path.lexists, run.paths)):
            raise ClusterError(f"{run.paths[0]}: no such file or directory{needed}")

    def _write_part(self, number: int, attempt: Attempt, destination: Destination) -> RunStats:
        run, scorer, stats = self._run, self._scorer, RunStats()
        files, started = run.plan.files(number, run.documents), time.perf_counter()
        fingerprint = run.fingerprint(scorer)
        answers = scorer.bundle.answers

        def end() -> tuple[PartEnd, dict[str, Any]]:
            seconds = time.perf_counter() - started
            statistics = shard_statistics(stats, seconds, scorer.describe())
            return PartEnd(files.begin, files.end, run.plan.extent.digest), statistics

        with (
            Timeout(run.documents.timeout) as timeout,
            destination.open(
                PartWriter(run.plan.shard(number), answers, fingerprint, end),
                top=1,
                fingerprint=fingerprint,
                answers=answers,
                file_digest=lambda file: file_sha256(file, run.documents, timeout),
            ) as output,
            closing(
                self._one_at_a_time(files, _guarded(attempt, output), stats)
                if attempt.is_guarded
                else scorer.score(files, run.documents, stats=stats, recall=output.recall, **run.rows)
            ) as attributions,
        ):
            for attribution in attributions:
                with stats.stages.stage("write"):
                    output.write(attribution)
            output.finish()
        return stats

    def _one_at_a_time(self, files: ShardFiles, recall: Recall, stats: RunStats) -> Generator[Attribution, None, None]:
        """The rows of `Scorer.score`, computed in this thread: if the process dies, it is clear on which document."""
        for item in read_files(files, self._run.documents, recall):
            started = time.perf_counter()
            if isinstance(item, Attribution):
                attribution = item
                stats.recall(attribution)
            else:
                attribution = self._scorer.attribute(item, **self._run.rows)
                seconds = time.perf_counter() - started
                stats.stages.add("infer", seconds)
                if isinstance(item, Document):
                    stats.latency(seconds, seconds)
            stats.count(attribution)
            yield attribution


@contextmanager
def _reserved(part: str) -> Iterator[Destination]:
    """The destination of a part, once the predecessor has let go of it."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with reserve(part, resume=True) as destination:
                yield destination
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _guarded(attempt: Attempt, output: Output) -> Recall:
    """The recall of `output`, with harmful documents replaced before they are read."""

    def recall(file: DiscoveredFile, items: Iterator[Document | Failure]) -> Iterator[Document | Failure | Attribution]:
        return output.recall(file, attempt.guard(file.path, items))

    return recall
