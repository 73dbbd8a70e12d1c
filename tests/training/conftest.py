"""Checkpoints and corpora of a few kilobytes, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import FAMILIES, write_checkpoint, write_corpus


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base model of each family."""
    root = tmp_path_factory.mktemp("bases")
    return {family: write_checkpoint(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three authors, five documents each."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "letters")
