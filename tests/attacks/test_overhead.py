"""What the journal costs. To be measured on a quiet machine: pytest tests/attacks/test_overhead.py -m slow -s."""

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
"""Of one turn; a round, of 4,000, takes more than two seconds on each side."""

MOST = 0.03
TELLING = 0.0075
"""Standard error up to which a figure says something."""


@pytest.fixture(scope="module")
def scorer():
    return Scorer.load(default_bundle(), effort="fast")  # the less else there is to do, the worse


def with_journal(scorer, corpus, out):
    with reserve(str(out), force=True) as place, place.open("csv", top=5, settings={}, digest=lambda _: None) as output:
        for turn in range(TURNS):
            for row in scorer.score([corpus / str(turn)], recall=output.recall):
                output.write(row)
            output._journal.flush()  # what this turn left must not be done while the other side is timed
            yield
        output.finish()
    yield


def without_journal(scorer, corpus, out):
    with open_writer(str(out), "csv") as write:
        for turn in range(TURNS):
            for row in scorer.score([corpus / str(turn)]):
                write(row)
            yield
    yield


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def a_round(scorer, corpus, directory):
    """Both sides score everything, taking turns of a few hundred documents: what else the machine does meets both.

    Gives what each turn took, with the journal and without: [turn] {clock: (seconds, seconds)}.
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
def test_the_journal_costs_three_percent_at_most(scorer, tmp_path):
    corpus = tmp_path / "docs"
    for number in range(TURNS * DOCUMENTS):
        path = corpus / str(number // DOCUMENTS) / f"{number:04}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prose(AUTHORS[number % 3], 400, number))
    a_round(scorer, corpus, tmp_path)  # warms up
    rounds = [a_round(scorer, corpus, tmp_path) for _ in range(ROUNDS)]
    assert (tmp_path / "with.csv").read_bytes() == (tmp_path / "no.csv").read_bytes()
    # The median turn says what a row costs, whatever else went on; what comes once a run or once a second (opening,
    # syncing, publishing) shows in the total, which has all the noise in it too.
    telling = {}
    for clock in CLOCKS:
        pairs = [turn[clock] for turns in rounds for turn in turns]
        scored = [turn[clock] for turns in rounds for turn in turns[:TURNS]]
        median, error = median_and_error([journal / plain - 1 for journal, plain in scored])
        total = sum(journal for journal, _ in pairs) / sum(plain for _, plain in pairs) - 1
        print(f"journal, {clock}: {median:+.2%} +- {error:.2%} of a turn, {total:+.2%} of the total")  # noqa: T201
        if error <= TELLING:
            telling[clock] = median
    if not telling:
        pytest.skip("the machine is too busy to tell")
    assert max(telling.values()) <= MOST, telling
