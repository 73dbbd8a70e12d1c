from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from checkpoints import AUTHORS, FAMILIES, write_checkpoint, write_corpus
from json_records import edit_record
from recording import RecordingReporter

from authorid.bundle.save import reserve_bundle
from authorid.errors import CorpusError, MissingExtraError, OutputError, RunError
from authorid.outputs.directory import Workspace
from authorid.training import Run, TrainingOptions, load_corpus, train

pytestmark = pytest.mark.train


def windows(base, **given) -> TrainingOptions:
    defaults = {"recipe": "windows", "epochs": 2, "batch": 8, "window": 32, "learning_rate": 1e-3, "topic_dropout": 0.0}
    return TrainingOptions(base_model=str(base), **{**defaults, **given})


@pytest.fixture(scope="module")
def run(bases, corpus, tmp_path_factory) -> Run:
    """A finished windows run that can tell the three authors apart."""
    out = tmp_path_factory.mktemp("runs") / "windows"
    options = windows(bases["bert"], epochs=20, learning_rate=3e-3, freeze_embeddings=False)
    return train(corpus, out, options)


def test_the_windows_recipe_learns_and_writes_a_complete_run(run, corpus):
    assert {path.name for path in run.path.iterdir()} == {
        "run.json",
        "model.keras",
        "config.json",
        "tokenizer.json",
        "history.json",
        "history.png",
        "ngrams.safetensors",
    }
    assert list(run.path.parent.iterdir()) == [run.path]
    assert run.warnings == ()
    assert run.record["files"].keys() == {path.name for path in run.path.iterdir()} - {"run.json"}
    assert run.load_fusion() is not None
    assert run.authors == AUTHORS
    assert run.metrics["val_accuracy"] == 1.0
    assert len(run.training) == 12
    assert len(run.validation) == 3
    assert run.corpus_digest == load_corpus(corpus).digest
    config = json.loads((run.path / "config.json").read_text())
    assert (config["hidden_act"], config["id2label"]) == ("gelu_new", {"0": "Ada", "1": "Ben", "2": "Cyd"})
    history = json.loads((run.path / "history.json").read_text())
    assert {len(values) for values in history.values()} == {20}
    assert history["loss"][-1] < history["loss"][0]


