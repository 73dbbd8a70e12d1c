"""Checkpoints: what was saved is what is restored, or they are refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from checkpoints import write_corpus
from hypothesis import given
from hypothesis import strategies as st

from authorid.errors import RunError
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, TrainingOptions, load_corpus
from authorid.training.encoder import checkpoint
from authorid.training.encoder.checkpoint import check_plan, training_plan

pytestmark = pytest.mark.train

PLAN = {"options": {"note": '"digest":"' + "0" * 64 + '"'}, "authors": ["Ada", "Ben"]}
HISTORY = {"loss": [1.5, 0.25]}


def make_model(seed):
    from authorid.training.encoder.keras_setup import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.5)])
    model.compile(optimizer="adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """A directory with the checkpoint of a small model."""
    directory = tmp_path_factory.mktemp("state")
    checkpoint.save(directory, make_model(1), PLAN, HISTORY)
    return directory


def test_a_checkpoint_restores_the_model_the_plan_and_the_history(state):
    past = checkpoint.read_checkpoint(state)
    assert (past.plan, past.history) == (PLAN, HISTORY)
    original, model = make_model(1), make_model(2)
    checkpoint.restore(state, model)
    for saved, restored in zip(original.variables, model.variables, strict=True):
        np.testing.assert_array_equal(saved.numpy(), restored.numpy())


@pytest.mark.promise("training-damage")
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused(state, position, bit):
    path = state / "checkpoint.safetensors"
    good = path.read_bytes()
    content = bytearray(good)
    content[int(position * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        for read in (checkpoint.read_checkpoint, lambda state: checkpoint.restore(state, None)):
            with pytest.raises(RunError, match=r"checkpoint\.safetensors: the checkpoint is damaged"):
                read(state)
    finally:
        path.write_bytes(good)


@pytest.mark.promise("training-damage")
def test_a_checkpoint_that_is_cut_or_longer_is_refused(state, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    shutil.copy(state / path.name, path)
    content = path.read_bytes()
    for changed in (b"", content[:7], content[:200], content[:-1], content + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(RunError, match="the checkpoint is damaged"):
            checkpoint.read_checkpoint(tmp_path)


def test_a_training_is_not_resumed_when_the_corpus_is_read_with_other_options(tmp_path):
    """The digest is that of the files, which an encoding does not change."""
    root = write_corpus(tmp_path / "corpus", documents=2)
    options = TrainingOptions(base_model="m")
    corpora = [load_corpus(CorpusSpec(root, ReadOptions(encoding=encoding))) for encoding in (None, "cp1250")]
    plain, declared = (training_plan(options, "0" * 64, corpus, ([0], [1])) for corpus in corpora)
    assert "reading" not in plain
    check_plan(plain, plain, tmp_path)
    check_plan(declared, declared, tmp_path)
    with pytest.raises(RunError, match=r"the corpus is read with other options\. Pass --force instead of --resume"):
        check_plan(declared, plain, tmp_path)
