"""Every option of a command reaches the library, and every option is explained in plain words."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from command import every_command
from tiny import AUTHORS, make_bundle, prose

pytest.importorskip("scipy")
from authorid import outputs as results
from authorid import training
from authorid.cli import result_tables
from authorid.cli.app import app
from authorid.cli.options import document_options
from authorid.encoder import tuning
from authorid.encoder.engine_options import EngineOptions
from authorid.evaluation import plots
from authorid.inputs.documents import ReadOptions
from authorid.outputs import run_fingerprint
from authorid.report import evaluation_page
from authorid.scoring.scorer import Scorer
from authorid.training import evaluate as evaluation
from authorid.training import ngram_run

DOCUMENTS = {
    "include": (["--include", "*.txt", "--include", "*.md"], "include", ("*.txt", "*.md")),
    "exclude": (["--exclude", "drafts"], "exclude", ("drafts",)),
    "hidden": (["--hidden"], "hidden", True),
    "follow_symlinks": (["--follow-symlinks"], "follow_symlinks", True),
    "text_column": (["--text-column", "body"], "text_column", "body"),
    "id_column": (["--id-column", "id"], "id_column", "id"),
    "encoding": (["--encoding", "latin-1"], "encoding", "latin-1"),
    "max_bytes": (["--max-bytes", "99"], "max_bytes", 99),
    "timeout": (["--timeout", "8"], "timeout", 8.0),
    "ignore_file": (["--ignore-file", "rules"], "ignore", ("*.log",)),
}
CORPUS = {
    "exclude_authors": (["--exclude-author", "test", "--exclude-author", "x y"], "exclude_authors", ("test", "x y")),
    "all_authors": (["--all-authors"], "all_authors", True),
}
FINE_TUNED = ("--recipe", "windows")
ENCODER = {
    "base_model": (["--base-model", "bert"], "base_model", "bert"),
    "recipe": (["--recipe", "classic"], "recipe", "classic"),
    "layers": (["--layers", "2"], "layers", 2),
    "epochs": ([*FINE_TUNED, "--epochs", "7"], "epochs", 7),
    "batch": ([*FINE_TUNED, "--batch", "5"], "batch", 5),
    "learning_rate": ([*FINE_TUNED, "--learning-rate", "0.5"], "learning_rate", 0.5),
    "seed": (["--seed", "0"], "seed", 0),
    "window": (["--window", "64"], "window", 64),
    "stride": (["--stride", "9"], "stride", 9),
    "pooling": ([*FINE_TUNED, "--pooling", "mean"], "pooling", "mean"),
    "funnel": ([*FINE_TUNED, "--no-funnel"], "funnel", False),
    "validation_split": (["--validation-split", "0"], "validation_split", 0.0),
    "validation": (["--validation", "random"], "validation_how", "random"),
    "label_smoothing": ([*FINE_TUNED, "--label-smoothing", "0.25"], "label_smoothing", 0.25),
    "topic_dropout": ([*FINE_TUNED, "--topic-dropout", "0"], "topic_dropout", 0.0),
    "train_embeddings": ([*FINE_TUNED, "--train-embeddings"], "freeze_embeddings", False),
    "precision": ([*FINE_TUNED, "--precision", "bfloat16"], "precision", "bfloat16"),
    "resume": (["--resume"], "existing", "resume"),
}
"""Options of train that have no effect with --no-encoder."""
TRAIN = {
    **ENCODER,
    **CORPUS,
    **DOCUMENTS,
    "encoder": (["--no-encoder"], "called", "train_ngrams"),
    "test_corpus": (["--test-corpus", "other"], "test_corpus", Path("other")),
    "sample_words": (["--sample-words", "300"], "sample_words", 300),
    "max_size": (["--no-encoder", "--max-size", "50M"], "max_size", 50 << 20),
    "keep_typography": (["--keep-typography"], "typography", "kept"),
    "force": (["--force"], "existing", "replace"),
    "quiet": (["--quiet"], "output", ""),
    "verbose": (["--verbose"], "details", ["Training: 0.0 s"]),
}
SCORE = {
    "top": (["--top", "2"], "top", 2),
    "evidence": (["--evidence"], "evidence", True),
    "explain": (["--explain"], "explain", True),
    "effort": (["--effort", "full"], "effort", "full"),
    "max_false_attribution": (["--max-false-attribution", "0.25"], "max_false_attribution", 0.25),
    "any_text": (["--any-text"], "any_text", True),
    "precision": (["--precision", "fp32"], "precision", "fp32"),
    "provider": (["--provider", "cpu"], "provider", "cpu"),
    "workers": (["--workers", "2"], "workers", 2),
    "threads": (["--threads", "3"], "threads", 3),
    "batch_tokens": (["--batch-tokens", "77"], "batch_tokens", 77),
    "max_windows": (["--max-windows", "9"], "max_windows", 9),
    **DOCUMENTS,
}
SCORE_ELSEWHERE = {"model", "out", "form", "stats", "resume", "force", "fail_fast", "rows", "quiet", "verbose"}
SCORE_ELSEWHERE |= {
    "report",
    "adapt",
    "equal_shares",
    "known",
    "sample_words",
    "exclude_authors",
    "all_authors",
    "stdin_text",
    "shard",
    "listing",
}
SCORE_ELSEWHERE |= {"runner", "ray_address"}
"""Options of score whose effect is checked in other files of tests/cli, in tests/outputs and in tests/scoring."""
TUNE = {
    "precision": (["--precision", "fp32"], "precision", "fp32"),
    "provider": (["--provider", "cpu"], "provider", "cpu"),
    "seconds": (["--seconds", "5"], "seconds", 5.0),
    "quiet": (["--quiet"], "output", ""),
    "verbose": (["--verbose"], "details", ["Tuning: 0.0 s"]),
}
EVALUATE = {
    **DOCUMENTS,
    "exclude_authors": CORPUS["exclude_authors"],
    "sample_words": (["--sample-words", "300"], "sample_words", 300),
    "json_file": (["--json", "figures.json"], "json", {"accuracy": 0.5}),
    "page": (["--report", "page.html"], "page", Path("page.html")),
    "plots": (["--plots", "plots"], "plots", Path("plots")),
    "unknown_authors": (["--unknown-authors", "others"], "unknown_authors", Path("others")),
    "effort": (["--effort", "full"], "effort", "full"),
    "ablation": (["--no-ablation"], "ablation", False),
    "precision": (["--precision", "fp32"], "precision", "fp32"),
    "quiet": (["--quiet"], "output", ""),
    "verbose": (["--verbose"], "details", ["Evaluating: 0.0 s"]),
}
FORWARDED = {"score": SCORE, "tune": TUNE, "train": TRAIN, "evaluate": EVALUATE}


"""Parameters of the library through which a command follows the work."""


def without_reporter(parameters):
    return {name: value for name, value in parameters.items() if name != "reporter"}


def of_corpus(spec):
    """The values of a `CorpusSpec`, with its path as ``corpus``."""
    chosen = {"exclude_authors": spec.exclude_authors, "all_authors": spec.all_authors}
    return {"corpus": spec.path, **dataclasses.asdict(spec.documents), **chosen}


def details(output):
    """The lines that only --verbose shows."""
    return re.findall(r"^\w+: \d+\.\d s$", output, re.MULTILINE)


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parameters(command):
    return {parameter.name for parameter in app.commands[command].params if parameter.expose_value}


def shown_options(command):
    """The options in the help of a command."""
    parameters = every_command()[command].params
    return [option for option in parameters if isinstance(option, click.Option) and not option.hidden]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in an empty directory, so that relative names are inside it."""
    monkeypatch.chdir(tmp_path)
    Path("rules").write_text("*.log\n")
    Path("letters").mkdir()


