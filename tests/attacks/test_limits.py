"""Limits of the system, numbers that are none, and JSON that no program wrote in good faith."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time

import click
import pytest
from command import command, environment, run
from fusion_bundle import write_corpus
from json_records import list_file
from tiny import make_tokenizer

from authorid.bundle.strict_json import parse_object
from authorid.cli.app import app, main
from authorid.encoder.tokenizer_file import read_tokenizer
from authorid.encoder.windows import Windower
from authorid.errors import BundleCorruptError
from authorid.inputs.ignore import IgnoreRules

SOMEBODY = 64_999
"""An account that no process belongs to. It may read everything here, but limits hold for it."""


def limited(processes, arguments):
    rights = "-all,+dac_override,+dac_read_search"
    return [
        *("setpriv", f"--reuid={SOMEBODY}", "--clear-groups", f"--inh-caps={rights}", f"--ambient-caps={rights}"),
        *("bash", "-c", 'ulimit -u "$0" && exec "$@"', str(processes), *arguments),
    ]


def can_limit():
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        return False
    probe = limited(1, ["python3", "-c", "import threading; threading.Thread(target=int).start()"])
    done = subprocess.run(probe, capture_output=True, check=False)
    return b"can't start new thread" in done.stderr


limits = pytest.mark.skipif(not can_limit(), reason="no right to become an account that limits hold for")


@limits
@pytest.mark.promise("threads")
@pytest.mark.parametrize(
    ("name", "processes"),
    [*(("score", processes) for processes in range(5)), ("train", 0), ("evaluate", 4), ("tune", 0), ("bench", 4)],
)
def test_too_few_threads_are_a_clear_error(bundle, tmp_path, name, processes):
    write_corpus(tmp_path / "docs")
    tmp_path.chmod(0o777)
    arguments = {
        "score": ("score", "docs", "--model", bundle.path, "--out", "-"),
        "train": ("train", "docs", "--no-encoder", "--out", "run"),
        "evaluate": ("evaluate", bundle.path, "docs"),
        "tune": ("tune", "--model", bundle.path),
        "bench": ("bench", "--model", bundle.path),
    }[name]
    done = subprocess.run(
        limited(processes, command(*arguments)),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the system allows this process too few threads")
    assert "ulimit -u" in done.stderr
    assert done.stderr.count("\n") == 1


@limits
@pytest.mark.promise("threads")
@pytest.mark.parametrize("processes", range(5, 10))
def test_a_few_threads_give_all_rows_or_a_clear_error(tmp_path, processes):
    write_corpus(tmp_path / "docs")
    done = subprocess.run(
        limited(processes, command("score", tmp_path / "docs", "--effort", "full", "--out", "-", "-q")),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(tmp_path),
    )
    assert "Traceback" not in done.stderr
    assert "OpenBLAS" not in done.stderr
    if done.returncode:
        assert done.returncode == 1
        assert done.stderr.startswith("error: the system allows no more threads")
    else:
        assert len(done.stdout.splitlines()) == 16


@pytest.mark.promise("threads")
def test_a_thread_that_cannot_be_started_is_a_clear_error(bundle, tmp_path):
    (tmp_path / "a.txt").write_text("the river")
    refuse = (
        "import threading\n"
        'def start(self): raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = start"
    )
    done = run("score", tmp_path / "a.txt", "--model", bundle.path, "--out", "-", "-q", prelude=refuse)
    assert done.returncode == 1
    assert "the system allows no more threads (can't start new thread)" in done.stderr
    assert "Traceback" not in done.stderr


# Numbers ---------------------------------------------------------------------------------------------------------

FLOATS = [
    ("score", "docs", "--timeout"),
    ("score", "docs", "--max-false-attribution"),
    ("explain", "docs", "--timeout"),
    ("verify", "known", "questioned", "--imposters", "others", "--timeout"),
    ("train", "docs", "--out", "run", "--timeout"),
    ("train", "docs", "--out", "run", "--learning-rate"),
    ("train", "docs", "--out", "run", "--validation-split"),
    ("train", "docs", "--out", "run", "--label-smoothing"),
    ("train", "docs", "--out", "run", "--topic-dropout"),
    ("evaluate", "run", "docs", "--timeout"),
    ("list", "docs", "--out", "listing.csv", "--timeout"),
    ("export", "run", "--out", "bundle", "--encoder-weight"),
    ("tune", "--seconds"),
    ("bench", "--seconds"),
]


def test_every_option_that_takes_a_float_is_listed_here():
    options = {
        (name, option)
        for name, known in app.commands.items()
        for parameter in known.params
        if isinstance(parameter.type, click.types.FloatParamType)
        for option in parameter.opts
    }
    assert options == {(arguments[0], arguments[-1]) for arguments in FLOATS}


@pytest.mark.parametrize("arguments", FLOATS, ids=" ".join)
def test_a_number_that_is_none_is_wrong_usage(arguments, capfd, monkeypatch):
    for value in ("nan", "NaN", "-nan", "inf", "-inf", "1e999"):
        monkeypatch.setattr(sys, "argv", ["authorid", *arguments, value])
        with pytest.raises(SystemExit) as exit_info:
            main()
        assert exit_info.value.code == 2
        assert arguments[-1] in capfd.readouterr().err


# JSON ------------------------------------------------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000
BAD = {
    "deep": f'{{"a": {DEEP}}}',
    "unclosed": "[" * 100_000,
    "infinity": '{"a": [1, {"b": Infinity}]}',
    "too large": '{"a": -1e999}',
    "nan": '{"a": NaN}',
    "long": '{"a": ' + "9" * 100_000 + "}",
    "list": "[]",
    "cut": '{"a": ',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_json_that_is_deep_or_not_finite_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_object(text)


@pytest.mark.promise("broken-model")
@pytest.mark.parametrize("text", [BAD["deep"], BAD["infinity"]], ids=["deep", "infinity"])
@pytest.mark.parametrize("name", ["run.json", "config.json", "authorid.json"])
def test_a_run_or_bundle_with_such_json_is_a_clear_error(bundle, tmp_path, name, text):
    """Also where a digest could not help: the manifest is what lists the digests."""
    write_corpus(tmp_path / "docs")
    model = tmp_path / "model"
    if name == "run.json":
        model.mkdir()
    else:
        shutil.copytree(bundle.path, model)
    (model / name).write_text(text)
    if name == "config.json":
        list_file(model / "authorid.json", name)
    commands = [("evaluate", model, tmp_path / "docs"), ("export", model, "--out", tmp_path / "bundle")]
    commands += [("score", tmp_path / "docs", "--model", model)] if name != "run.json" else []
    commands += [("train", tmp_path / "docs", "--out", model, "--resume")] if name == "run.json" else []
    for arguments in commands:
        done = run(*arguments, env=environment(tmp_path))
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 1000
        if arguments[0] != "train":
            assert name in done.stderr


# Tokenizers ------------------------------------------------------------------------------------------------------


def described(**changes):
    return {**json.loads(make_tokenizer().to_str()), **changes}


def sequence(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


def precompiled(*replacements):
    """A table of replacements, as SentencePiece's tokenizers have one; its trie is empty."""
    trie = bytes(1024)
    table = len(trie).to_bytes(4, "little") + trie + b"".join(text + b"\0" for text in replacements)
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


