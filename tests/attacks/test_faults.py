"""Failures of the machine: full disks, no descriptors left, broken threads, servers that stop answering."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from command import PLAIN, command, environment, run
from tiny import AUTHORS, prose

from authorid import EngineOptions, Scorer
from authorid.inputs import reading
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import ReadOptions
from authorid.inputs.reading import read_file
from authorid.outputs import atomic
from authorid.outputs import journal as journals


@pytest.fixture
def corpus(tmp_path):
    for number in range(30):
        path = tmp_path / "docs" / f"{number:02}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(prose(AUTHORS[number % 3], 40, number))
    return tmp_path / "docs"


@pytest.fixture
def whole(score, corpus, tmp_path):
    assert score(corpus, "--out", tmp_path / "whole.csv")[0] == 0
    return (tmp_path / "whole.csv").read_bytes()


def after(calls, error):
    """A function that works `calls` times and then fails with `error`."""

    def sabotage(work):
        count = 0

        def call(*arguments, **keywords):
            nonlocal count
            count += 1
            if count > calls:
                raise OSError(error, os.strerror(error))
            return work(*arguments, **keywords)

        return call

    return sabotage


# Disks -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("disk-full")
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("operation", ["create", "write_all", "sync", "publish"])
@pytest.mark.parametrize("calls", [0, 1, 3])
def test_a_disk_failure_is_a_clear_error_and_the_run_can_be_resumed(
    score, corpus, whole, tmp_path, monkeypatch, operation, calls, error
):
    monkeypatch.setattr(journals, "_GROUP", 1)
    monkeypatch.setattr(journals, "_SYNC_SECONDS", 0.0)
    monkeypatch.setattr(journals, "_SYNC_SHARE", 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, operation, after(calls, error)(getattr(atomic, operation)))
        code, _, message = score(corpus, "--out", tmp_path / "out.csv", "-q")
    if (operation, calls) in (("create", 3), ("publish", 3)):
        assert code == 0  # the run has no third file to make
        return
    assert code == 1
    assert f"out.csv: cannot write there: {os.strerror(error).lower()}" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out.csv").exists()
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0
    assert (tmp_path / "out.csv").read_bytes() == whole


def test_a_disk_that_accepts_half_a_line_loses_only_that_line(tmp_path, score, corpus, whole, monkeypatch):
    written = 0

    def short(descriptor, data):
        nonlocal written
        size = min(len(data), 3000 - written)
        if size <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += size
        return os_write(descriptor, data[:size])

    os_write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "write", short)
        code, _, message = score(corpus, "--out", tmp_path / "out.csv", "-q")
    assert code == 1
    assert "no space left on device" in message
    assert "rows are safe in out.csv.journal" in message
    assert not (tmp_path / "out.csv.journal").read_bytes().endswith(b"\n")
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0
    assert (tmp_path / "out.csv").read_bytes() == whole


@pytest.mark.promise("safe-rows")
def test_rows_that_were_not_written_are_not_reported_as_safe(tmp_path, score, corpus, whole, monkeypatch):
    document = (corpus / "09.txt").read_bytes()
    (corpus / "09.txt").write_bytes(b"\0\0")
    monkeypatch.setattr(journals, "_FLUSH_SECONDS", 3600.0)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_all", after(1, errno.ENOSPC)(atomic.write_all))
        code, _, message = score(corpus, "--out", tmp_path / "out.csv", "-q", "--fail-fast")
    assert code == 1
    assert "; 0 rows are safe; what came after could not be written: no space left on device. To go on:" in message
    (corpus / "09.txt").write_bytes(document)
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0
    assert (tmp_path / "out.csv").read_bytes() == whole


def can_mount():
    return (
        shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
        ).returncode
        == 0
    )


@pytest.mark.promise("disk-full")
@pytest.mark.skipif(not can_mount(), reason="no right to mount a small file system")
def test_a_file_system_that_is_really_full(bundle, corpus, tmp_path, whole):
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = f"score {corpus} --model {bundle.path} --out {disk}/out.csv -q"
    script = f"""
        mount -t tmpfs -o size=12k none {disk} || exit 99
        {sys.executable} -c '{PLAIN}' {arguments}; echo "first $?" >&2
        mount -o remount,size=1m {disk}
        {sys.executable} -c '{PLAIN}' {arguments} --resume; echo "second $?" >&2
        cat {disk}/out.csv
    """
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], capture_output=True, timeout=120, env=environment(tmp_path)
    )
    assert b"no space left on device" in done.stderr
    assert b"first 1\n" in done.stderr
    assert b"second 0\n" in done.stderr
    assert done.stdout == whole


@pytest.mark.promise("stdout")
def test_a_full_standard_output_is_a_clear_error(bundle, corpus, tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("score", corpus, "--model", bundle.path, "--out", "-", "-q"),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            env=environment(tmp_path),
        )
    assert done.returncode == 1
    assert done.stderr == b"error: standard output: cannot write there: no space left on device\n"


def test_an_output_directory_that_becomes_unwritable_is_a_clear_error(score, corpus, tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "publish", after(1, errno.EACCES)(atomic.publish))
        code, _, message = score(corpus, "--out", tmp_path / "out.csv", "-q")
    assert code == 1
    assert "permission denied. 30 rows are safe" in message
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0
    assert (tmp_path / "out.csv").read_bytes() == whole


# Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("read-error")
@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOMEM])
def test_a_failed_read_is_a_failed_row(tmp_path, monkeypatch, error):
    (tmp_path / "a").write_text("the river")
    monkeypatch.setattr(os, "read", after(0, error)(os.read))
    (failure,) = read_file(DiscoveredFile(str(tmp_path / "a")))
    assert failure.reason.lower() == os.strerror(error).lower()


@pytest.mark.promise("descriptors")
def test_a_short_lack_of_descriptors_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("the river")
    opened, calls = os.open, []

    def scarce(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(*arguments)

    monkeypatch.setattr(os, "open", scarce)
    (document,) = read_file(DiscoveredFile(str(tmp_path / "a")))
    assert document.encoding == "utf-8"


@pytest.mark.promise("descriptors")
def test_a_permanent_lack_of_descriptors_gives_failed_rows(bundle, tmp_path):
    (tmp_path / "docs").mkdir()
    for number in range(3):
        (tmp_path / "docs" / str(number)).write_text("the river")
    greedy = (
        "import resource, os, authorid.inputs.reading as d; inner = d._open\n"
        "def hoard(file):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)); held = []\n"
        "    try:\n"
        "        while True: held.append(os.dup(2))\n"
        "    except OSError: pass\n"
        "    try: return inner(file)\n"
        "    finally: [os.close(x) for x in held]\n"
        "d._open = hoard"
    )
    done = run(
        *("score", tmp_path / "docs", "--model", bundle.path, "--out", "-"), prelude=greedy, env=environment(tmp_path)
    )
    assert done.returncode == 3
    assert done.stdout.count("too many open files") == 3


@pytest.mark.promise("read-error")
def test_permissions_removed_during_a_run_give_failed_rows(bundle, corpus, monkeypatch):
    opened = reading._open
    count = 0

    def open_until(file):
        nonlocal count
        count += 1
        if count > 10:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(file)

    monkeypatch.setattr(reading, "_open", open_until)
    rows = list(Scorer(bundle).score([corpus]))
    assert [row.status for row in rows] == ["scored"] * 10 + ["failed"] * 20
    assert rows[-1].error == "permission denied"


@pytest.mark.promise("dead-server")
def test_a_server_that_stops_answering_fails_only_its_own_documents(bundle, corpus, monkeypatch):
    asleep = threading.Event()
    inner = reading._read_bytes

    def sleepy(file, max_bytes):
        if file.path.endswith("5.txt"):
            asleep.wait(60)
        return inner(file, max_bytes)

    monkeypatch.setattr(reading, "_read_bytes", sleepy)
    started = time.monotonic()
    rows = list(Scorer(bundle).score([corpus], ReadOptions(timeout=0.3)))
    assert time.monotonic() - started < 20
    assert [row.path[-6:] for row in rows if row.status == "failed"] == ["05.txt", "15.txt", "25.txt"]
    assert rows[5].error == "no answer within 0.3 s (see --timeout)"
    asleep.set()


@pytest.mark.promise("second-signal")
def test_a_hanging_read_does_not_delay_the_end_of_an_interrupted_run(bundle, corpus, tmp_path):
    hang = "import time, authorid.inputs.reading as d; d._read_bytes = lambda *_: time.sleep(600)"
    process = subprocess.Popen(
        command("score", corpus, "--model", bundle.path, "--out", tmp_path / "out.csv", prelude=hang),
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    )
    while not (tmp_path / "out.csv.journal").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"interrupted; 0 rows are safe" in err


# Threads and models ----------------------------------------------------------------------------------------------


@pytest.mark.promise("broken-thread")
@pytest.mark.parametrize("function", ["authorid.scoring.run_inputs.read_file", "authorid.encoder.batching.Batcher.get"])
def test_an_error_in_a_thread_is_a_clear_message_and_the_run_can_be_resumed(
    score, corpus, whole, tmp_path, monkeypatch, function
):
    calls = 0

    def broken(*_, **__):
        nonlocal calls
        calls += 1
        raise RuntimeError("a bug\nwith details")

    with monkeypatch.context() as patch:
        patch.setattr(function, broken)
        code, _, message = score(corpus, "--out", tmp_path / "out.csv", "-q")
    assert code == 1
    assert "error: the run broke off: RuntimeError: a bug; 0 rows are safe. To go on: authorid score" in message
    assert "Traceback" not in message
    assert calls >= 1
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0
    assert (tmp_path / "out.csv").read_bytes() == whole


@pytest.mark.promise("out-of-memory")
def test_out_of_memory_in_a_batch_is_retried_with_smaller_batches(bundle):
    scorer = Scorer(bundle, EngineOptions(workers=1))
    inner, sizes = scorer.engine.run, []

    def small(ids):
        sizes.append(len(ids))
        if len(ids) > 1:
            raise MemoryError
        return inner(ids)

    scorer.engine.run = small
    rows = list(scorer.score_texts([prose("Ada", 14, seed) for seed in range(8)]))
    assert all(row.status == "scored" for row in rows)
    assert sizes.count(1) == 8
    assert max(sizes) > 1


@pytest.mark.promise("out-of-memory")
def test_out_of_memory_while_building_a_batch_is_retried_with_smaller_batches(bundle, monkeypatch):
    scorer = Scorer(bundle, EngineOptions(workers=1))
    stack = np.stack

    def small(arrays):
        if len(arrays) > 1:
            raise MemoryError
        return stack(arrays)

    monkeypatch.setattr("authorid.encoder.batching.np.stack", small)
    rows = list(scorer.score_texts([prose("Ada", 14, seed) for seed in range(8)]))
    assert all(row.status == "scored" for row in rows)


@pytest.mark.promise("out-of-memory")
def test_out_of_memory_on_one_document_is_its_failed_row(bundle, score, corpus, tmp_path, monkeypatch):
    def never(self, ids):
        raise MemoryError("bad allocation")

    monkeypatch.setattr("authorid.encoder.engine.Engine.run", never)
    code, _, message = score(corpus, "--out", tmp_path / "out.csv", "-q")
    assert code == 3
    assert (tmp_path / "out.csv").read_text().count("the model failed on this document: bad allocation") == 30
    assert "30 of 30 documents failed" in message


@pytest.mark.promise("broken-document")
def test_a_model_that_returns_nan_gives_a_failed_row(bundle):
    scorer = Scorer(bundle)
    scorer.engine.run = lambda ids: np.full((len(ids), 3), np.nan, dtype=np.float32)
    (row,) = scorer.score_texts(["the river"])
    assert (row.status, row.error) == ("failed", "the model failed on this document: its answer is not a number")


@pytest.mark.promise("out-of-memory")
def test_out_of_memory_while_splitting_a_document_is_its_failed_row(bundle, monkeypatch):
    scorer = Scorer(bundle)
    inner = scorer._cascade.encoder.windower.windows

    def greedy(ids, document):
        if document == 1:
            raise MemoryError
        return inner(ids, document)

    monkeypatch.setattr(scorer._cascade.encoder.windower, "windows", greedy)
    rows = list(scorer.score_texts(["the engine", "the oar", "the market"]))
    assert [row.status for row in rows] == ["scored", "failed", "scored"]
    assert "out of memory" in rows[1].error


@pytest.mark.promise("broken-document")
def test_a_tokenizer_that_panics_fails_only_its_document(bundle):
    scorer = Scorer(bundle)
    inner = scorer._cascade.encoder.windower.token_ids

    class PanicException(BaseException):
        pass

    def fragile(texts, check):
        if any("oar" in text for text in texts):
            raise PanicException("byte index is not a char boundary")
        return inner(texts, check)

    scorer._cascade.encoder.windower.token_ids = fragile
    rows = list(scorer.score_texts(["the engine", "the oar", "the market"]))
    assert [row.status for row in rows] == ["scored", "failed", "scored"]
    assert "the tokenizer failed on this document: byte index" in rows[1].error


@pytest.mark.promise("broken-model")
def test_a_corrupt_model_is_a_clear_error_and_leaves_no_files(bundle, score, corpus, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(bundle.path, broken)
    with (broken / "model_int8.onnx").open("r+b") as stream:
        stream.seek(100)
        stream.write(b"\0\0\0\0")
    code, _, message = score(corpus, "--out", tmp_path / "out.csv", model=broken)
    assert code == 1
    assert "SHA-256" in message
    assert "Traceback" not in message
    assert not list(tmp_path.glob("out.csv*"))


@pytest.mark.promise("broken-model")
def test_a_missing_execution_provider_is_a_clear_error(score, corpus, tmp_path, monkeypatch):
    import onnxruntime

    def refuse(*_, **__):
        raise RuntimeError("Execution provider is not available on this machine\nstack\nstack")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    code, _, message = score(corpus, "--out", tmp_path / "out.csv")
    assert code == 1
    assert "Execution provider is not available on this machine" in message
    assert "stack" not in message


def test_an_output_that_fails_stops_the_threads(bundle, corpus, tmp_path, score, monkeypatch):
    before = threading.active_count()
    monkeypatch.setattr(atomic, "write_all", after(1, errno.EIO)(atomic.write_all))
    assert score(corpus, "--out", tmp_path / "out.csv", "-q")[0] == 1
    assert threading.active_count() == before
