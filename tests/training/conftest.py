"""Checkpoints and corpora of a few kilobytes, made once."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from checkpoints import FAMILIES, write_checkpoint, write_corpus

# Keras 3.15 hands TensorFlow variables to np.array, which numpy 2 frowns upon.
KERAS_WARNING = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
NEEDED = ("tensorflow", "keras", "keras_hub", "safetensors", "matplotlib")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    for item in items:
        if item.get_closest_marker("train"):
            item.add_marker(pytest.mark.filterwarnings(KERAS_WARNING))
        if missing and item.get_closest_marker("train"):
            item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base model of each family."""
    root = tmp_path_factory.mktemp("bases")
    return {family: write_checkpoint(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three authors, five documents each."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "letters")