DOUBLE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
BACKTRACK = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
ADDED = {"id": 0, "content": "a", "single_word": False, "normalized": False, "special": False}
REPEAT = [{"Sequence": {"id": "A", "type_id": 0}}] * 1000
WORDPIECE = described()["model"]

HOSTILE = {
    "doubling": described(normalizer=sequence(*[DOUBLE] * 24)),
    "one replacement": described(normalizer=DOUBLE),
    "hidden in a sequence": described(normalizer=sequence(sequence(DOUBLE))),
    "prepend": described(normalizer={"type": "Prepend", "prepend": "a" * 1000}),
    "precompiled": described(normalizer={"type": "Precompiled", "precompiled_charsmap": ""}),
    "a table with long replacements": described(normalizer=precompiled(b"a" * 1000)),
    "a replacement for any pattern": described(
        normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    ),
    "byte level": described(normalizer={"type": "ByteLevel"}),
    "many normalizers": described(normalizer=sequence(*[{"type": "NFKD"}] * 1000)),
    "an untyped replacement": described(normalizer={"pattern": {"String": "a"}, "content": "aa"}),
    "a pattern that backtracks": described(pre_tokenizer=BACKTRACK),
    "such a pattern in a sequence": described(pre_tokenizer={"type": "Sequence", "pretokenizers": [BACKTRACK]}),
    "an empty token": described(added_tokens=[{**ADDED, "content": "", "lstrip": False, "rstrip": False}]),
    "a template that repeats the text": described(
        post_processor={"type": "TemplateProcessing", "single": REPEAT, "pair": REPEAT, "special_tokens": {}}
    ),
    "words of any length": described(model={**WORDPIECE, "max_input_chars_per_word": 10**9}),
    "a long prefix": described(model={**WORDPIECE, "continuing_subword_prefix": "#" * 10**6}),
    "another model": described(model={"type": "Morphemes", "vocab": {}}),
    "tokens by chance": described(model={"type": "BPE", "dropout": 0.1, "vocab": {"[UNK]": 0}, "merges": []}),
    "a long sign for a space": described(pre_tokenizer={"type": "Metaspace", "replacement": "_" * 10**6}),
}


