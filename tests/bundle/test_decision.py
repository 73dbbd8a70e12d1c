from __future__ import annotations

import json
import sys
from dataclasses import asdict

import pytest

from authorid.bundle.decision import Decision, KnownAuthorRule

RULE = KnownAuthorRule((0.5, 0.25), (1.0, 2.0), (1.0, 0.0, 0.5), (0, 2), 1.5, 0.25, -3.0)
FUSION = Decision(
    "fusion", temperature=0.5, false_attribution_thresholds=((0.05, 0.9), (0.1, 0.8)), known_author_rule=RULE
)


@pytest.mark.parametrize(
    "decision", [Decision(), FUSION, Decision("sigmoid", unknown_threshold=0.5), Decision("identity")]
)
def test_a_decision_survives_json(decision):
    assert Decision.from_json(json.loads(json.dumps(asdict(decision)))) == decision


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "majority"},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"exit_threshold": -0.1},
        {"unknown_threshold": float("inf")},
        {"coverage_threshold": 1.01},
        {"coverage_threshold": float("nan")},
        {"half_length": 10**400},
        {"false_attribution_thresholds": [[0.1, -1]]},
        {"false_attribution_thresholds": [[0.1]]},
        {"another_number": 1.0},
        {"known_author_rule": {}},
    ],
)
def test_an_invalid_decision_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError, OverflowError)):
        Decision.from_json({**asdict(FUSION), **change})


@pytest.mark.parametrize("rule, options", [("identity", {"unknown_threshold": 0.1}), ("sigmoid", {"temperature": 2.0})])
def test_a_rule_without_a_temperature_or_threshold_refuses_one(rule, options):
    with pytest.raises(ValueError, match=rf"{rule}.* has no (temperature|threshold)"):
        Decision(rule, **options)


@pytest.mark.parametrize("share, threshold", [(0.05, 0.9), (0.07, 0.9), (0.1, 0.8), (0.5, 0.8), (1.0, 0.0)])
def test_the_threshold_is_that_of_the_next_stricter_measured_share(share, threshold):
    assert FUSION.with_false_attribution(share).known_author_threshold == threshold


def test_a_share_below_all_measured_ones_rejects_every_document():
    assert FUSION.with_false_attribution(0.01).known_author_threshold == sys.float_info.max


def test_a_share_without_measured_thresholds_is_refused():
    with pytest.raises(ValueError, match="not measured on unknown authors"):
        Decision("fusion").with_false_attribution(0.1)
