"""What the journal costs. To be measured on a quiet machine: pytest tests/attacks/test_overhead.py -m slow -s."""

from __future__ import annotations

import statistics
import time

import pytest
from tiny import AUTHORS, prose

from authorid import Scorer
from authorid.errors import BundleNotFoundError
from authorid.models import default_bundle
from authorid.results import open_writer, reserve

ROUNDS = 5


@pytest.fixture(scope="module")
def scorer():
    try:
        return Scorer.load(default_bundle())
    except BundleNotFoundError as error:
        pytest.skip(str(error))


def with_journal(scorer, corpus, out):
    with reserve(str(out), force=True) as place, place.open("csv", top=5, settings={}, digest=lambda _: None) as output:
        for row in scorer.score([corpus], recall=output.recall):
            output.write(row)
        output.finish()


def without_journal(scorer, corpus, out):
    with open_writer(str(out), "csv") as write:
        for row in scorer.score([corpus]):
            write(row)


@pytest.mark.slow
def test_the_journal_costs_three_percent_at_most(scorer, tmp_path):
    corpus = tmp_path / "docs"
    corpus.mkdir()
    for number in range(3000):
        (corpus / f"{number:04}.txt").write_text(prose(AUTHORS[number % 3], 400, number))
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(ROUNDS + 1):
        for name, run in (("with", with_journal), ("without", without_journal)):
            started = time.perf_counter()
            run(scorer, corpus, tmp_path / f"{name}.csv")
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    assert (tmp_path / "with.csv").read_bytes() == (tmp_path / "without.csv").read_bytes()
    cost, typical = (pick(seconds["with"]) / pick(seconds["without"]) - 1 for pick in (min, statistics.median))
    print(f"journal: {cost:+.2%} of the fastest round, {typical:+.2%} of the median ({seconds})")  # noqa: T201
    assert cost <= 0.03