@pytest.mark.promise("broken-model")
@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE)
def test_a_tokenizer_that_could_make_a_document_endless_is_refused(tmp_path, record):
    (tmp_path / "tokenizer.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="not supported"):
        read_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    "text",
    [
        *BAD.values(),
        json.dumps(described())[:-1] + f', "normalizer": {json.dumps(DOUBLE)}}}',
        json.dumps(described(normalizer=[])),
        json.dumps(described(added_tokens=[3])),
        json.dumps(described(model=None)),
    ],
)
def test_a_tokenizer_that_is_not_one_is_refused(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.promise("broken-model")
def test_a_hostile_tokenizer_is_a_clear_error(tmp_path):
    with pytest.raises(
        BundleCorruptError, match=r"tokenizer\.json: .*the normalizer 'Replace' with .*; only tokenizers of encoders"
    ):
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(HOSTILE["one replacement"]))
        Windower.from_file(path, 128)


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        {"type": "Lowercase"},
        sequence({"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}),
        {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
         "lowercase": False},
        sequence(precompiled(b"a"), {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        sequence({"type": "Replace", "pattern": {"String": "``"}, "content": "\""}, {"type": "Nmt"}),
    ],
)  # fmt: skip
def test_tokenizers_of_supported_models_are_accepted(tmp_path, normalizer):
    (tmp_path / "tokenizer.json").write_text(json.dumps(described(normalizer=normalizer)))
    assert read_tokenizer(tmp_path / "tokenizer.json").token_to_id("[CLS]") is not None


# Patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("**/a/**/a/**/b", "a/" * 5000 + "c"),
        ("[!a]*[!a]*" * 12 + "a", "b" * 255),
        ("*?*?*?*?" * 30 + "x", "a" * 255),
        ("*[[:alpha:]]*[[:alpha:]]" * 60 + "!", "a" * 255),
        ("/**/a" * 300 + "/b", "a/" * 2000 + "a"),
        ("**/[!x]*[!x]*/**/[!x]*y", "ab/" * 1300 + "z"),
        ("[" + "a-z" * 2000 + "]*" * 20 + "1", "a" * 255),
    ],
)
def test_hostile_rules_match_hostile_names_in_linear_time(rule, path):
    rules = IgnoreRules([rule])
    started = time.process_time()
    for _ in range(20):
        assert not rules.ignores(path, directory=False)
    assert time.process_time() - started < 1


# Tokens that take the spaces beside them ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a " * 130_000, "b \n\u3000a" * 52_000, " " * 130_000 + "a" * 130_000], ids=range(3))
def test_tokens_that_take_spaces_take_linear_time(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(
        json.dumps(described(added_tokens=[{**ADDED, "lstrip": True, "rstrip": True}]))
    )
    tokenizer = read_tokenizer(tmp_path / "tokenizer.json")
    started = time.process_time()
    tokenizer.encode_batch_fast([text])
    assert time.process_time() - started < 3
