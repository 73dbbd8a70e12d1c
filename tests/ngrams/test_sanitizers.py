"""The compiled kernels, built with sanitizers: no undefined behaviour, and no access outside of arrays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from authorid.ngrams import kernels

SOURCE = Path(kernels.__file__).with_name("_kernels.c")
COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler"),
    pytest.mark.skipif(not SOURCE.is_file(), reason="the C source is not installed"),
]

RUN = """
import importlib.machinery, importlib.util, sys
name = "authorid.ngrams._kernels_c"
loader = importlib.machinery.ExtensionFileLoader(name, sys.argv[1])
module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
loader.exec_module(module)
sys.modules[name] = module
import authorid.ngrams.kernels, pytest
assert authorid.ngrams.kernels.compiled is module
sys.exit(pytest.main(["-q", "--tb=short", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


def run_tests(build: Path, sanitizers: str, *arguments: str) -> None:
    """Run the tests of the kernels with a build that stops at the first error that the `sanitizers` find."""
    assert COMPILER is not None
    module = build / "_kernels_c.so"
    include = sysconfig.get_paths()["include"]
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-O1", "-g", "-ffp-contract=off"]
    compiled = subprocess.run(
        [COMPILER, *flags, "-shared", "-fPIC", f"-I{include}", str(SOURCE), "-o", str(module)],
        capture_output=True,
        text=True,
    )
    if compiled.returncode:
        pytest.skip(f"the compiler has no {sanitizers} sanitizer: {compiled.stderr.strip().splitlines()[-1]}")
    libraries = [
        subprocess.run([COMPILER, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name, wanted in {"libasan.so": "address", "libubsan.so": "undefined"}.items()
        if wanted in sanitizers
    ]
    environment = {**os.environ, "LD_PRELOAD": ":".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
    tests = str(Path(__file__).with_name("test_kernels.py"))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(module), tests, *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_hostile_offsets_cause_no_undefined_behaviour(tmp_path):
    run_tests(tmp_path, "undefined", "-k", "hostile or fit or range or room")


@pytest.mark.slow
def test_the_kernels_pass_their_tests_under_sanitizers(tmp_path):
    run_tests(tmp_path, "address,undefined")
