from __future__ import annotations

import threading
import time

import pytest

from authorid.inputs.timeouts import Timeout


def test_calls_with_a_timeout_return_results_and_raise_errors():
    with Timeout(5) as timeout:
        assert timeout.call(lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            timeout.call(lambda: 1 // 0)


def test_hanging_calls_are_abandoned_up_to_a_limit():
    release = threading.Event()
    with Timeout(0.05, max_abandoned=2) as timeout:
        for _ in range(2):
            with pytest.raises(TimeoutError, match="no answer within"):
                timeout.call(release.wait)
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="not tried"):
            timeout.call(release.wait)
        assert time.monotonic() - started < 0.04
        release.set()
        time.sleep(0.1)
        assert timeout.call(lambda: "again") == "again"
