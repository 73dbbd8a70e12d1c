"""Training runs with flipped bits, files that are cut, swapped, missing or negated: refused, and the file is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from fusion_bundle import write_corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authorid.bundle.manifest import load_bundle
from authorid.bundle.safetensors import read_tensors, write_tensors
from authorid.errors import AuthoridError, BundleError, RunError

pytest.importorskip("scipy")
from authorid.training.evaluate import evaluate
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import export_ngrams, train_ngrams
from authorid.training.runs import Run

pytestmark = pytest.mark.promise("training-damage")

ENCODER_FILES = ("run.json", "model.keras", "config.json", "tokenizer.json", "history.json", "history.png")
NGRAM_FILES = ("authorid.json", "run.json", "config.json", "README.md")
BOTH = "ngrams.safetensors"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "letters")


@pytest.fixture(scope="module")
def ngram_run(corpus):
    """A run without an encoder."""
    return train_ngrams(corpus, corpus.parent / "ngrams", NgramOptions(bits=10)).path


@pytest.fixture(scope="module")
def encoder_run(corpus):
    """A run with an encoder and an n-gram model."""
    from authorid.training import TrainingOptions, train

    base = write_checkpoint(corpus.parent / "base", "distilbert")
    return train(
        corpus, corpus.parent / "run", TrainingOptions(base_model=str(base), recipe="windows", epochs=1, window=32)
    ).path


@pytest.fixture(params=[pytest.param("encoder", marks=pytest.mark.train), "ngrams"])
def copy(request, tmp_path):
    """A copy of either run, to damage."""
    fixture = "encoder_run" if request.param == "encoder" else "ngram_run"
    return Path(shutil.copytree(request.getfixturevalue(fixture), tmp_path / "copy"))


def flipped(path: Path, position: float, bit: int) -> bytes:
    """Flip one bit of the file at `path`; returns what the file held."""
    good = path.read_bytes()
    content = bytearray(good)
    content[int(position * len(content))] ^= 1 << bit
    path.write_bytes(content)
    return good


def same_values(path: Path, good: bytes) -> bool:
    """Whether a JSON file still has the same values: in 1e-05, one bit makes a capital E."""
    try:
        return json.loads(path.read_bytes()) == json.loads(good)
    except (ValueError, RecursionError):
        return False


@pytest.mark.train
@pytest.mark.parametrize("name", [*ENCODER_FILES, BOTH])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_in_a_run_with_an_encoder_is_refused(encoder_run, name, position, bit):
    good = flipped(encoder_run / name, position, bit)
    try:
        if name != "run.json" or not same_values(encoder_run / name, good):
            with pytest.raises(RunError, match=name.replace(".", r"\.")):
                Run.load(encoder_run)
    finally:
        (encoder_run / name).write_bytes(good)


@pytest.mark.parametrize("name", [*NGRAM_FILES, BOTH])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_in_a_run_without_an_encoder_is_refused(ngram_run, name, position, bit):
    good = flipped(ngram_run / name, position, bit)
    try:
        if name != "authorid.json" or not same_values(ngram_run / name, good):
            with pytest.raises(BundleError, match=name.replace(".", r"\.")):
                load_bundle(ngram_run)
    finally:
        (ngram_run / name).write_bytes(good)


def attempts(run: Path, corpus: Path, out: Path):
    """What reads a run: evaluation and export."""
    yield lambda: evaluate(run, corpus)
    if (run / "authorid.json").is_file():
        yield lambda: export_ngrams(run, out)
    else:
        from authorid.export import export_model

        yield lambda: export_model(run, out)


def is_refused(run: Path, corpus: Path, name: str) -> None:
    """Assert that neither evaluation nor export believes the run, and both name the file."""
    out = run.parent / "bundle"
    for attempt in attempts(run, corpus, out):
        with pytest.raises(AuthoridError, match=name.replace(".", r"\.")):
            attempt()
    assert not out.exists()


def test_negated_weights_are_neither_evaluated_nor_exported(copy, corpus):
    path = copy / BOTH
    tensors, metadata = read_tensors(path.read_bytes())
    negated = {key: -value if np.issubdtype(value.dtype, np.signedinteger) else value for key, value in tensors.items()}
    path.write_bytes(write_tensors(negated, metadata))
    is_refused(copy, corpus, BOTH)


def test_a_cut_file_is_refused(copy, corpus):
    content = (copy / BOTH).read_bytes()
    for length in (0, len(content) // 2, len(content) - 1):
        (copy / BOTH).write_bytes(content[:length])
        is_refused(copy, corpus, BOTH)


def test_a_missing_file_is_refused(copy, corpus):
    (copy / BOTH).unlink()
    is_refused(copy, corpus, BOTH)


def test_a_file_of_another_run_is_refused(copy, corpus, tmp_path):
    other = train_ngrams(write_corpus(tmp_path / "other", words=70), tmp_path / "run", NgramOptions(bits=10))
    shutil.copy(other.path / BOTH, copy / BOTH)
    is_refused(copy, corpus, BOTH)


def test_two_files_that_changed_places_are_refused(copy, corpus):
    (copy / "config.json").rename(copy / "aside")
    (copy / "run.json").rename(copy / "config.json")
    (copy / "aside").rename(copy / "run.json")
    for attempt in attempts(copy, corpus, copy.parent / "bundle"):
        with pytest.raises(AuthoridError, match=r"config\.json|run\.json"):
            attempt()
