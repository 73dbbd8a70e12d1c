"""What CI runs on macOS and Windows: a plain install that scores, then the tests that need no POSIX.

A checkout has two links, ``authorid/export`` and ``authorid/models``; where git cannot make links, they are files with
a path in them. An installed package has directories there, so the tests run against that, outside the checkout.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "tests/bundle",
    "tests/ngrams",
    "tests/cli/test_config_file.py",
    "tests/cli/test_help.py",
    "tests/cli/test_models_command.py",
    "tests/cli/test_quantities.py",
    "tests/inputs/test_ignore.py",
    "tests/outputs/test_formats.py",
    "tests/outputs/test_record_codec.py",
    "tests/scoring/test_cascade.py",
    "tests/scoring/test_scorer.py",
)


def run(*command: str | Path, cwd: Path, code: int = 0) -> None:
    """Run a command, and end with an error unless it exits with `code`."""
    print("==", *command, flush=True)
    done = subprocess.run([str(part) for part in command], cwd=cwd, check=False)
    if done.returncode != code:
        raise SystemExit(f"exit code {done.returncode}, expected {code}")


def main() -> None:
    """Install, score, resume, train and test."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        work = Path(name)
        run(sys.executable, "-m", "venv", work / "venv", cwd=work)
        python = work / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        run(python, "-m", "pip", "install", "--quiet", ROOT, cwd=work)
        authorid = (python, "-P", "-m", "authorid")
        run(*authorid, "doctor", cwd=work)
        for effort in ("auto", "full", "fast"):
            run(*authorid, "score", ROOT / "examples", "--effort", effort, "--out", f"{effort}.csv", cwd=work)
            with (work / f"{effort}.csv").open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            assert len(rows) == 6 and all(row["status"] in ("scored", "unknown") for row in rows), rows
        left = {path.name for path in work.iterdir()} - {"venv", "auto.csv", "full.csv", "fast.csv"}
        assert not left, left
        (work / "letters").mkdir()
        (work / "letters" / "a.txt").write_text("The bank would sell its shares.\n", "utf-8")
        (work / "letters" / "b.txt").touch()
        run(*authorid, "score", "letters", "--out", "out.csv", "--fail-fast", cwd=work, code=1)
        run(*authorid, "score", "letters", "--out", "out.csv", "--resume", cwd=work, code=3)
        run(python, "-m", "pip", "install", "--quiet", f"{ROOT}[fit,test]", cwd=work)
        # Tests find the repository's files from where they are, but must import the installed package.
        shutil.copytree(ROOT / "tests", work / "tests")
        shutil.copytree(ROOT / "examples", work / "examples")
        shutil.copy(ROOT / "pyproject.toml", work)
        run(python, "-P", "-m", "pytest", "-q", "-o", "pythonpath=tests", *TESTS, cwd=work)


if __name__ == "__main__":
    main()
