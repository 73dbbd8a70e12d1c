"""``python -m bench accuracy``: accuracy with few documents, short texts and many authors, beside baselines.

Each curve varies one thing: the training documents an author, the words in a text, or the authors. All systems train
and answer on the same documents. Results go to accuracy.md, accuracy.json and accuracy.svg. CORPUS is a directory with
one subdirectory of documents per author; with none, Reuters C50's C50train.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from authorid.errors import AuthoridError, expect, os_error_reason
from authorid.evaluation.evaluation_report import EvaluationReport, make_report
from authorid.machine import available_cores, cpu_name
from authorid.scoring.stats import versions
from bench.accuracy_baselines import BASELINES, Labels, check_sklearn
from bench.accuracy_report import accuracy_tables, draw_curves
from bench.processes import ROOT
from bench.workloads import find_c50

__all__ = ["main"]

SCHEMA = 1
SEED = 20
HELD_OUT = 0.4
"""What share of each author's documents is tested when there is no corpus to test on."""
OURS = "authorid"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the table, the record and the plot; the exit status is 1 if that is impossible."""
    options = _arguments(arguments)
    try:
        check_sklearn()
        expect(("scipy",), "fit")
        expect(("matplotlib",), "plots")
        corpus = _read(options.corpus or _default_corpus(), options.test)
        record = _measure(corpus, QUICK if options.quick else FULL)
        # The published results are not replaced by those of somebody's own corpus.
        out = options.out or (ROOT / "bench" / "results" if options.corpus is None else Path())
        table = _write(record, out / ("quick-accuracy" if options.quick else "accuracy"))
    except AuthoridError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(table)
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench accuracy", description=__doc__)
    add = parser.add_argument
    add("corpus", type=Path, nargs="?", metavar="CORPUS", help="documents to train on; default: C50train")
    share = f"{HELD_OUT:.0%}".replace("%", " %%")
    add("--test", type=Path, metavar="CORPUS", help=f"documents to test; default: each author's last {share} by name")
    add("--out", type=Path, metavar="DIR", help="default: bench/results for C50train, otherwise the current directory")
    add("--quick", action="store_true", help="a few rows on a small part, in quick-accuracy.*; less than a minute")
    return parser.parse_args(arguments)


def _default_corpus() -> Path:
    found = find_c50(ROOT)
    if found is None:
        raise AuthoridError("no corpus: name one, or set AUTHORID_C50 to the directory that holds C50train and C50test")
    return found / "C50train"


@dataclass(frozen=True, slots=True)
class _Text:
    """A document: its path below the corpus, its author and its text."""

    path: str
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class _Texts:
    """The documents to train on and to test. `description` is what a record contains about them."""

    training: tuple[_Text, ...]
    tested: tuple[_Text, ...]
    description: Mapping[str, Any]

    @property
    def authors(self) -> list[str]:
        """All authors, sorted."""
        return sorted({text.author for text in self.training})

    def documents(self) -> dict[str, list[_Text]]:
        """The training documents of each author."""
        found: dict[str, list[_Text]] = {author: [] for author in self.authors}
        for text in self.training:
            found[text.author].append(text)
        return found


def _read(path: Path, test: Path | None) -> _Texts:
    """Read the corpus at `path`; what is tested comes from `test`, or from the corpus itself."""
    from authorid.training.corpus import Corpus, load_corpus, load_known_corpus
    from authorid.training.splits import last_split

    def texts(corpus: Corpus, chosen: Sequence[int]) -> tuple[_Text, ...]:
        documents = [corpus.documents[index] for index in chosen]
        return tuple(_Text(each.path, corpus.authors[each.label], each.text) for each in documents)

    corpus = load_corpus(path)
    description = {"name": path.resolve().name, "digest": corpus.digest, "authors": len(corpus.authors)}
    if test is None:
        training, held = last_split(corpus, HELD_OUT)
        if not held:
            raise AuthoridError(f"{path}: no author has a second document to test; name a corpus with --test")
        tested = f"each author's last {HELD_OUT:.0%} by file name".replace("%", " %")
        return _Texts(texts(corpus, training), texts(corpus, held), {**description, "tested": tested})
    other = load_known_corpus(test, corpus.authors)
    description |= {"tested": test.resolve().name, "test_digest": other.digest}
    return _Texts(texts(corpus, range(len(corpus.documents))), texts(other, range(len(other.documents))), description)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The values along each curve. Along `authors`, each has at most `at_most` training documents.

    `part` is the part of the corpus that is used at all: authors, and training documents of each; None means all.
    """

    documents: tuple[int, ...]
    words: tuple[int, ...]
    authors: tuple[int, ...]
    at_most: int
    part: tuple[int, int] | None = None


