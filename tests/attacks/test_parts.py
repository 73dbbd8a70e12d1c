"""Shards that are killed, parts that are damaged, and parts that somebody has made to break `merge`."""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import command, environment, journal_size
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny import AUTHORS, prose

from authorid.cli.app import main
from authorid.errors import PartError
from authorid.outputs import atomic, part_order
from authorid.outputs.journal import checked_line
from authorid.outputs.part_order import find_parts, merged_records, ordered_parts

IN_THIS_PROCESS = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards") / "docs"
    root.mkdir()
    for number in range(600):
        text = "" if number % 50 == 49 else prose(AUTHORS[number % 3], 5 + number % 60, number)
        (root / f"{number:04}.txt").write_text(text)
    return root


def shard(bundle, docs, out, which, home, *others):
    arguments = ("score", docs, "--model", bundle.path, "--shard", which, "--out", out, "-q", "--resume", *others)
    return subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL, env=environment(home))


@pytest.fixture(scope="module")
def parts(bundle, docs, tmp_path_factory):
    """Three parts of one run, and its results as JSONL."""
    home = tmp_path_factory.mktemp("parts")
    for number in (1, 2, 3):
        assert shard(bundle, docs, home / "parts", f"{number}/3", home, "--evidence").wait(120) == 3
    arguments = ("score", docs, "--model", bundle.path, "--out", home / "whole.jsonl", "-q", "--evidence")
    assert subprocess.run(command(*arguments), env=environment(home), check=False).returncode == 3
    return home / "parts"


