from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.scoring.percentiles import Percentiles


@given(st.lists(st.floats(2e-6, 1e3), min_size=1, max_size=300), st.sampled_from([50, 90, 95, 99, 100]))
def test_percentiles_are_within_one_percent(values, percent):
    percentiles = Percentiles()
    for value in values:
        percentiles.add(value)
    true = np.percentile(values, percent, method="inverted_cdf")
    assert percentiles.percentile(percent) == pytest.approx(true, rel=0.0101)
    assert percentiles.max == max(values)


def test_the_number_of_bins_stays_bounded():
    percentiles = Percentiles()
    for value in np.random.default_rng(0).lognormal(-3, 2, 20_000):
        percentiles.add(value)
    assert len(percentiles.bins()) < 1200
    assert sum(count for _, count in percentiles.bins()) == 20_000


def test_without_values_all_percentiles_are_zero():
    assert Percentiles().summary_ms() == {"p50": 0, "p90": 0, "p95": 0, "p99": 0, "max": 0}