FULL = _Grid((2, 5, 10, 25), (50, 100, 200, 500), (10, 25, 50, 100, 250, 1_000), 10)
QUICK = _Grid((2, 5), (50,), (3, 5), 5, part=(5, 5))


@dataclass(frozen=True, slots=True)
class _Cell:
    """One training and test: so many authors, documents of each, and words of each text; None means all."""

    authors: int
    documents: int | None = None
    words: int | None = None

    def __str__(self) -> str:
        documents = "all documents" if self.documents is None else f"{self.documents} documents an author"
        words = "whole texts" if self.words is None else f"{self.words} words a text"
        return f"{self.authors} authors, {documents}, {words}"


def _rows(corpus: _Texts, grid: _Grid) -> list[tuple[str, _Cell]]:
    """The rows that `corpus` can fill, each with the name of its curve.

    A number of documents needs half of the authors to have as many, and a number of words half of the texts.
    """
    number = len(corpus.authors)
    documents = [len(own) for own in corpus.documents().values()]
    words = [len(text.text.split()) for text in (*corpus.training, *corpus.tested)]
    return [
        *(("documents", _Cell(number, each)) for each in grid.documents if np.median(documents) >= each),
        *(("words", _Cell(number, None, each)) for each in grid.words if np.median(words) >= each),
        *(("authors", _Cell(each, grid.at_most)) for each in grid.authors if number >= each),
        ("whole", _Cell(number)),
    ]


def _choose(corpus: _Texts, cell: _Cell) -> _Texts:
    """The documents of a cell, drawn with a fixed seed: what a small cell has, a larger one has too."""
    authors = set(_drawn(corpus.authors, "authors", cell.authors))
    kept = {
        text.path
        for author, own in corpus.documents().items()
        if author in authors
        for text in _drawn(own, author, cell.documents)
    }
    training = tuple(_shorten(text, cell.words) for text in corpus.training if text.path in kept)
    tested = tuple(_shorten(text, cell.words) for text in corpus.tested if text.author in authors)
    if not tested:
        raise AuthoridError(f"no document to test for {cell}")
    return _Texts(training, tested, corpus.description)


def _drawn(items: Sequence[Any], name: str, number: int | None) -> list[Any]:
    """The first `number` of `items` after they are shuffled with a seed that depends on `name` only."""
    shuffled = list(items)
    random.Random(f"{SEED} {name}").shuffle(shuffled)
    return shuffled[:number]


def _shorten(text: _Text, words: int | None) -> _Text:
    """The first `words` words of a text, with the space between them as it is."""
    if words is None:
        return text
    beginning = re.match(rf"(?:\s*\S+){{1,{words}}}", text.text)
    return _Text(text.path, text.author, beginning[0] if beginning else text.text)