def test_a_loaded_run_attributes_documents(run, corpus):
    loaded = Run.load(run.path)
    assert loaded == run
    documents = load_corpus(corpus).documents
    logits = loaded.predict_logits([document.text for document in documents] + [""])
    assert logits[-1].shape == (0, 3)
    windower = loaded.windower()
    for document, rows in zip(documents, logits, strict=False):
        tokens = windower.token_ids([document.text])[0]
        assert rows.shape == (len(windower.windows(tokens)), 3)
        assert rows.mean(axis=0).argmax() == document.label
    assert {variable.dtype for variable in loaded.keras_model().trainable_variables} == {"float32"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_classic_recipe_end_to_end(tmp_path, bases, corpus, family):
    options = TrainingOptions(base_model=str(bases[family]), recipe="classic", epochs=2)
    run = train(corpus, tmp_path / "run", options, test_corpus=write_corpus(tmp_path / "test", 2, seed=9))
    assert (run.pooling, run.truncate, run.window) == ("first", True, 64)
    assert run.hidden_activation == {"bert": "tanh", "distilbert": "relu"}[family]
    assert (len(run.training), len(run.validation)) == (12, 3)
    assert not set(run.training) & set(run.validation)
    assert [len(rows) for rows in run.predict_logits(["the river " * 100, "boat"])] == [1, 1]
    assert run.record["test"]["documents"] == 6
    assert run.metrics["test_accuracy"] == run.record["test"]["accuracy"]
    history = json.loads((run.path / "history.json").read_text())
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert {len(values) for values in history.values()} == {2}


def epoch_steps(reporter):
    """The progress of the fine-tuning alone: the fit of the n-grams has its own."""
    return [step for step in reporter.steps if step[2].startswith("epoch")]


def test_bfloat16_trains_and_is_saved_as_float32(tmp_path, bases, corpus):
    reporter = RecordingReporter()
    run = train(
        corpus,
        tmp_path / "run",
        windows(bases["distilbert"], epochs=1, precision="bfloat16", label_smoothing=0.1, validation_split=0.0),
        reporter=reporter,
    )
    assert "val_accuracy" not in run.metrics
    assert run.validation == ()
    assert np.isfinite(run.predict_logits(["the river"])[0]).all()
    assert {str(variable.dtype) for variable in run.keras_model().variables if "seed" not in variable.path} == {
        "float32"
    }
    steps = epoch_steps(reporter)
    total = len(steps)
    assert [step[:2] for step in steps] == [(done, total) for done in range(1, total + 1)]
    assert steps[-1][2].startswith("epoch 1/1  loss ")
    assert [message for message in reporter.infos if message.startswith("epoch 1 of 1: loss ")]
    assert [message for message in reporter.warnings if message.startswith("fewer than 10 documents")]


CHILD = """
import sys
from pathlib import Path
from authorid.training import TrainingOptions, train
corpus, out, base, epochs = sys.argv[1:5]
given = {"recipe": "windows", "batch": 8, "window": 32, "learning_rate": 1e-3, "topic_dropout": 1.0}
options = TrainingOptions(base_model=base, epochs=int(epochs), **given)
class Printer:
    def info(self, message):
        pass
    warning = info
    def progress(self, done, total=None, detail=""):
        if not detail.startswith("epoch"):
            return
        print(done, total, flush=True)
        if done == total // 2 + 2:  # the second step of the third epoch
            import time
            time.sleep(60)  # the test kills the process now
train(Path(corpus), Path(out), options, reporter=Printer())
"""


def test_a_killed_training_is_resumed_to_the_same_end(tmp_path, bases, corpus):
    out = tmp_path / "killed"
    options = windows(bases["distilbert"], epochs=4, topic_dropout=1.0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(corpus), str(out), str(bases["distilbert"]), "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            done, total = map(int, line.split())
            if done == total // 2 + 2:
                break
        os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    with pytest.raises(RunError, match="not finished"):
        Run.load(out)
    with pytest.raises(RunError, match=r"unfinished training .*pass --resume"):
        train(corpus, out, options)
    with pytest.raises(OutputError, match="unfinished training is there"), reserve_bundle(out, overwrite=True):
        pass
    with pytest.raises(RunError, match=r"epochs 5, was 4; seed 3, was 1"):
        train(corpus, out, replace(options, epochs=5, seed=3), existing="resume")
    with pytest.raises(RunError, match="the corpus has changed"):
        train(write_corpus(tmp_path / "other", seed=5), out, options, existing="resume")
    other = write_checkpoint(tmp_path / "base", "distilbert", seed=5)
    with pytest.raises(RunError, match="the base model has changed"):
        train(corpus, out, replace(options, base_model=str(other)), existing="resume")

    reporter = RecordingReporter()
    resumed = train(corpus, out, options, existing="resume", reporter=reporter)
    assert "resumed after epoch 2 of 4" in reporter.infos
    steps = epoch_steps(reporter)
    assert steps[0][0] == steps[-1][0] // 2 + 1
    whole = train(corpus, tmp_path / "whole", options)
    histories = [json.loads((run.path / "history.json").read_text()) for run in (resumed, whole)]
    assert [len(history["loss"]) for history in histories] == [4, 4]
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], abs=1e-4)
    text = ["the river of trade and the engine"]
    assert resumed.predict_logits(text)[0] == pytest.approx(whole.predict_logits(text)[0], abs=1e-3)


def test_a_finished_run_is_replaced_only_by_force(tmp_path, bases, corpus):
    options = windows(bases["distilbert"], epochs=1)
    out = tmp_path / "run"
    train(corpus, out, options)
    for existing in ("refuse", "resume"):
        with pytest.raises(RunError, match="finished run; pass --force"):
            train(corpus, out, options, existing=existing)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"not of a training run \(notes\.txt\); move them away"):
        train(corpus, out, options, existing="replace")
    (out / "notes.txt").unlink()
    again = train(corpus, out, replace(options, epochs=2), existing="replace")
    assert again.options.epochs == 2
    assert list(tmp_path.iterdir()) == [out]


class Killed(BaseException):
    """Stands for the end of the process."""


def break_off(monkeypatch, owner, name, *, after=False):
    """Let `owner.name` end the training as a kill would: nothing is tidied."""
    work = getattr(owner, name)

    def end(*arguments):
        if after:
            work(*arguments)
        raise Killed

    monkeypatch.setattr(Workspace, "close", lambda self: None)
    monkeypatch.setattr(owner, name, end)


def test_a_replacing_training_keeps_the_old_run_until_the_new_one_is_complete_and_is_resumed(
    tmp_path, bases, corpus, monkeypatch
):
    options = windows(bases["distilbert"], epochs=1)
    longer = replace(options, epochs=2)
    out = tmp_path / "run"
    old = train(corpus, out, options)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        break_off(patch, Workspace, "publish")
        train(corpus, out, longer, existing="replace")
    assert Run.load(out) == old
    reporter = RecordingReporter()
    with pytest.raises(RunError, match=r"unfinished training .*pass --resume"):
        train(corpus, out, longer, reporter=reporter)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        break_off(patch, Workspace, "publish", after=True)
        train(corpus, out, longer, existing="resume", reporter=reporter)
    assert "resumed after epoch 2 of 2" in reporter.infos
    assert any("which a killed process left" in warning for warning in reporter.warnings)
    assert Run.load(out).options.epochs == 2
    # Killed after the new run had taken its place: there is nothing to resume.
    with pytest.raises(RunError, match="finished run; pass --force"):
        train(corpus, out, longer, existing="resume")
    assert list(tmp_path.iterdir()) == [out]


