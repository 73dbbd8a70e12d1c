"""Very many short documents: the command takes little memory, and begins at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import environment, run
from generated_corpora import Generator

from authorid import Scorer
from authorid.bundle.manifest import load_bundle
from authorid.inputs import discovery
from authorid.scoring import run_inputs
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import train_ngrams

pytest.importorskip("scipy")

LIMIT = 300
"""Mebibytes that a run takes, at most."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("model")
    Generator(4).write(root / "corpus", 8)
    train_ngrams(root / "corpus", root / "run", NgramOptions(bits=16))
    return root / "run"


def write_files(root: Path, texts: list[str], count: int) -> Path:
    """Write files in directories of 1,000."""
    for number in range(count):
        directory = root / "files" / f"{number // 1000:04d}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        (directory / f"{number:07d}.txt").write_text(f"{number} {texts[number % len(texts)]}")
    return root / "files"


def write_rows(root: Path, texts: list[str], count: int) -> Path:
    """Write rows of a Parquet table, in row groups of 10,000."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root.mkdir()
    path = root / "rows.parquet"
    with parquet.ParquetWriter(path, arrow.schema([("text", arrow.string())])) as writer:
        for start in range(0, count, 10_000):
            rows = range(start, min(start + 10_000, count))
            writer.write_table(arrow.table({"text": [f"{row} {texts[row % len(texts)]}" for row in rows]}))
    return path


@pytest.mark.promise("flat-memory")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("write", [write_files, write_rows])
@pytest.mark.parametrize("count", [3_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_memory_is_small_and_flat(model, tmp_path, write, count):
    texts = [text[:300] for text in Generator(4).documents(0, 50, first=100)]
    peaks = []
    for number in (count // 10, count):
        root = tmp_path / str(number)
        inputs = write(root, texts, number)
        peak = root / "peak"
        # Not the peak that getrusage reports: it starts with that of the process that started this one.
        prelude = (
            "import atexit, pathlib, re\n"
            "own = lambda: re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1]\n"
            f"atexit.register(lambda: pathlib.Path({str(peak)!r}).write_text(own()))"
        )
        arguments = ("score", inputs, "--model", model, "--out", root / "out.csv")
        done = run(*arguments, prelude=prelude, timeout=1800, env=environment(tmp_path))
        assert done.returncode == 0, done.stderr
        with (root / "out.csv").open("rb") as stream:
            assert sum(1 for _ in stream) == number + 1
        peaks.append(int(peak.read_text()) / 1024)
    assert peaks[1] < LIMIT
    assert peaks[1] - peaks[0] < 60


def test_the_first_documents_are_scored_while_the_others_are_listed(model, tmp_path, monkeypatch):
    inputs = write_files(tmp_path, ["bafo cedi. gola, reman"], 4_000)
    found = 0

    def walk(*arguments):
        nonlocal found
        for file in discovery.walk(*arguments):
            found += 1
            yield file

    monkeypatch.setattr(run_inputs, "walk", walk)
    rows = Scorer(load_bundle(model)).score([inputs])
    assert next(rows).status == "scored"
    assert found < 2_000
    assert sum(1 for _ in rows) == 3_999
    assert found == 4_000
