"""What the journal costs. Measure on a quiet machine: pytest tests/attacks/test_overhead.py -m slow -s."""

from __future__ import annotations

import statistics
import time

import pytest
from tiny import AUTHORS, prose

from authorid import Scorer
from authorid.models import default_bundle
from authorid.outputs import open_writer, reserve

ROUNDS = 20
TURNS = 16
DOCUMENTS = 250
"""Documents of one turn. A round has 4,000, which take more than two seconds on each side."""

MAX_COST = 0.03
MAX_ERROR = 0.0075
"""The largest standard error with which a figure is meaningful."""


@pytest.fixture(scope="module")
def scorer():
    return Scorer.load(default_bundle(), effort="fast")  # the fastest scorer, so that the journal has the largest share


def with_journal(scorer, corpus, out):
    options = {"top": 5, "fingerprint": {}, "answers": scorer.bundle.answers, "file_digest": lambda _: None}
    with reserve(str(out), force=True) as destination, destination.open("csv", **options) as output:
        for turn in range(TURNS):
            for row in scorer.score([corpus / str(turn)], recall=output.recall):
                output.write(row.to_record())
            output._journal.flush()  # otherwise it would happen while the other side is timed
            yield
        output.finish()
    yield


def without_journal(scorer, corpus, out):
    with open_writer(str(out), "csv") as write:
        for turn in range(TURNS):
            for row in scorer.score([corpus / str(turn)]):
                write(row.to_record())
            yield
    yield


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def a_round(scorer, corpus, directory):
    """Both sides score everything, in turns of a few hundred documents, so that other load on the machine affects both.

    Returns the time of each turn, with the journal and without: [turn] {clock: (seconds, seconds)}.
    """
    runs = (with_journal(scorer, corpus, directory / "with.csv"), without_journal(scorer, corpus, directory / "no.csv"))
    turns = []
    for turn in range(TURNS + 1):  # the last one publishes the file
        spent = [{}, {}]
        for side in (0, 1) if turn % 2 else (1, 0):
            started = {name: clock() for name, clock in CLOCKS.items()}
            next(runs[side])
            spent[side] = {name: clock() - started[name] for name, clock in CLOCKS.items()}
        turns.append({name: (spent[0][name], spent[1][name]) for name in CLOCKS})
    for run in runs:
        assert next(run, None) is None
    return turns


def median_and_error(costs):
    """The median, and its standard error by the median deviation (as for normal noise)."""
    median = statistics.median(costs)
    deviation = 1.4826 * statistics.median(abs(cost - median) for cost in costs)
    return median, 1.2533 * deviation / len(costs) ** 0.5


@pytest.mark.promise("journal-cost")
@pytest.mark.slow
def test_the_journal_costs_at_most_three_percent(scorer, tmp_path):
    corpus = tmp_path / "docs"
    for number in range(TURNS * DOCUMENTS):
        path = corpus / str(number // DOCUMENTS) / f"{number:04}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prose(AUTHORS[number % 3], 400, number))
    a_round(scorer, corpus, tmp_path)  # warms up
    rounds = [a_round(scorer, corpus, tmp_path) for _ in range(ROUNDS)]
    assert (tmp_path / "with.csv").read_bytes() == (tmp_path / "no.csv").read_bytes()
    # The median turn shows what a row costs, independent of other load. What happens once a run or once a second
    # (opening, syncing, publishing) shows only in the total, which has all the noise in it too.
    meaningful = {}
    for clock in CLOCKS:
        pairs = [turn[clock] for turns in rounds for turn in turns]
        scored = [turn[clock] for turns in rounds for turn in turns[:TURNS]]
        median, error = median_and_error([journal / plain - 1 for journal, plain in scored])
        total = sum(journal for journal, _ in pairs) / sum(plain for _, plain in pairs) - 1
        print(f"journal, {clock}: {median:+.2%} +- {error:.2%} of a turn, {total:+.2%} of the total")  # noqa: T201
        if error <= MAX_ERROR:
            meaningful[clock] = median
    if not meaningful:
        pytest.skip("the machine is too busy for a meaningful figure")
    assert max(meaningful.values()) <= MAX_COST, meaningful
