"""Fixtures that several test files share: a tiny model, the command in this process, a corpus if there is one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings
from tiny import make_bundle

from authorid.bundle.manifest import Bundle
from authorid.cli.app import main

ROOT = Path(__file__).resolve().parents[1]

# The time that an example takes depends on the load of the machine: no deadlines.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Background jobs of a shell ignore SIGINT, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Keras 3.15 passes TensorFlow variables to np.array, which numpy 2 warns about.
KERAS_WARNING = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
TRAINING_PACKAGES = ("tensorflow", "keras", "keras_hub", "tf2onnx", "onnx", "safetensors", "matplotlib")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in TRAINING_PACKAGES if find_spec(name) is None]
    for item in items:
        if item.get_closest_marker("train"):
            item.add_marker(pytest.mark.filterwarnings(KERAS_WARNING))
        if missing and item.get_closest_marker("train"):
            item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the cache in a directory of the test run, also for the processes that it starts."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHORID_CACHE", str(directory))
        yield directory


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A real bundle of a few kilobytes: three authors, each with words of their own."""
    return make_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def score(
    bundle: Bundle, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs `authorid score ... --model TINY` in this process; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*arguments: object, model: Path = bundle.path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["authorid", "score", *map(str, arguments), "--model", str(model)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        return int(exit_info.value.code or 0), *capfd.readouterr()

    return call


@pytest.fixture(scope="session")
def c50() -> Path:
    """The root directory of Reuters C50; skips the test when there is none."""
    for directory in (os.environ.get("AUTHORID_C50"), ROOT.parent / "shared" / "C50"):
        if directory and (Path(directory) / "C50train").is_dir():
            return Path(directory)
    pytest.skip("Reuters C50 not found: set AUTHORID_C50 to the directory that holds C50train and C50test")
