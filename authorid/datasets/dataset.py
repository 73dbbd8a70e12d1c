"""What a data set must contain, whoever serves it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from authorid.errors import CorpusError

__all__ = ["C50", "Dataset", "check_part", "content_digest"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Corpora in one zip archive: each of `parts` is a directory of authors, and has the `content_digest` given.

    An archive of more than `most_bytes`, or one that unpacks to more, is not that of the data set.
    """

    name: str
    url: str
    parts: Mapping[str, str] = field(default_factory=dict)
    authors: int = 50
    documents: int = 50
    most_bytes: int = 128 << 20


C50: Final = Dataset(
    name="c50",
    url="https://archive.ics.uci.edu/static/public/217/reuter+50+50.zip",
    parts={
        "C50train": "9d52ae0c15c1d625a04ed8b3effd4691f83665ae88ab67e67fe04119e116c2f0",
        "C50test": "c8d61ca0c7b45f6d36fa45a35cfb98336329d9696dc222d27f37c6fab70cfd24",
    },
)
"""Reuters C50: 50 journalists, 50 articles for training and 50 for tests each (Z. Liu, UCI, 2011)."""


def content_digest(directory: Path) -> str:
    """SHA-256 over the names of all files below `directory`, in order, and over their bytes.

    Line breaks count alike, whether they are CRLF or LF: copies of a data set differ in them.
    """
    names = sorted((path.relative_to(directory).as_posix(), path) for path in directory.rglob("*") if path.is_file())
    total = hashlib.sha256()
    for name, path in names:
        digest = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        total.update(f"{digest}  {name}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def check_part(dataset: Dataset, name: str, directory: Path) -> None:
    """Raise `CorpusError` when `directory` is not the part `name` of the data set."""
    authors = [path for path in directory.iterdir() if path.is_dir()]
    documents = sum(len(list(path.iterdir())) for path in authors)
    expected = dataset.authors * dataset.documents
    if (len(authors), documents) != (dataset.authors, expected):
        raise CorpusError(
            f"{directory}: {documents} documents by {len(authors)} authors, but {name} has {expected} by "
            f"{dataset.authors}"
        )
    if content_digest(directory) != dataset.parts[name]:
        raise CorpusError(f"{directory}: the texts are not those of {name}; some were changed or damaged")