@pytest.fixture
def merge(capfd, monkeypatch, tmp_path):
    """Runs `authorid merge ... --out out.FORM`; returns (exit code, stderr, bytes or None)."""

    def called(form, *paths):
        out = tmp_path / f"out.{form}"
        out.unlink(missing_ok=True)
        arguments = [*paths, "--out", out, "--stats", tmp_path / "stats.json", "-v"]
        monkeypatch.setattr(sys, "argv", ["authorid", "merge", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        return int(exit_info.value.code or 0), capfd.readouterr().err, out.read_bytes() if out.exists() else None

    return called


@pytest.mark.promise("merge-same-bytes", "resume-same-bytes")
def test_shards_that_are_killed_and_resumed_give_the_bytes_of_one_run(bundle, docs, parts, tmp_path, merge):
    out = tmp_path / "parts"
    kills = 0
    for number in (1, 2, 3):
        target = out / f"{number:05}-of-00003.part"
        full = (parts / target.name).stat().st_size
        for share in (0.2, 0.6):
            with shard(bundle, docs, out, f"{number}/3", tmp_path, "--evidence") as process:
                while process.poll() is None:
                    if journal_size(target) > full * share:
                        process.kill()
                    time.sleep(0.001)
            kills += process.returncode == -9
            if target.exists():
                break
        # Also where the part is there: a kill just after that leaves a lock, which means nothing.
        assert shard(bundle, docs, out, f"{number}/3", tmp_path, "--evidence").wait(120) in (0, 3)
    assert kills >= 2
    assert sorted(path.name for path in out.iterdir()) == [f"{number:05}-of-00003.part" for number in (1, 2, 3)]
    assert merge("jsonl", out)[2] == (parts.parent / "whole.jsonl").read_bytes()


def merged(directory):
    return list(merged_records(ordered_parts(find_parts([directory]))))


@pytest.mark.promise("merge-refuses")
@IN_THIS_PROCESS
@given(st.sampled_from((1, 2, 3)), st.integers(0, 1 << 40), st.integers(0, 7))
@example(1, 0, 0)
@example(3, (1 << 40) - 1, 0)
def test_one_flipped_bit_is_refused_and_the_part_is_named(parts, tmp_path, number, position, bit):
    damaged = shutil.copytree(parts, tmp_path / "damaged", dirs_exist_ok=True)
    file = damaged / f"{number:05}-of-00003.part"
    raw = bytearray(file.read_bytes())
    raw[position % len(raw)] ^= 1 << bit
    file.write_bytes(raw)
    with pytest.raises(PartError) as caught:
        merged(damaged)
    assert file.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.promise("merge-refuses")
@IN_THIS_PROCESS
@given(st.integers(0, 1 << 40))
@example(0)
@example(1)
def test_a_part_that_is_cut_is_refused(parts, tmp_path, length):
    damaged = shutil.copytree(parts, tmp_path / "damaged", dirs_exist_ok=True)
    file = damaged / "00002-of-00003.part"
    raw = file.read_bytes()
    file.write_bytes(raw[: length % len(raw)])
    with pytest.raises(PartError, match=r"00002-of-00003\.part"):
        merged(damaged)


@pytest.mark.promise("merge-refuses")
@pytest.mark.parametrize("how", ["swapped", "doubled", "dropped", "two ends", "of another part"])
def test_intact_lines_in_the_wrong_place_are_refused(parts, tmp_path, how):
    damaged = shutil.copytree(parts, tmp_path / "damaged")
    file = damaged / "00002-of-00003.part"
    lines = file.read_bytes().splitlines(keepends=True)
    other = (damaged / "00001-of-00003.part").read_bytes().splitlines(keepends=True)
    lines = {
        "swapped": [lines[0], lines[2], lines[1], *lines[3:]],
        "doubled": [*lines[:2], lines[1], *lines[2:]],
        "dropped": [*lines[:3], *lines[4:]],
        "two ends": [*lines, lines[-1]],
        "of another part": [*lines[:-1], other[-1]],
    }[how]
    file.write_bytes(b"".join(lines))
    with pytest.raises(PartError):
        merged(damaged)


@pytest.mark.promise("merge-same-bytes")
def test_the_names_and_the_order_of_parts_do_not_matter(parts, tmp_path, merge):
    names = ["b\n\x1b[2J.part", "=a.part", "c.part"]
    for number, name in enumerate(names, start=1):
        shutil.copy(parts / f"{number:05}-of-00003.part", tmp_path / name)
    code, err, data = merge("jsonl", *(tmp_path / name for name in reversed(names)))
    assert code == 3, err
    assert data == (parts.parent / "whole.jsonl").read_bytes()
    code, err, _ = merge("csv", tmp_path / names[0], tmp_path / names[1])
    assert code == 1
    assert err.count("\n") == 1
    assert "\x1b" not in err


HOSTILE = (
    None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\ud800", "a\nb\x1b[2J", [], ["x"], [[]],
    [1, 2, 3], {}, {"a": 1}, {"paths": 3}, json.loads("[" * 90 + "]" * 90),
)  # fmt: skip


def places(value, path=()):
    """The paths to everything in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from places(below, (*path, key))


def put(value, path, new):
    if not path:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


@pytest.mark.promise("merge-refuses", "harmless-messages")
@settings(IN_THIS_PROCESS, max_examples=60)
@given(st.data())
def test_no_part_that_somebody_has_made_breaks_merge(parts, tmp_path, merge, data):
    """Every value of the header, of a row and of the footer, with right checksums."""
    directory = shutil.copytree(parts, tmp_path / "made", dirs_exist_ok=True)
    file = directory / f"{data.draw(st.integers(1, 3)):05}-of-00003.part"
    lines = file.read_bytes().splitlines(keepends=True)
    index = data.draw(st.sampled_from((0, 1, 2, -1)))
    record = json.loads(lines[index].partition(b" ")[2])
    where = data.draw(st.sampled_from(list(places(record))))
    changed = put(record, where, data.draw(st.sampled_from(HOSTILE)))
    lines[index] = checked_line(json.dumps(changed).encode() + b"\n")
    file.write_bytes(b"".join(lines))
    for form in ("csv", "jsonl", "parquet"):
        code, err, out = merge(form, directory)
        assert code in (1, 3)
        assert "Traceback" not in err
        assert "\x1b" not in err
        assert (out is None) == (code == 1)
        if code == 1:
            assert err.count("\n") == 1, err


@pytest.mark.promise("merge-refuses")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_part_that_names_deep_values_is_refused(parts, tmp_path, merge, number):
    directory = shutil.copytree(parts, tmp_path / "made")
    file = directory / f"{number:05}-of-00003.part"
    first, *lines = file.read_bytes().splitlines(keepends=True)
    header = first.partition(b" ")[2].replace(
        b'"max_bytes": 16777216', b'"max_bytes": ' + b'{"a":' * 900 + b"1" + b"}" * 900
    )
    file.write_bytes(checked_line(header) + b"".join(lines))
    code, err, _ = merge("csv", directory)
    assert (code, err.count("\n")) == (1, 1), err


def test_a_huge_line_is_no_memory(tmp_path, merge):
    file = Path(tmp_path / "x.part")
    with file.open("wb") as stream:
        stream.truncate(1 << 33)  # sparse
    code, err, _ = merge("csv", file)
    assert code == 1
    assert "not a part of a run" in err


@pytest.mark.promise("disk-full", "atomic")
@pytest.mark.parametrize("operation", ["create", "sync", "publish"])
def test_a_disk_that_is_full_leaves_no_results_and_the_parts(parts, tmp_path, merge, monkeypatch, operation):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, operation, full)
        code, err, out = merge("jsonl", parts)
    assert (code, out) == (1, None)
    assert "cannot write there: no space left on device" in err
    assert list(tmp_path.glob("out*")) == []
    assert merge("jsonl", parts)[2] == (parts.parent / "whole.jsonl").read_bytes()


@pytest.mark.promise("signals", "atomic")
def test_a_merge_that_is_interrupted_leaves_nothing(parts, tmp_path):
    prelude = "import os, signal\nfrom authorid.outputs import part_order as o\nread = o.merged_records\n"
    prelude += "def cut(parts):\n    for n, row in enumerate(read(parts)):\n        yield row\n"
    prelude += "        n == 9 and os.kill(os.getpid(), signal.SIGTERM)\no.merged_records = cut"
    arguments = ("merge", parts, "--out", tmp_path / "out.csv", "-q")
    done = subprocess.run(command(*arguments, prelude=prelude), capture_output=True, env=environment(tmp_path))
    assert done.returncode == 143, done.stderr
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.promise("merge-refuses", "atomic")
@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_part_that_changes_while_it_is_merged_leaves_no_results(parts, tmp_path, merge, monkeypatch, how):
    directory = shutil.copytree(parts, tmp_path / "changing")
    read = part_order.merged_records

    def changing(ordered):
        for row in read(ordered):
            last = directory / "00003-of-00003.part"
            if how == "removed":
                last.unlink(missing_ok=True)
            else:
                shutil.copy(parts / "00001-of-00003.part", last)
            yield row

    monkeypatch.setattr(part_order, "merged_records", changing)
    code, err, out = merge("csv", directory)
    assert (code, out, err.count("\n")) == (1, None, 1), err
    assert "00003-of-00003.part: " in err
