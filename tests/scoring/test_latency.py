from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.scoring.latency import Percentiles, StageClock


@given(st.lists(st.floats(2e-6, 1e3), min_size=1, max_size=300), st.sampled_from([50, 90, 95, 99, 100]))
def test_percentiles_are_within_one_percent(values, percent):
    percentiles = Percentiles()
    for value in values:
        percentiles.add(value)
    true = np.percentile(values, percent, method="inverted_cdf")
    assert percentiles.percentile(percent) == pytest.approx(true, rel=0.0101)
    assert percentiles.max == max(values)


def test_memory_does_not_grow_with_the_count():
    percentiles = Percentiles()
    for value in np.random.default_rng(0).lognormal(-3, 2, 20_000):
        percentiles.add(value)
    assert len(percentiles.bins()) < 1200
    assert sum(count for _, count in percentiles.bins()) == 20_000


def test_nothing_measured_is_zero():
    assert Percentiles().summary_ms() == {"p50": 0, "p90": 0, "p95": 0, "p99": 0, "max": 0}


def test_stages_add_up():
    clock = StageClock(("read", "write"))
    clock.add("read", 1.0)
    clock.add("read", 0.5)
    with clock.stage("write"):
        pass
    seconds = clock.seconds()
    assert seconds["read"] == 1.5
    assert 0 <= seconds["write"] < 0.5