@pytest.fixture
def train(monkeypatch):
    """Returns what reaches the library from `authorid train corpus --out run` with some options."""

    def received(*arguments):
        found = {"max_size": None}

        def library(corpus, out, options, **others):
            found.update(called="train", out=out, **dataclasses.asdict(options), **of_corpus(corpus))
            found.update(without_reporter(others))
            return SimpleNamespace(metrics={"loss": 0.5})

        def without_encoder(corpus, out, options, **others):
            found.update(called="train_ngrams", out=out, typography=options.typography, **of_corpus(corpus))
            found.update(sample_words=options.sample_words, max_size=options.max_size)
            found.update(without_reporter(others))

        monkeypatch.setattr("authorid.training.encoder.train.missing_extra", lambda: None)
        monkeypatch.setattr(training, "train", library)
        monkeypatch.setattr(ngram_run, "train_ngrams", without_encoder)
        done = call("train", "corpus", "--out", "run", *arguments)
        assert done.exit_code == 0, done.output
        assert (found["corpus"], found["out"]) == (Path("corpus"), Path("run"))
        return {**found, "output": done.output, "details": details(done.output)}

    return received


@pytest.fixture
def evaluate(monkeypatch):
    """Returns what reaches the library from `authorid evaluate model corpus` with some options, and its outputs."""

    def received(*arguments):
        found = {}

        def library(model, corpus, options, reporter):
            found.update(model=model, **dataclasses.asdict(options), **of_corpus(corpus))
            return SimpleNamespace(metrics=None, noun="author", to_json=lambda: {"accuracy": 0.5})

        monkeypatch.setattr(evaluation, "evaluate", library)
        monkeypatch.setattr(plots, "plot_evaluation", lambda report, directory: found.update(plots=directory))
        monkeypatch.setattr(evaluation_page, "write_evaluation_page", lambda path, *others: found.update(page=path))
        monkeypatch.setattr(result_tables, "show_metrics", lambda terminal, metrics, noun: terminal.info("evaluated"))
        monkeypatch.setattr(result_tables, "show_evaluation", lambda terminal, report: None)
        done = call("evaluate", "model", "corpus", *arguments)
        assert done.exit_code == 0, done.output
        assert (found["model"], found["corpus"]) == (Path("model"), Path("corpus"))
        file = Path("figures.json")
        return {
            "plots": None,
            "page": None,
            **found,
            "output": done.output,
            "details": details(done.output),
            "json": json.loads(file.read_text()) if file.exists() else 0,
        }

    return received


