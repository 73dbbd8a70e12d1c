"""The site builds, without a warning and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(find_spec("mkdocs") is None or find_spec("mkdocstrings") is None, reason="not installed: mkdocs")
def test_the_site_builds_strictly(tmp_path):
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "site" / "reference" / "python" / "index.html").read_text("utf-8")
    assert 'id="authorid.Scorer.score"' in page or "Scorer.score" in page
    home = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "fonts.googleapis.com" not in home