def test_directories_that_are_not_runs_are_not_touched(tmp_path, bases, corpus):
    options = windows(bases["distilbert"])
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="not empty and not a training run"):
        train(corpus, tmp_path / "home", options, existing="replace")
    with pytest.raises(RunError, match="not a directory"):
        train(corpus, tmp_path / "file", options)
    with pytest.raises(CorpusError):
        train(tmp_path / "no corpus", tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["keras_hub", "matplotlib"])
def test_a_missing_package_is_reported_before_anything_is_downloaded(tmp_path, corpus, monkeypatch, missing):
    monkeypatch.setattr("authorid.errors.find_spec", lambda name: None if name == missing else object())
    monkeypatch.setattr("authorid.training.encoder.train.resolve_base_model", lambda _: pytest.fail("downloaded"))
    with pytest.raises(MissingExtraError, match=missing) as caught:
        train(corpus, tmp_path / "run", windows("somebody/something"))
    assert caught.value.extra == "train"


def test_models_and_corpora_that_do_not_fit_are_refused(tmp_path, bases, corpus):
    with pytest.raises(RunError, match="window 128 is longer than the encoder's 64"):
        train(corpus, tmp_path / "run", TrainingOptions(base_model=str(bases["bert"]), recipe="windows"))
    other = write_corpus(tmp_path / "other")
    (other / "Ada").rename(other / "Zoe")
    with pytest.raises(CorpusError, match="unknown to the model: Zoe"):
        train(corpus, tmp_path / "run", windows(bases["bert"]), test_corpus=other)
    html = write_corpus(tmp_path / "html")
    for path in (html / "Ada").iterdir():
        path.rename(path.with_suffix(".html"))
    with pytest.raises(CorpusError, match=r"not \*\.txt files"):
        train(html, tmp_path / "run", TrainingOptions(base_model=str(bases["bert"]), recipe="classic"))


def damaged(run: Run, tmp_path, change) -> str:
    """Load a copy of `run` whose record was changed by `change`; returns the error."""
    with pytest.raises(RunError) as caught:
        changed(run, tmp_path, change).keras_model()
    return str(caught.value)


def changed(run: Run, tmp_path, change) -> Run:
    copy = tmp_path / f"copy{time.monotonic_ns()}"
    shutil.copytree(run.path, copy)
    edit_record(copy / "run.json", change)
    return Run.load(copy)


def test_runs_of_former_formats_load_with_a_warning_that_they_have_no_digests(run, tmp_path):
    def former(record):
        del record["files"], record["digest"], record["training_id"]
        record.update(format=2)

    def classic(record):
        former(record)
        del record["fusion"]
        record["options"] |= {"recipe": "seed", "residual": False, "funnel": False, "validation_how": "random"}
        record.update(format=1, recipe="seed")

    def with_ngrams(record):
        record.update(format=1, experts=record.pop("fusion"))

    assert changed(run, tmp_path, classic).options.recipe == "classic"
    (warning,) = changed(run, tmp_path, former).warnings
    assert "without digests" in warning
    assert "format 1; this version of authorid reads format 3; it was written by an older version, train again" in (
        damaged(run, tmp_path, with_ngrams)
    )


def test_damaged_runs_are_refused_with_a_reason(run, tmp_path):
    assert "format 99" in damaged(run, tmp_path, lambda record: record.update(format=99))
    assert "'window' is missing" in damaged(run, tmp_path, lambda record: record.pop("window"))
    assert "different names" in damaged(run, tmp_path, lambda record: record.update(authors=["Ada", "Ada"]))
    assert "unknown pooling" in damaged(run, tmp_path, lambda record: record.update(pooling="max"))
    assert "head activation" in damaged(run, tmp_path, lambda record: record.update(head="exec"))
    assert "longer than the encoder" in damaged(run, tmp_path, lambda record: record.update(window=500))
    assert "num_layers must be" in damaged(run, tmp_path, lambda record: record["geometry"].update(num_layers=0))
    assert "geometry must have" in damaged(run, tmp_path, lambda record: record["geometry"].update(evil=1))
    assert "do not fit" in damaged(run, tmp_path, lambda record: record["geometry"].update(num_layers=3))
    with pytest.raises(RunError, match="no such run"):
        Run.load(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"no run\.json"):
        Run.load(tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path, bases, corpus):
    state = Workspace.of(tmp_path / "run").begin_state()
    (state / "checkpoint.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"checkpoint\.safetensors: the checkpoint is damaged"):
        train(corpus, tmp_path / "run", windows(bases["bert"]), existing="resume")


def test_an_unfinished_training_of_an_older_release_is_named(tmp_path, bases, corpus):
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    for existing in ("refuse", "resume"):
        with pytest.raises(RunError, match="unfinished training of an older version; pass --force to start over"):
            train(corpus, tmp_path / "run", windows(bases["bert"]), existing=existing)
