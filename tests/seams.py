"""Kill runs before and after every operation on files, and resume them: see attacks/test_crashes.py.

``python seams.py DIRECTORY FORMAT`` writes records to ``DIRECTORY/out.FORMAT`` in child processes that die before or
after every write, fsync, rename and removal (a seam). It resumes each and exits with 1 if a result differs. With
``power`` as second argument, data that was not synced is lost too; with ``twice``, the resuming run is killed as well;
with ``force``, the runs replace an existing file.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import DocumentRef
from authorid.inputs.shards import Shard
from authorid.outputs import atomic, reserve
from authorid.outputs import journal as journals
from authorid.outputs.answers import Answers
from authorid.outputs.part_files import PartEnd, PartWriter
from authorid.outputs.records import Attribution

ROWS = 5
LOCK_SEAMS = 2
"""Seams around the sync of the lock."""

SEAMS = ("create", "write_all", "sync", "publish", "remove", "sync_directory")


def record(number: int, version: int) -> Attribution:
    """The record of one document; its digest changes with its `version`."""
    probability = 0.5 + number / 100 + version / 1000
    ranking = (("Ada", probability), ("Ben", 0.9 - probability), ("Cyd", 0.1))
    evidence = (probability / 3, 1 / 3)
    return Attribution(
        DocumentRef(f"d/{number}"), "scored", ranking, 1, 9, "utf-8", f"{version:064}", None, evidence, 1 / 7
    )


def part_writer() -> PartWriter:
    """The writer of a shard."""
    end = PartEnd("0.0 a", "5.0 b", "b")
    return PartWriter(Shard(1, 1), Answers(("Ada", "Ben", "Cyd")), {"paths": []}, lambda: (end, {"seconds": 1.0}))


def attempt(out: Path, versions: list[int], *, resume: bool, force: bool = False) -> None:
    """Write a record for every document, as a run does."""
    digests = {f"d/{number}": f"{version:064}" for number, version in enumerate(versions)}
    with (
        reserve(str(out), resume=resume, force=force) as destination,
        destination.open(
            part_writer() if out.suffix == ".part" else out.suffix[1:],
            top=3,
            fingerprint={"of": "this run"},
            answers=Answers(("Ada", "Ben", "Cyd")),
            file_digest=lambda file: digests[file.path],
        ) as output,
    ):
        for number, version in enumerate(versions):
            file = DiscoveredFile(f"d/{number}", None, 0, str(number))
            for row in output.recall(file, iter([record(number, version)])):
                output.write(row)
        output.finish()


def killed(out: Path, versions: list[int], seam: int, log: Path, *, resume: bool, force: bool = False) -> bool:
    """Run `attempt` in a child that dies at its `seam`-th seam. False if the child ended before that."""
    child = os.fork()
    if child == 0:
        journals._GROUP, journals._SYNC_SECONDS, journals._SYNC_SHARE = 1, 0.0, 1e9
        count = itertools.count()
        synced: dict[int, int] = {}

        def die() -> None:
            if next(count) == seam:
                log.write_text(json.dumps(synced))
                os.kill(os.getpid(), signal.SIGKILL)

        def kill_around(name: str) -> None:
            work = getattr(atomic, name)

            def call(*arguments: object) -> object:
                die()
                result = work(*arguments)
                if name == "sync":
                    status = os.fstat(arguments[0])
                    synced[status.st_ino] = status.st_size
                die()
                return result

            setattr(atomic, name, call)

        for name in SEAMS:
            kill_around(name)
        attempt(out, versions, resume=resume, force=force)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def is_complete(out: Path) -> bool:
    """Whether a run with --resume finds nothing to do."""
    with reserve(str(out), resume=True) as destination:
        return destination.complete


def cut_power(directory: Path, log: Path, seam: int) -> None:
    """Remove from every file a part of the data that had not been synced."""
    synced = {int(inode): size for inode, size in json.loads(log.read_text()).items()}
    for path in directory.iterdir():
        status = path.stat()
        safe = min(synced.get(status.st_ino, 0), status.st_size)
        if path != log and safe < status.st_size and not path.name.startswith("out.expected"):
            os.truncate(path, safe + (status.st_size - safe) * (seam % 3) // 3)


def main(directory: Path, form: str, how: str) -> int:
    """Print the number of seams at which a run was killed and resumed with the same result."""
    first, later = [0] * ROWS, [0, 1, 0, 1, 0]
    out, log = directory / f"out.{form}", directory / "log"
    attempt(out, first, resume=False)
    expected = out.read_bytes()
    out.unlink()
    attempt(out, later, resume=False)
    expected_later = out.read_bytes()
    out.unlink()
    survived = 0
    for seam in itertools.count():
        if how == "force":
            out.write_bytes(expected)
        if not killed(out, first if how != "force" else later, seam, log, resume=False, force=how == "force"):
            break
        if how == "power":
            cut_power(directory, log, seam)
        if how == "twice":
            for second in range(seam % 9, 400, 9):
                # Documents 1 and 3 have changed since; this run is killed too.
                if not killed(out, later, second, log, resume=True):
                    break
                survived += 1
            attempt(out, later, resume=True)
            good = out.read_bytes() == expected_later
        elif how == "force":
            # Before its first seam after the lock, a run has left no trace.
            if seam > LOCK_SEAMS and is_complete(out) and out.read_bytes() != expected_later:
                print(f"seam {seam}: the old file is mistaken for the new one")  # noqa: T201
                return 1
            attempt(out, later, resume=True)
            good = out.read_bytes() == expected_later
        else:
            attempt(out, first, resume=True)
            good = out.read_bytes() == expected
        if not good:
            print(f"seam {seam}: different bytes")  # noqa: T201
            return 1
        left = sorted(path.name for path in directory.iterdir())
        if left != ["log", out.name]:
            print(f"seam {seam}: left {left}")  # noqa: T201
            return 1
        out.unlink()
        survived += 1
    print(survived)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
