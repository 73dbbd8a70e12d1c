"""Kill processes before every operation that changes a directory: see attacks/test_replacing.py.

``python replacing.py DIRECTORY WHAT [two-steps]`` replaces ``DIRECTORY/model``, a bundle (WHAT: export) or a run
without an encoder (train), in child processes. Each is killed with SIGKILL before another creation, rename, exchange,
removal or sync (a seam). After each kill, the model must be the old or the new one, in place, and the next process must
report and remove what is left. With ``two-steps``, names cannot be exchanged: the model may then be missing after a
kill, and the next process puts the old one back. Prints the number of kills.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from fusion_bundle import write_corpus
from recording import RecordingReporter

from authorid.bundle.manifest import load_bundle
from authorid.errors import BundleNotFoundError
from authorid.outputs import atomic
from authorid.outputs.directory import reserve_directory
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import export_ngrams, train_ngrams

EVENTS = {"os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.chmod", "os.truncate"}
SEAMS = ("exchange", "sync", "sync_directory")


def killed(work: Callable[[], object], seam: int) -> bool:
    """Do `work` in a child that is killed at its `seam`-th seam. False if the child ended before that."""
    child = os.fork()
    if child == 0:
        count = itertools.count()

        def die(*_: object) -> None:
            if next(count) == seam:
                os.kill(os.getpid(), signal.SIGKILL)

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if event in EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
                die()

        for name in SEAMS:
            operation = getattr(atomic, name)
            setattr(atomic, name, lambda *arguments, operation=operation: (die(), operation(*arguments))[1])
        sys.addaudithook(watch)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"seam {seam}: the child failed with exit code {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def identity(model: Path) -> bytes:
    """The manifest of the model at `model`, all of which is loaded. Raises `BundleError`."""
    load_bundle(model)
    return (model / "authorid.json").read_bytes()


def names(directory: Path) -> list[str]:
    """What is in `directory`."""
    return sorted(path.name for path in directory.iterdir())


def cannot_exchange(*_: object) -> None:
    """What a file system answers that cannot exchange two names."""
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def main(directory: Path, what: str, how: str) -> int:
    """Print the number of kills."""
    model, options = directory / "model", NgramOptions(bits=10)
    corpora = [write_corpus(directory / f"corpus{number}", words=60 + number) for number in range(2)]
    if how == "two-steps":
        atomic.exchange = cannot_exchange

    def make(version: int) -> None:
        if what == "train":
            train_ngrams(corpora[version], model, options, force=True)
        else:
            export_ngrams(directory / "run", model, name=str(version), force=True)

    if what == "export":
        train_ngrams(corpora[0], directory / "run", options)
    make(1)
    new = identity(model)
    make(0)
    old = identity(model)
    undisturbed = names(directory)
    kills = missing = 0
    for seam in itertools.count():
        if not killed(lambda: make(1), seam):
            break
        kills += 1
        try:
            identity(model)
        except BundleNotFoundError as error:
            assert how == "two-steps" and "a process was killed while it replaced it" in str(error), seam
            missing += 1
        left = (directory / ".model.authorid" / "new").exists()
        reporter = RecordingReporter()
        with reserve_directory(model, reporter):
            pass
        assert bool(reporter.warnings) >= left, seam
        assert names(directory) == undisturbed, (seam, names(directory))
        assert identity(model) in (old, new), seam
        if identity(model) == new:
            make(0)
    assert identity(model) == new
    assert names(directory) == undisturbed
    assert (missing > 0) == (how == "two-steps"), missing
    print(kills)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
