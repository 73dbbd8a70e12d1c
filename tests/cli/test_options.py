"""That what is said on the command line reaches the library, every option of it."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from tiny import AUTHORS, make_bundle, prose

pytest.importorskip("scipy")
from authorid import outputs as results
from authorid import training
from authorid.cli.app import app
from authorid.cli.console import Screen
from authorid.encoder import tuning
from authorid.encoder.engine import EngineOptions
from authorid.outputs import run_settings
from authorid.scoring.scorer import Scorer
from authorid.training import evaluate as measure
from authorid.training import ngram_run

TRAIN = {
    "base_model": (["--base-model", "bert"], "base_model", "bert"),
    "recipe": (["--recipe", "seed"], "recipe", "seed"),
    "epochs": (["--epochs", "7"], "epochs", 7),
    "batch": (["--batch", "5"], "batch", 5),
    "learning_rate": (["--learning-rate", "0.5"], "learning_rate", 0.5),
    "seed": (["--seed", "0"], "seed", 0),
    "window": (["--window", "64"], "window", 64),
    "stride": (["--stride", "9"], "stride", 9),
    "pooling": (["--pooling", "mean"], "pooling", "mean"),
    "funnel": (["--no-funnel"], "funnel", False),
    "validation_split": (["--validation-split", "0"], "validation_split", 0.0),
    "validation": (["--validation", "random"], "validation_how", "random"),
    "label_smoothing": (["--label-smoothing", "0.25"], "label_smoothing", 0.25),
    "topic_dropout": (["--topic-dropout", "0"], "topic_dropout", 0.0),
    "residual": (["--residual"], "residual", True),
    "train_embeddings": (["--train-embeddings"], "freeze_embeddings", False),
    "precision": (["--precision", "bfloat16"], "precision", "bfloat16"),
    "encoder": (["--no-encoder"], "called", "train_ngrams"),
    "test_corpus": (["--test-corpus", "other"], "test_corpus", Path("other")),
    "resume": (["--resume"], "resume", True),
    "force": (["--force"], "force", True),
    "quiet": (["--quiet"], "said", ""),
}
SCORE = {
    "top": (["--top", "2"], "top", 2),
    "evidence": (["--evidence"], "evidence", True),
    "effort": (["--effort", "full"], "effort", "full"),
    "max_false_attribution": (["--max-false-attribution", "0.25"], "max_false_attribution", 0.25),
    "precision": (["--precision", "fp32"], "precision", "fp32"),
    "provider": (["--provider", "cpu"], "provider", "cpu"),
    "workers": (["--workers", "2"], "workers", 2),
    "threads": (["--threads", "3"], "threads", 3),
    "batch_tokens": (["--batch-tokens", "77"], "budget", 77),
    "include": (["--include", "*.txt", "--include", "*.md"], "include", ("*.txt", "*.md")),
    "exclude": (["--exclude", "drafts"], "exclude", ("drafts",)),
    "hidden": (["--hidden"], "hidden", True),
    "follow_symlinks": (["--follow-symlinks"], "follow_symlinks", True),
    "encoding": (["--encoding", "latin-1"], "encoding", "latin-1"),
    "max_bytes": (["--max-bytes", "99"], "max_bytes", 99),
    "timeout": (["--timeout", "8"], "timeout", 8.0),
    "ignore_file": (["--ignore-file", "rules"], "ignore", ("*.log",)),
}
SCORE_BY_BEHAVIOUR = {"model", "out", "form", "stats", "resume", "force", "fail_fast", "rows", "quiet"}
"""Options of score that tests/cli/test_score_command.py and tests/outputs/test_outputs.py see at work."""
TUNE = {
    "precision": (["--precision", "fp32"], "precision", "fp32"),
    "provider": (["--provider", "cpu"], "provider", "cpu"),
    "seconds": (["--seconds", "5"], "seconds", 5.0),
    "quiet": (["--quiet"], "said", ""),
}
EVALUATE = {
    "json_file": (["--json", "figures.json"], "json", {"accuracy": 0.5}),
    "plots": (["--plots", "plots"], "plots", Path("plots")),
    "strangers": (["--strangers", "others"], "strangers", Path("others")),
    "effort": (["--effort", "full"], "effort", "full"),
    "ablation": (["--no-ablation"], "ablation", False),
    "precision": (["--precision", "fp32"], "precision", "fp32"),
    "quiet": (["--quiet"], "said", ""),
}
ARRIVING = {"score": SCORE, "tune": TUNE, "train": TRAIN, "evaluate": EVALUATE}


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parameters(command):
    return {parameter.name for parameter in app.commands[command].params}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty directory to work in, so that relative names lead nowhere else."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def train(monkeypatch):
    """What reached the library from `authorid train corpus --out run` with some options."""

    def heard(*arguments):
        found = {}

        def library(corpus, out, options, **others):
            others.pop("report")
            found.update(called="train", corpus=corpus, out=out, **dataclasses.asdict(options), **others)
            return SimpleNamespace(metrics={"loss": 0.5})

        def without_encoder(corpus, out, **others):
            others.pop("told")
            found.update(called="train_ngrams", corpus=corpus, out=out, **others)

        monkeypatch.setattr(training, "train", library)
        monkeypatch.setattr(ngram_run, "train_ngrams", without_encoder)
        done = call("train", "corpus", "--out", "run", *arguments)
        assert done.exit_code == 0, done.output
        assert (found["corpus"], found["out"]) == (Path("corpus"), Path("run"))
        return {**found, "said": done.output}

    return heard


@pytest.fixture
def evaluate(monkeypatch):
    """What reached the library, and came of it, from `authorid evaluate model corpus` with some options."""

    def heard(*arguments):
        found = {}

        def examine(model, corpus, **others):
            found.update(model=model, corpus=corpus, **others)
            return SimpleNamespace(
                metrics=None,
                to_json=lambda: {"accuracy": 0.5},
                plot=lambda directory: found.update(plots=directory),
            )

        monkeypatch.setattr(measure, "examine", examine)
        monkeypatch.setattr(Screen, "evaluation", lambda screen, metrics: screen.say("measured"))
        monkeypatch.setattr(Screen, "findings", lambda screen, findings: None)
        done = call("evaluate", "model", "corpus", *arguments)
        assert done.exit_code == 0, done.output
        assert (found["model"], found["corpus"]) == (Path("model"), Path("corpus"))
        file = Path("figures.json")
        return {
            "plots": None,
            **found,
            "said": done.output,
            "json": json.loads(file.read_text()) if file.exists() else 0,
        }

    return heard


@pytest.fixture
def score(monkeypatch):
    """What reached the library from `authorid score letters` with some options."""
    Path("rules").write_text("*.log\n")
    bundle = make_bundle(Path("model").absolute())
    load, run = Scorer.load, Scorer.score

    def heard(*arguments):
        found = {}

        def loading(model, options, **others):
            found.update(model=model, **dataclasses.asdict(options), **others)
            return load(bundle.path, effort=others["effort"])

        def running(scorer, paths, options, **others):
            found.update(evidence=others["evidence"], paths=list(paths), **dataclasses.asdict(options))
            return run(scorer, [], options)

        def settings(*arguments, top, **others):
            found.update(top=top)
            return run_settings(*arguments, top=top, **others)

        monkeypatch.setattr(Scorer, "load", loading)
        monkeypatch.setattr(Scorer, "score", running)
        monkeypatch.setattr(results, "run_settings", settings)
        done = call("score", "letters", "--out", "rows.jsonl", "--force", *arguments)
        assert done.exit_code == 0, done.output
        assert (found["model"], found["paths"]) == (None, ["letters"])
        return found

    return heard


@pytest.fixture
def tune(monkeypatch):
    """What reached the library from `authorid tune --model model` with some options."""
    bundle = make_bundle(Path("model").absolute())

    def heard(*arguments):
        found = {}

        def library(bundle, precision, **others):
            others.pop("advance")
            others.pop("told")
            found.update(model=bundle.path, precision=precision, **others)
            return [tuning.Trial(EngineOptions("int8", 1, 1, 256, "cpu"), 1000.0)]

        monkeypatch.setattr(tuning, "tune", library)
        done = call("tune", "--model", bundle.path, *arguments)
        assert done.exit_code == 0, done.output
        assert found["model"] == bundle.path
        return {**found, "said": done.output}

    return heard


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, options in ARRIVING.items() for name in options]
)
def test_every_option_reaches_the_library(request, command, name):
    heard = request.getfixturevalue(command)
    arguments, key, value = ARRIVING[command][name]
    assert heard()[key] != value
    assert heard(*arguments)[key] == value


def test_no_option_is_left_out():
    assert parameters("score") == {"paths", *SCORE, *SCORE_BY_BEHAVIOUR}
    assert parameters("tune") == {"model", *TUNE}
    assert parameters("train") == {"corpus", "out", *TRAIN}
    assert parameters("evaluate") == {"model", "corpus", *EVALUATE}


@pytest.mark.parametrize("lacking", ["matplotlib", "a place"])
def test_plots_that_cannot_be_drawn_are_known_before_the_evaluation(monkeypatch, lacking):
    monkeypatch.setattr(measure, "examine", lambda *arguments, **others: pytest.fail("hours of work"))
    Path("file").write_text("")
    if lacking == "matplotlib":
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = call("evaluate", "model", "corpus", "--plots", "plots" if lacking == "matplotlib" else "file/plots")
    assert done.exit_code == 1
    expected = "pip install 'authorid-toolkit[train]'" if lacking == "matplotlib" else "cannot write there"
    assert expected in str(done.exception)


def test_no_encoder_has_its_own_options(train):
    assert train("--no-encoder", "--force")["force"] is True
    assert train("--no-encoder", "--quiet")["said"] == ""


@pytest.mark.parametrize("name", sorted(set(TRAIN) - {"encoder", "test_corpus", "force", "quiet"}))
def test_options_for_an_encoder_are_wrong_usage_without_one(name):
    arguments = TRAIN[name][0]
    done = call("train", "corpus", "--out", "run", "--no-encoder", *arguments)
    assert done.exit_code == 2
    assert arguments[0] in done.output
    assert "there is none with --no-encoder" in " ".join(done.output.split())


def test_an_option_that_says_what_is_so_anyway_is_wrong_usage_too():
    assert call("train", "corpus", "--out", "run", "--no-encoder", "--validation-split", "0.2").exit_code == 2


@pytest.mark.parametrize("name", ["effort", "ablation", "precision"])
def test_options_for_bundles_are_wrong_usage_for_a_training_run(name):
    Path("run").mkdir()
    Path("run/run.json").write_text("{}")
    arguments = EVALUATE[name][0]
    done = call("evaluate", "run", "corpus", *arguments)
    assert done.exit_code == 2
    assert arguments[0] in done.output


def test_a_test_corpus_is_looked_at_before_the_training():
    for place, authors in (("corpus", AUTHORS), ("test", ("Ada", "Zoe"))):
        for author in authors:
            Path(place, author).mkdir(parents=True)
            for number in range(3):
                Path(place, author, f"{number}.txt").write_text(prose("Ada", 30, seed=number) + author)
    done = call("train", "corpus", "--out", "run", "--no-encoder", "--test-corpus", "test")
    assert done.exit_code == 1
    assert "authors that are not in the training corpus: Zoe" in str(done.exception)
    assert not Path("run").exists()


def test_a_corpus_without_n_grams_is_refused():
    letters = iter("abcdefghi")
    for author in AUTHORS:
        Path("corpus", author).mkdir(parents=True)
        for number in range(3):
            Path("corpus", author, f"{number}.txt").write_text(next(letters))
    done = call("train", "corpus", "--out", "run", "--no-encoder")
    assert done.exit_code == 1
    assert "no n-gram is in enough of its documents" in str(done.exception)
    assert not Path("run").exists()
