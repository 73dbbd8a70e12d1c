"""Parity checks pass and fail where they should."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import random_windows

from authorid.errors import ParityError
from authorid.export.agreement import VerificationSet
from authorid.export.verify import Check, check_documents, check_invariance, check_logits, require_all


def documents_with_changed_answers(flipped: int = 0):
    documents = [random_windows([4])] * 300
    expected = np.tile(np.array([[2.0, 0, 0]], np.float32), (300, 1))
    actual = expected.copy()
    actual[:flipped] = [0, 2, 0]
    return actual, expected, VerificationSet("held-out", documents, np.zeros(300, np.int64))


@pytest.mark.parametrize(
    "flipped, agrees, accurate", [(0, True, True), (1, True, True), (2, True, False), (3, False, False)]
)
def test_agreement_and_accuracy_have_bounds(flipped, agrees, accurate):
    checks = {
        check.name.split(":")[0]: check for check in check_documents(*documents_with_changed_answers(flipped))[:3]
    }
    assert checks["INT8 = float32"].ok is agrees
    assert checks["accuracy of INT8"].ok is accurate


def test_logits_are_compared_by_their_largest_difference():
    one, other = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    other[1, 2] = 2e-4
    assert check_logits("a", one, other, 1e-3).ok and not check_logits("a", one, other, 1e-4).ok
    assert not check_logits("a", one, np.full_like(one, np.nan), 1e-3).ok


def test_the_error_names_every_failed_check():
    require_all([Check("fine", "1", "<= 2", True)])
    with pytest.raises(ParityError, match=r"first: 3, must be <= 2; second: 9"):
        require_all(
            [Check("first", "3", "<= 2", False), Check("fine", "1", "", True), Check("second", "9", "< 1", False)]
        )


def test_logits_that_depend_on_the_batch_or_on_threads_fail_the_check():
    class BatchDependent:
        def __init__(self, changes=lambda batch: False):
            self.changes = changes

        def run(self, ids):
            return {"logits": ids[:, :2].astype(np.float32) + self.changes(len(ids))}

    windows = random_windows([4, 4, 4, 9])  # the last one is the only one of its length

    def check(runner, threaded):
        found = check_invariance("alone = in a batch", runner, threaded, windows)
        return found.value, found.ok

    assert check(BatchDependent(), BatchDependent()) == ("4 of 4", True)
    assert check(BatchDependent(lambda batch: batch > 1), BatchDependent()) == ("0 of 4", False)
    assert check(BatchDependent(lambda batch: batch == 3), BatchDependent()) == ("0 of 4", False)
    assert check(BatchDependent(), BatchDependent(lambda batch: True)) == ("0 of 4", False)