@pytest.fixture
def score(monkeypatch):
    """Returns what reaches the library from `authorid score letters` with some options."""
    bundle = make_bundle(Path("model").absolute())
    load, run = Scorer.load, Scorer.score

    def received(*arguments):
        found = {}

        def loading(model, options, **others):
            found.update(model=model, **dataclasses.asdict(options), **others)
            return load(bundle.path, effort=others["effort"])

        def running(scorer, paths, options, **others):
            found.update(evidence=others["evidence"], explain=others["explain"], paths=list(paths))
            found.update(dataclasses.asdict(options))
            return run(scorer, [], options)

        def fingerprint(*arguments, output, **others):
            found.update(top=output["top"])
            return run_fingerprint(*arguments, output=output, **others)

        monkeypatch.setattr(Scorer, "load", loading)
        monkeypatch.setattr(Scorer, "score", running)
        monkeypatch.setattr(results, "run_fingerprint", fingerprint)
        done = call("score", "letters", "--out", "rows.jsonl", "--force", *arguments)
        assert done.exit_code == 0, done.output
        assert (found["model"], found["paths"]) == (None, ["letters"])
        return found

    return received


@pytest.fixture
def tune(monkeypatch):
    """Returns what reaches the library from `authorid tune --model model` with some options."""
    bundle = make_bundle(Path("model").absolute())

    def received(*arguments):
        found = {}

        def library(bundle, precision, **others):
            found.update(model=bundle.path, precision=precision, **without_reporter(others))
            return [tuning.Trial(EngineOptions("int8", 1, 1, 256, "cpu"), 1000.0)]

        monkeypatch.setattr(tuning, "tune", library)
        done = call("tune", "--model", bundle.path, *arguments)
        assert done.exit_code == 0, done.output
        assert found["model"] == bundle.path
        return {**found, "output": done.output, "details": details(done.output)}

    return received


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, options in FORWARDED.items() for name in options]
)
def test_every_option_reaches_the_library(request, command, name):
    received = request.getfixturevalue(command)
    arguments, key, value = FORWARDED[command][name]
    needed = FINE_TUNED if tuple(arguments[:2]) == FINE_TUNED else ()
    assert received(*needed)[key] != value
    assert received(*arguments)[key] == value


def test_every_option_has_a_test():
    assert parameters("score") == {"paths", *SCORE, *SCORE_ELSEWHERE}
    assert parameters("tune") == {"model", *TUNE}
    assert parameters("train") == {"corpus", "out", *TRAIN}
    assert parameters("evaluate") == {"model", "corpus", *EVALUATE}


@pytest.mark.parametrize("lacking", ["matplotlib", "directory"])
def test_plots_that_cannot_be_drawn_are_refused_before_the_evaluation(monkeypatch, lacking):
    monkeypatch.setattr(evaluation, "evaluate", lambda *arguments, **others: pytest.fail("hours of work"))
    Path("file").write_text("")
    if lacking == "matplotlib":
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = call("evaluate", "model", "corpus", "--plots", "plots" if lacking == "matplotlib" else "file/plots")
    assert done.exit_code == 1
    expected = "[plots]" if lacking == "matplotlib" else "cannot write there"
    assert expected in str(done.exception)


def test_the_other_options_work_without_an_encoder(train):
    assert train("--no-encoder", "--force")["force"] is True
    assert train("--no-encoder", "--quiet")["output"] == ""
    assert train("--no-encoder")["typography"] == "folded"
    assert train("--no-encoder", "--keep-typography")["typography"] == "kept"


