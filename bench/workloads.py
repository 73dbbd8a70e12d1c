"""What is classified: Reuters C50's test documents when they are there, and a generated corpus that anyone can make."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from authorid.benchmark import generated_text, write_documents
from authorid.bundle.manifest import load_bundle
from authorid.encoder.windows import load_windower
from authorid.reporter import Reporter
from bench.peer_interface import Rows, read_windows

__all__ = [
    "TokenizedWorkload",
    "Workload",
    "c50",
    "find_c50",
    "generated",
    "generated_text",
    "part_of",
    "short_documents",
    "tokenize",
]

SEED = 20


@dataclass(frozen=True)
class Workload:
    """`documents` to classify, below `root` in one directory an author; `training` holds others of theirs."""

    name: str
    root: Path
    documents: tuple[Path, ...]
    training: Path

    @property
    def labels(self) -> list[str]:
        """The author of each document."""
        return [document.relative_to(self.root).parts[0] for document in self.documents]


@dataclass(frozen=True)
class TokenizedWorkload:
    """A workload as token windows of one model: `windows` is the file, `owners` [windows] the document of each.

    `tokens` counts those of the windows, special ones and overlaps included. `whole` [documents] are the tokens of text
    that authorid reads of each document, `beginnings` [documents] those that peers read: no special ones, none twice.
    """

    windows: Path
    owners: tuple[int, ...]
    tokens: int
    whole: tuple[int, ...]
    beginnings: tuple[int, ...]


def find_c50(root: Path) -> Path | None:
    """The directory that holds C50train and C50test: ``$AUTHORID_C50``, or beside the checkout in ``shared``."""
    for candidate in (os.environ.get("AUTHORID_C50"), root.parent / "shared" / "C50"):
        if candidate and (Path(candidate) / "C50test").is_dir():
            return Path(candidate).resolve()
    return None


def c50(root: Path, documents: int) -> Workload:
    """A seeded sample of about `documents` of C50test, the same number of every author."""
    authors = sorted(path for path in (root / "C50test").iterdir() if path.is_dir())
    share = max(1, round(documents / len(authors)))
    rng = random.Random(SEED)
    chosen = [path for author in authors for path in sorted(rng.sample(sorted(author.glob("*.txt")), share))]
    return Workload("C50test", root / "C50test", tuple(chosen), root / "C50train")


def generated(cache: Path, documents: int, authors: int = 10) -> Workload:
    """Random words, lengths log-normal around 500 words; the authors are names only. The same on every machine."""
    root = (cache / f"generated-{documents}").resolve()
    halves = {"train": 5, "test": max(1, documents // authors)}
    if not (root / "ready").is_file():
        for number, (half, each) in enumerate(halves.items()):
            for author in range(authors):
                write_documents(root / half / f"author-{author:02d}", each, seed=SEED + number * authors + author)
        (root / "ready").touch()
    return Workload("generated", root / "test", tuple(sorted((root / "test").rglob("*.txt"))), root / "train")


def short_documents(root: Path, count: int, reporter: Reporter) -> None:
    """Write `count` notes of about 15 words below `root`, unless they are there."""
    marker = root / "ready"
    if marker.is_file() and int(marker.read_text("utf-8")) >= count:
        return
    reporter.info(f"writing {count} short documents")
    # The lengths depend on the count: start afresh.
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    write_documents(root, count, seed=SEED, words=15, spread=0.4)
    marker.write_text(str(count), "utf-8")


def tokenize(documents: Sequence[Path], bundle: Path, target: Path, truncate: int = 512) -> TokenizedWorkload:
    """Cut documents into the windows of the model in `bundle`, and write them to `target` for the workers.

    Peers read `truncate` tokens of a document.
    """
    windower = load_windower(load_bundle(bundle))
    tokens = windower.token_ids([path.read_text("utf-8", "replace") for path in documents])
    windows = [window for index, ids in enumerate(tokens) for window in windower.windows(ids, index)]
    _write_windows(target, [window.ids for window in windows])
    return TokenizedWorkload(
        target,
        tuple(window.document for window in windows),
        sum(len(window.ids) for window in windows),
        tuple(min(len(ids), windower.content) if windower.truncate else len(ids) for ids in tokens),
        tuple(min(len(ids), truncate - windower.special_tokens) for ids in tokens),
    )


def part_of(whole: TokenizedWorkload, chosen: Sequence[int]) -> TokenizedWorkload:
    """The windows of the documents with the indices `chosen`, in a file of their own."""
    rows = read_windows(whole.windows)
    place = {document: index for index, document in enumerate(chosen)}
    kept = [(row, place[owner]) for row, owner in zip(rows, whole.owners, strict=True) if owner in place]
    target = whole.windows.with_name(f"{whole.windows.stem}-{len(chosen)}.npz")
    _write_windows(target, [row for row, _ in kept])
    return TokenizedWorkload(
        target,
        tuple(owner for _, owner in kept),
        sum(len(row) for row, _ in kept),
        tuple(whole.whole[index] for index in chosen),
        tuple(whole.beginnings[index] for index in chosen),
    )


def _write_windows(target: Path, rows: Rows) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, ids=np.concatenate(rows), lengths=np.array([len(row) for row in rows], dtype=np.int32))
