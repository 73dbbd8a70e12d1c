"""A signal ends the command soon and with its own exit code, whatever the command is doing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import command, environment
from fusion_bundle import make_fusion_bundle
from tiny import AUTHORS, prose

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
LIMIT = 5.0
"""Seconds: the promise is three, on a machine that has nothing else to do."""

MEBIBYTE = 1 << 20


def ideographs(characters):
    chance = random.Random(1)
    return "".join(chr(chance.randrange(0x4E00, 0x9FA0)) for _ in range(1000)) * (characters // 1000)


def long_words(characters):
    chance = random.Random(2)
    words = ("".join(chr(chance.randrange(0x430, 0x450)) for _ in range(99)) for _ in range(1000))
    return " ".join(words) * (characters // 100_000)


HUGE = {
    "chinese": lambda: ideographs(16 * MEBIBYTE // 3).encode(),
    "chinese-gb18030": lambda: ideographs(8 * MEBIBYTE).encode("gb18030"),
    "russian-words-of-99-letters": lambda: long_words(8 * MEBIBYTE).encode(),
    "english": lambda: b"the river and the boat, " * (16 * MEBIBYTE // 24),
    "combining-marks": lambda: ("a" + "\u0301" * (8 * MEBIBYTE - 1)).encode(),
    "bytes-in-no-order": lambda: random.Random(3).randbytes(MEBIBYTE).replace(b"\0", b"\x93") * 15,
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return make_fusion_bundle(tmp_path_factory.mktemp("both"))


@pytest.mark.promise("signals")
@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
@pytest.mark.parametrize("kind", HUGE)
def test_a_huge_document_does_not_delay_the_end_of_an_interrupted_run(both, tmp_path, kind, effort):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "huge").write_bytes(HUGE[kind]())
    chance = random.Random(f"{kind} {effort}")
    number = chance.choice(list(CODES))
    out = tmp_path / "out.csv"
    process = subprocess.Popen(
        command("score", tmp_path / "docs", "--model", both.path, "--effort", effort, "--out", out, "-q"),
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    )
    while not (tmp_path / "out.csv.journal").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, 3.0))
    started = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - started < LIMIT
    if out.exists():  # it was scored, or failed, before the signal came
        assert process.returncode in (0, 3, CODES[number])
        return
    assert process.returncode == CODES[number]
    assert b"interrupted" in err
    assert b"Traceback" not in err


STARTED = """
import os
from authorid.cli.interrupts import Interrupts as Announced
enter = Announced.__enter__
Announced.__enter__ = lambda self: (enter(self), os.write(1, b"."))[0]
"""
"""Before our first statement, while Python itself starts, a signal kills the process as it kills any other."""

TRIES = 24


@pytest.mark.promise("signals")
def test_a_signal_at_any_moment_of_the_start_has_its_own_exit_code(both, tmp_path):
    (tmp_path / "docs").mkdir()
    for number in range(3000):
        (tmp_path / "docs" / f"{number}.txt").write_text(prose(AUTHORS[number % 3], 60, number))

    def start(name):
        arguments = ("score", tmp_path / "docs", "--model", both.path, "--effort", "full", "-q", "--out", name)
        process = subprocess.Popen(
            command(*arguments, prelude=STARTED),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
        )
        assert process.stdout.read(1) == b"."
        return process

    begun = time.monotonic()
    process = start(tmp_path / "first.csv")
    while not (tmp_path / "first.csv.journal").exists():
        time.sleep(0.01)
    loading = time.monotonic() - begun
    process.kill()
    process.communicate()
    chance = random.Random(11)
    moments = [(chance.uniform(0, 1.2 * loading), chance.choice(list(CODES)), number) for number in range(TRIES)]

    def interrupt(moment):
        after, sent, number = moment
        process = start(tmp_path / f"{number}.csv")
        time.sleep(after)
        sent_at = time.monotonic()
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
        return (process.returncode, CODES[sent]), time.monotonic() - sent_at, err.decode()

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(interrupt, moments))
    assert [codes for codes, _, _ in results if codes[0] != codes[1]] == []
    assert max(seconds for _, seconds, _ in results) < LIMIT
    assert not any("corrupt" in err or "not a readable" in err or "Traceback" in err for _, _, err in results)


DISGUISES = {
    "a module that cannot be imported": "raise ImportError('numpy.core.multiarray failed to import') from None",
    "a file that is corrupt": "from authorid.errors import BundleCorruptError as E; raise E('damaged') from None",
    "an error of the interpreter": "raise SystemError('returned a result with an exception set') from None",
    "nothing": "pass",
}


@pytest.mark.promise("signals")
@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_an_interrupt_that_a_library_turns_into_another_error_is_still_one(tmp_path, disguise, number):
    prelude = (
        "import os, signal, authorid.cli.console as holder\n"
        "def library(*_, **__):\n"
        f"    try: os.kill(os.getpid(), signal.{number.name}); [None for _ in range(9)]\n"
        f"    except KeyboardInterrupt: {DISGUISES[disguise]}\n"
        "holder.Terminal = library"
    )
    process = subprocess.Popen(
        command("bench", "--seconds", 1, prelude=prelude), stderr=subprocess.PIPE, env=environment(tmp_path)
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == CODES[number]
    assert b"error: damaged" not in err
    assert b"Traceback" not in err


@pytest.mark.promise("signals")
@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("arguments", [("score", "docs", "--out", "-"), ("bench",)])
def test_a_call_that_nothing_interrupts_ends_with_the_process(tmp_path, arguments, number):
    (tmp_path / "docs").mkdir()
    stuck = (
        "import os, time, threading, authorid.bundle.manifest as manifest\n"
        "def load(*_, **__):\n"
        "    for sign in (b'.', b'-'):\n"
        "        try: os.write(1, sign); time.sleep(60)\n"
        "        except KeyboardInterrupt: pass\n"
        "manifest.load_bundle = load"
    )
    process = subprocess.Popen(
        command(*arguments, prelude=stuck),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={
            **environment(tmp_path),
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        },
    )
    while process.stdout.read(1) != b".":
        assert process.poll() is None, process.stderr.read()
    started = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - started < LIMIT
    assert (process.returncode, err) == (CODES[number], b"error: interrupted\n")


LATE = """
import atexit, os, signal
atexit.register(os.kill, os.getpid(), signal.{name})
"""
"""A signal that arrives when the command is over, while Python is ending."""


@pytest.mark.promise("signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_python_is_ending_leaves_the_exit_code(bundle, tmp_path, name):
    document = tmp_path / "a.txt"
    document.write_text(prose("Ada", 30, 1))
    arguments = ("score", document, "--model", bundle.path, "--out", tmp_path / "out.csv", "-q")
    done = subprocess.run(command(*arguments, prelude=LATE.format(name=name)), env=environment(tmp_path), check=False)
    assert done.returncode == 0
    assert (tmp_path / "out.csv").exists()