@pytest.mark.parametrize("name", sorted(ENCODER))
def test_options_for_an_encoder_are_wrong_usage_without_one(name):
    arguments = TRAIN[name][0]
    done = call("train", "corpus", "--out", "run", "--no-encoder", *arguments)
    assert done.exit_code == 2
    assert arguments[0] in done.output
    assert "there is none with --no-encoder" in " ".join(done.output.split())


def test_an_encoder_option_with_its_default_value_is_wrong_usage_too():
    assert call("train", "corpus", "--out", "run", "--no-encoder", "--validation-split", "0.2").exit_code == 2


@pytest.mark.parametrize("name", ["effort", "ablation", "precision"])
def test_options_for_bundles_are_wrong_usage_for_a_training_run(name):
    Path("run").mkdir()
    Path("run/run.json").write_text("{}")
    arguments = EVALUATE[name][0]
    done = call("evaluate", "run", "corpus", *arguments)
    assert done.exit_code == 2
    assert arguments[0] in done.output


def test_a_test_corpus_is_checked_before_the_training():
    for directory, authors in (("corpus", AUTHORS), ("test", ("Ada", "Zoe"))):
        for author in authors:
            Path(directory, author).mkdir(parents=True)
            for number in range(3):
                Path(directory, author, f"{number}.txt").write_text(prose("Ada", 30, seed=number) + author)
    done = call("train", "corpus", "--out", "run", "--no-encoder", "--test-corpus", "test")
    assert done.exit_code == 1
    assert "1 of its 2 authors are unknown to the model: Zoe; --exclude-author NAME leaves a directory out" in str(
        done.exception
    )
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


PRIVATE_WORDS = (
    "strangers", "stranger", "familiarity", "standing", "experts", "expert", "sure", "told", "tell", "say", "says",
    "advance", "warn", "intake", "patience", "company", "findings", "measure", "shift", "counts", "edges", "weigh",
    "add up", "rounding", "race", "referee", "contestant", "match", "settings", "budget", "residual",
)  # fmt: skip
"""Words that the project once used in a sense of its own, and that no help text needs."""


@pytest.mark.parametrize("name", list(every_command()))
def test_every_option_has_help_in_standard_words(name):
    command = every_command()[name]
    texts = [command.help, *(option.help for option in shown_options(name))]
    assert all(texts)
    for text in texts:
        found = [word for word in PRIVATE_WORDS if re.search(rf"\b{word}\b", text, re.IGNORECASE)]
        assert not found, text


@pytest.mark.parametrize("name", list(every_command()))
def test_help_shows_every_option_once_and_its_first_line_in_the_list_of_commands(name):
    shown = call(*name.split(), "--help").output
    for option in shown_options(name):
        assert len(re.findall(rf"^  (?:-\w, )?{option.opts[-1]}(?=[ ,\n])", shown, re.MULTILINE)) == 1
    first_line = every_command()[name].help.splitlines()[0]
    assert first_line in call(*name.split()[:-1], "--help").output


def test_common_options_come_first_in_the_help_of_score():
    shown = call("score", "--help").output
    headings = re.findall(r"^(\w.*):$", shown, re.MULTILINE)
    assert headings == [
        "Results",
        "Model",
        "Known authors",
        "Documents",
        "Performance",
        "Scale out",
        "Other options",
        "Advanced options",
        "Examples",
    ]
    assert [option.name for option in shown_options("score")][:2] == ["out", "form"]


@pytest.mark.parametrize("option", ["--unknown-authors", "--strangers"])
def test_the_former_name_of_unknown_authors_is_accepted_and_not_shown(evaluate, option):
    assert evaluate(option, "others")["unknown_authors"] == Path("others")
    assert ("--strangers" in call("evaluate", "--help").output) is False


@pytest.mark.parametrize("recipe", ["classic", "seed"])
def test_the_former_name_of_the_classic_recipe_is_accepted_and_not_shown(train, recipe):
    assert train("--recipe", recipe) == train("--recipe", "classic")
    assert "[probe|tune|windows|classic]" in call("train", "--help").output


def test_the_defaults_of_the_options_are_those_of_the_library(monkeypatch):
    received = {}
    monkeypatch.setattr(Scorer, "load", lambda model, engine, **others: received.update(engine=engine, **others))
    call("score", "letters")
    assert received == {"engine": EngineOptions(), "effort": None, "max_false_attribution": None, "any_text": False}
    assert document_defaults() == ReadOptions()


def document_defaults():
    """The `documents` of a command whose command line is empty."""
    received = []
    command = click.command()(document_options(lambda documents: received.append(documents)))
    command.main([], standalone_mode=False)
    return received[0]
