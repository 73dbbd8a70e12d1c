"""Compiled modules, built with sanitizers: no undefined behaviour, and no access outside of arrays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")

RUN = """
import importlib.machinery, importlib.util, sys
name = sys.argv[1]
loader = importlib.machinery.ExtensionFileLoader(name, sys.argv[2])
spec = importlib.util.spec_from_file_location(name, sys.argv[2], loader=loader)
module = importlib.util.module_from_spec(spec)
loader.exec_module(module)
sys.modules[name] = module
import pytest
status = pytest.main(["-q", "--tb=short", "-p", "no:cacheprovider", *sys.argv[3:]])
assert sys.modules[name] is module
sys.exit(status)
"""


def run_sanitized(build: Path, name: str, source: Path, sanitizers: str, *arguments: str) -> None:
    """Run pytest with a build of module `name` that stops at the first error that the `sanitizers` find."""
    if COMPILER is None or not source.is_file():
        pytest.skip("there is no C compiler" if COMPILER is None else "the C source is not installed")
    module = build / f"{name.rpartition('.')[2]}.so"
    include = sysconfig.get_paths()["include"]
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-O1", "-g", "-ffp-contract=off"]
    compiled = subprocess.run(
        [COMPILER, *flags, "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(module)],
        capture_output=True,
        text=True,
    )
    if compiled.returncode:
        pytest.skip(f"the compiler has no {sanitizers} sanitizer: {compiled.stderr.strip().splitlines()[-1]}")
    libraries = [
        subprocess.run([COMPILER, f"-print-file-name={library}"], capture_output=True, text=True).stdout.strip()
        for library, wanted in {"libasan.so": "address", "libubsan.so": "undefined"}.items()
        if wanted in sanitizers
    ]
    environment = {**os.environ, "LD_PRELOAD": ":".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
    done = subprocess.run(
        [sys.executable, "-c", RUN, name, str(module), *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
