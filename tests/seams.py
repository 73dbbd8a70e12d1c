"""A run of the results room that is killed at its n-th seam, again and again: see attacks/test_crashes.py.

``python seams.py DIRECTORY FORMAT`` writes rows to ``DIRECTORY/out.FORMAT`` in child processes that die before or
after every write, fsync, rename and removal, resumes each, and exits 1 when one of them comes out different. A second
argument ``power`` also takes away what was not yet on the disk, ``twice`` kills the resuming run as well, and ``force``
kills runs that are to replace a file.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from authorid.inputs.documents import DiscoveredFile, DocumentRef
from authorid.outputs import atomic, reserve
from authorid.outputs import journal as journals
from authorid.scoring.attribution import Attribution

ROWS = 5
SEAMS = ("create", "write_all", "sync", "publish", "remove", "sync_directory")


def row(number: int, version: int) -> Attribution:
    """The row of one document; its digest changes with its `version`."""
    probability = 0.5 + number / 100 + version / 1000
    ranking = (("Ada", probability), ("Ben", 1 - probability))
    return Attribution(DocumentRef(f"d/{number}"), "scored", ranking, 1, 9, "utf-8", f"{version:064}")


def attempt(out: Path, versions: list[int], *, resume: bool, force: bool = False) -> None:
    """Write a row for every document, as a run does."""
    digests = {f"d/{number}": f"{version:064}" for number, version in enumerate(versions)}
    with (
        reserve(str(out), resume=resume, force=force) as place,
        place.open(
            out.suffix[1:], top=2, settings={"of": "this run"}, digest=lambda found: digests[found.path]
        ) as output,
    ):
        for number, version in enumerate(versions):
            known = output.recall(DiscoveredFile(f"d/{number}", None, 0, str(number)))
            output.write(known or row(number, version))
        output.finish()


def killed(out: Path, versions: list[int], seam: int, log: Path, *, resume: bool, force: bool = False) -> bool:
    """Run `attempt` in a child that dies at its `seam`-th seam. False when it came to its end before."""
    child = os.fork()
    if child == 0:
        journals._GROUP, journals._SYNC_SECONDS, journals._SYNC_SHARE = 1, 0.0, 1e9
        count = itertools.count()
        synced: dict[int, int] = {}

        def die() -> None:
            if next(count) == seam:
                log.write_text(json.dumps(synced))
                os.kill(os.getpid(), signal.SIGKILL)

        def deadly(name: str) -> None:
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
            deadly(name)
        attempt(out, versions, resume=resume, force=force)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def is_complete(out: Path) -> bool:
    """Whether a run that is asked to resume finds nothing to do."""
    with reserve(str(out), resume=True) as place:
        return place.complete


def cut_power(directory: Path, log: Path, seam: int) -> None:
    """Take from every file a part of what had not been synced."""
    synced = {int(inode): size for inode, size in json.loads(log.read_text()).items()}
    for path in directory.iterdir():
        status = path.stat()
        safe = min(synced.get(status.st_ino, 0), status.st_size)
        if path != log and safe < status.st_size and not path.name.startswith("out.expected"):
            os.truncate(path, safe + (status.st_size - safe) * (seam % 3) // 3)


def main(directory: Path, form: str, how: str) -> int:
    """The number of seams that were survived is printed."""
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
                # Documents 1 and 3 changed since; and this run is killed too.
                if not killed(out, later, second, log, resume=True):
                    break
                survived += 1
            attempt(out, later, resume=True)
            good = out.read_bytes() == expected_later
        elif how == "force":
            # Before its first seam, a run has done nothing that could be known afterwards.
            if seam and is_complete(out) and out.read_bytes() != expected_later:
                print(f"seam {seam}: the old file is taken for the new one")  # noqa: T201
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
