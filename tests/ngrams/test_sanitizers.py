"""The compiled kernels of the n-gram model under sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest
from sanitizers import run_sanitized

from authorid.ngrams import kernels

SOURCE = Path(kernels.__file__).with_name("_kernels.c")
TESTS = str(Path(__file__).with_name("test_kernels.py"))


def run_tests(build: Path, sanitizers: str, *arguments: str) -> None:
    run_sanitized(build, "authorid.ngrams._kernels_c", SOURCE, sanitizers, TESTS, *arguments)


def test_hostile_offsets_cause_no_undefined_behaviour(tmp_path):
    run_tests(tmp_path, "undefined", "-k", "hostile or fit or range or room")


@pytest.mark.slow
def test_the_kernels_pass_their_tests_under_sanitizers(tmp_path):
    run_tests(tmp_path, "address,undefined")