def _measure(corpus: _Texts, grid: _Grid) -> dict[str, Any]:
    """The whole record. A cell that is on two curves is measured once."""
    if grid.part is not None:
        corpus = _choose(corpus, _Cell(*grid.part))
    rows = _rows(corpus, grid)
    cells = list(dict.fromkeys(cell for _, cell in rows))
    systems = [OURS, *BASELINES]
    found: dict[_Cell, dict[str, Any]] = {}
    for index, cell in enumerate(cells):
        chosen = _choose(corpus, cell)
        measured = {}
        for number, (system, report, seconds) in enumerate(_evaluate_all(chosen), index * len(systems) + 1):
            measured[system] = _figures(report, system)
            _progress(f"{number} of {len(cells) * len(systems)}: {cell}: {system}", report, seconds)
        found[cell] = {"training": len(chosen.training), "tested": len(chosen.tested), "systems": measured}
    return {
        "schema": SCHEMA,
        "kind": "authorid accuracy bench",
        "corpus": {**corpus.description, "authors": len(corpus.authors)},
        "machine": {
            "cpu": cpu_name(),
            "cores": available_cores(),
            "versions": {**versions(), "scikit-learn": version("scikit-learn")},
        },
        "systems": systems,
        "rows": [
            {"curve": curve, "authors": cell.authors, "documents": cell.documents, "words": cell.words, **found[cell]}
            for curve, cell in rows
        ],
    }


def _progress(what: str, report: EvaluationReport, seconds: float) -> None:
    sys.stderr.write(f"{what}: {report.metrics.accuracy:.3f} ({seconds:.0f} s)\n")


def _figures(report: EvaluationReport, system: str) -> dict[str, Any]:
    """What a record contains of a report. Baselines give no probabilities, and so no calibration error."""
    figures: dict[str, Any] = {
        "accuracy": round(report.metrics.accuracy, 4),
        "interval": [round(bound, 4) for bound in report.interval],
        "macro_f1": round(report.metrics.macro_f1, 4),
    }
    return {**figures, "ece": round(report.metrics.ece, 4)} if system == OURS else figures


def _evaluate_all(texts: _Texts) -> Iterator[tuple[str, EvaluationReport, float]]:
    """Train and test every system; each gives its name, its report and how many seconds it took."""
    started = time.monotonic()
    yield OURS, _evaluate_authorid(texts), time.monotonic() - started
    authors = texts.authors
    truth = _labels(texts.tested, authors)
    for name, baseline in BASELINES.items():
        started = time.monotonic()
        training, tested = [text.text for text in texts.training], [text.text for text in texts.tested]
        answers = baseline(training, _labels(texts.training, authors), tested)
        certain = np.eye(len(authors))[answers]
        lengths = [len(text) for text in tested]
        yield name, make_report(truth, certain, authors, lengths, []), time.monotonic() - started


def _labels(texts: Sequence[_Text], authors: Sequence[str]) -> Labels:
    numbers = {author: number for number, author in enumerate(authors)}
    return np.array([numbers[text.author] for text in texts], dtype=np.int64)


def _evaluate_authorid(texts: _Texts) -> EvaluationReport:
    """Train on directories and evaluate, as ``authorid train --no-encoder`` and ``authorid evaluate`` do."""
    from authorid.training.corpus_spec import CorpusSpec
    from authorid.training.evaluate import EvaluationOptions, evaluate
    from authorid.training.ngram_run import train_ngrams

    with TemporaryDirectory(prefix="authorid-") as directory:
        root = Path(directory)
        for name, documents in (("training", texts.training), ("tested", texts.tested)):
            for text in documents:
                # Its own name, because training takes numbers in names for an order in time. The ending is added, not
                # replaced: an HTML file is plain text by now.
                path = root / name / f"{text.path}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text.text, "utf-8")
        # The names of authors were checked when the corpus was read.
        train_ngrams(CorpusSpec(root / "training", all_authors=True), root / "run")
        return evaluate(root / "run", root / "tested", EvaluationOptions(effort="fast"))


def _write(record: Mapping[str, Any], stem: Path) -> str:
    """Write ``<stem>.json``, ``.md`` and ``.svg``; the table."""
    table = accuracy_tables(record)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
        stem.with_suffix(".md").write_text(table, "utf-8")
        draw_curves(record, stem.with_suffix(".svg"))
    except OSError as error:
        raise AuthoridError(f"{stem.parent}: cannot write there: {os_error_reason(error)}") from None
    return table
