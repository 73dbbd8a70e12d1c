from __future__ import annotations

from authorid.inputs.documents import DocumentRef
from authorid.scoring.attribution import Attribution
from authorid.scoring.stats import RunStats, StageClock


def test_stage_seconds_are_summed():
    clock = StageClock(("read", "write"))
    clock.add("read", 1.0)
    clock.add("read", 0.5)
    with clock.stage("write"):
        pass
    seconds = clock.seconds()
    assert seconds["read"] == 1.5
    assert 0 <= seconds["write"] < 0.5


def test_rows_of_an_earlier_run_are_counted_but_do_not_raise_the_rates():
    ranking = (("Ada", 0.7), ("Ben", 0.3))
    row = Attribution(DocumentRef("a"), "scored", ranking, windows=1, tokens=100)
    stats = RunStats()
    stats.recall(row)
    stats.count(row)
    stats.count(row)
    report = stats.report(2.0, {"model": "tiny"})
    assert (report["documents"], report["tokens"], report["model"]) == (2, 200, "tiny")
    assert (report["documents_per_second"], report["tokens_per_second"]) == (0.5, 50)
