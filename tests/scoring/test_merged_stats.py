"""The statistics of shards add up to those of the whole run, percentiles included."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.inputs.documents import DocumentRef
from authorid.scoring.attribution import Attribution
from authorid.scoring.merged_stats import merge_statistics, shard_statistics
from authorid.scoring.percentiles import Percentiles
from authorid.scoring.stats import RunStats

SCORED_BY = {"model": "tiny", "provider": "cpu", "precision": "int8", "workers": 2, "threads": 1}
SECONDS = st.floats(0, 1e4)


@given(st.lists(st.lists(SECONDS, max_size=30), min_size=1, max_size=6))
def test_percentiles_of_the_sum_are_those_of_all_values(shards):
    whole, merged = Percentiles(), Percentiles()
    for values in shards:
        part = Percentiles()
        for value in values:
            whole.add(value)
            part.add(value)
        merged.add_state(json.loads(json.dumps(part.state())))
    assert merged.summary_ms() == whole.summary_ms()
    assert merged.bins() == whole.bins()
    assert merged.count == whole.count


def row(author, status="scored"):
    ranking = () if status == "failed" else ((author, 0.7), ("Ben", 0.3))
    return Attribution(DocumentRef("a"), status, ranking, windows=2, tokens=30)


def test_statistics_of_shards_are_those_of_one_run():
    whole, parts = RunStats(), [RunStats(), RunStats(), RunStats()]
    for number, part in enumerate(parts[:2]):
        for stats in (whole, part):
            for author, status in (("Ada", "scored"), ("Ben", "failed"), ("Cyd", "unknown")):
                stats.count(row(author, status))
                stats.latency(0.25 + number, 0.125)
            stats.batch(128, 0.5)
            stats.recall(row("Ada"))
    kept = [{"kept": 1, "changed": 2, "vanished": 0}, {"kept": 1, "changed": 2, "vanished": 0}]
    shards = [
        shard_statistics(part, 2.0 * number, {**SCORED_BY, **extra})
        for number, (part, extra) in enumerate(
            zip(parts, ({"resumed": kept[0]}, {"resumed": kept[1]}, {}), strict=True)
        )
    ]
    for number, shard in enumerate(shards):
        shard["report"] |= {"cpu": f"cpu {number % 2}", "peak_rss_mb": (90.5, 100.5, None)[number]}
    stats, report = merge_statistics(json.loads(json.dumps(shards)))
    expected = whole.report(6.0, SCORED_BY)
    for key in expected:
        if key not in ("cpu", "peak_rss_mb"):
            assert report[key] == expected[key], key
    assert stats.authors == whole.authors
    assert report["cpu"] == ["cpu 0", "cpu 1"]
    assert report["peak_rss_mb"] == 100.5
    assert report["resumed"] == {"kept": 2, "changed": 4, "vanished": 0}


@pytest.mark.parametrize(
    "change",
    [
        lambda shard: shard.pop("state"),
        lambda shard: shard.update(report=[1]),
        lambda shard: shard["report"].update(wall_seconds="x"),
        lambda shard: shard["report"].update(wall_seconds=float("inf")),
        lambda shard: shard["report"].update(peak_rss_mb="x"),
        lambda shard: shard["report"].pop("workers"),
        lambda shard: shard["state"]["service_time"].update(bins=[[10**9, 1]]),
        lambda shard: shard["state"].update(windows=-1),
        lambda shard: shard["state"].update(tokens=1.5),
        lambda shard: shard["state"].update(status=[]),
        lambda shard: shard["state"].update(authors={"Ada": "x"}),
        lambda shard: shard["state"]["service_time"].update(bins=[[1, -2]]),
        lambda shard: shard["state"]["service_time"].update(bins=[[1]]),
        lambda shard: shard["state"].update(stages={}),
    ],
)
def test_what_is_no_statistics_is_refused(change):
    shard = json.loads(json.dumps(shard_statistics(RunStats(), 1.0, SCORED_BY)))
    change(shard)
    with pytest.raises(ValueError, match=r"\w"):
        merge_statistics([shard])
