"""Hostile directories: every entry gets a row, nothing hangs, and only regular files are read."""

# Paths that no Path object would make.
# ruff: noqa: PTH102, PTH110, PTH114, PTH123, PTH211

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import time
import tracemalloc

import pytest
from command import environment, run
from tiny import prose

from authorid.inputs import discovery
from authorid.inputs.discovery import DiscoveredFile, walk
from authorid.inputs.documents import ReadOptions
from authorid.inputs.reading import file_sha256, read_documents, read_file

AS_ROOT = os.geteuid() == 0


def read(file, options=ReadOptions()):
    """The only item that reading a text file gives."""
    (item,) = read_file(file, options)
    return item


def problems(root, **options):
    return {file.below: file.problem for file in walk([root], ReadOptions(**options))}


def reasons(root, **options):
    items = read_documents([root], ReadOptions(**options))
    return {os.path.relpath(item.ref.source, root): getattr(item, "reason", None) for item in items}


def make_hostile(root):
    """Make one of everything below `root`; returns the number of inputs."""
    for number in range(20):
        (root / f"good-{number:02}.txt").write_text(prose("Ada", 30, number))
    (root / "empty").touch()
    (root / "blank").write_text(" \n")
    (root / "binary").write_bytes(bytes(range(256)))
    (root / "marks").write_bytes("\u0300\u0316".encode() * 100_000)
    (root / "one-word").write_bytes(b"a" * 1_000_000)
    (root / "noise").write_bytes(bytes(1 + byte * 7919 % 255 for byte in range(100_000)))
    (root / "bad-utf16").write_bytes(b"\xff\xfe\x00\xd8")
    (root / "utf16-nuls").write_bytes("a\0b".encode("utf-16"))
    (root / "escape\x1b[31m\n\u202e.txt").write_text(prose("Ben", 30))
    os.close(os.open(os.fsencode(root) + b"/not-\xff-utf8", os.O_CREAT))
    with (root / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    os.mkfifo(root / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(root / "socket"))
    server.close()
    (root / "dangling").symlink_to("nowhere")
    (root / "self").symlink_to("self")
    (root / "up").symlink_to(".")
    (root / "outside").symlink_to("/etc/passwd")
    (root / "zero").symlink_to("/dev/zero")
    (root / "endless").symlink_to("/proc/kmsg")
    (root / "tree" / "below").mkdir(parents=True)
    (root / "tree" / "below" / "loop").symlink_to("../..")
    (root / "tree" / "good.txt").write_text(prose("Cyd", 30))
    (root / "unreadable").write_text("x")
    (root / "unreadable").chmod(0)
    return sum(len(files) + sum(os.path.islink(f"{at}/{name}") for name in names) for at, names, files in os.walk(root))


@pytest.mark.promise("one-row")
@pytest.mark.parametrize("follow", [False, True])
def test_every_input_of_a_hostile_directory_gets_a_row(bundle, tmp_path, follow):
    root = tmp_path / "docs"
    root.mkdir()
    inputs = make_hostile(root)
    options = ["--follow-symlinks"] if follow else []
    started = time.monotonic()
    done = run(
        *("score", root, "--model", bundle.path, "--out", tmp_path / "out.jsonl", "--max-bytes", 2_000_000, *options),
        env=environment(tmp_path),
    )
    assert done.returncode == 3, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == inputs
    assert len({row.get("path_b64", row["path"]) for row in rows}) == inputs
    assert sum(row["status"] == "scored" for row in rows) >= 22
    assert all(row["error"] for row in rows if row["status"] == "failed")
    assert "Traceback" not in done.stderr
    assert not any(ord(character) < 32 and character != "\n" for character in done.stderr)
    assert time.monotonic() - started < 60


@pytest.mark.promise("regular-files")
def test_fifos_sockets_and_devices_are_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    server.close()
    if AS_ROOT:
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    monkeypatch.setattr("authorid.inputs.reading._open", lambda file: pytest.fail(f"opened {file}"))
    found = reasons(tmp_path)
    assert found.pop("device", "not a regular file (a character device)") == "not a regular file (a character device)"
    assert found == {"fifo": "not a regular file (a FIFO)", "socket": "not a regular file (a socket)"}
    assert [item.reason for item in read_documents([tmp_path / "fifo"])] == ["not a regular file (a FIFO)"]


@pytest.mark.promise("regular-files")
@pytest.mark.parametrize("swap", ["fifo", "link", "directory", "nothing"])
def test_a_file_replaced_after_it_was_found_is_a_failure(tmp_path, swap):
    path = tmp_path / "a"
    path.write_text("the river")
    (found,) = walk([tmp_path])
    path.unlink()
    if swap == "fifo":
        os.mkfifo(path)
    elif swap == "link":
        path.symlink_to("/etc/passwd")
    elif swap == "directory":
        path.mkdir()
    started = time.monotonic()
    reason = read(found).reason
    assert time.monotonic() - started < 1
    expected = {"fifo": "a FIFO", "link": "symbolic link", "directory": "not a regular file", "nothing": "no such file"}
    assert expected[swap] in reason


@pytest.mark.promise("links")
def test_symbolic_links_are_failures_unless_they_are_followed(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "elsewhere").write_text("the river")
    (tmp_path / "docs" / "link").symlink_to("../elsewhere")
    assert "not followed" in problems(tmp_path / "docs")["link"]
    assert problems(tmp_path / "docs", follow_symlinks=True) == {"link": None}
    assert [file.problem for file in walk([tmp_path / "docs" / "link"])] == [None]


@pytest.mark.promise("links")
def test_loops_of_symbolic_links_end(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    (tmp_path / "self").symlink_to("self")
    found = problems(tmp_path, follow_symlinks=True)
    assert "loop" in found["a/b/up"]
    assert "too many levels of symbolic links" in found["self"]


@pytest.mark.promise("links")
def test_branching_symbolic_links_do_not_multiply(tmp_path):
    for level in range(40):
        here = tmp_path / f"{level:02}"
        here.mkdir()
        (here / "file").write_text("the river")
        if level < 39:
            (here / "left").symlink_to(f"../{level + 1:02}")
            (here / "right").symlink_to(f"../{level + 1:02}")
    started = time.monotonic()
    found = problems(tmp_path, follow_symlinks=True)
    assert time.monotonic() - started < 10
    assert len(found) < 40 * 40 * 3
    assert all(found[f"{level:02}/file"] is None for level in range(40))


@pytest.fixture
def deep(tmp_path):
    """A directory for trees so deep that pytest's own clean-up would fail on them."""
    root = tmp_path / "deep"
    root.mkdir()
    yield root
    subprocess.run(["rm", "-rf", root], check=True)


@pytest.mark.promise("bounded-walk")
def test_trees_deeper_than_the_python_stack_are_walked(deep, monkeypatch):
    monkeypatch.chdir(deep)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    os.close(os.open("file", os.O_CREAT))
    (found,) = walk([deep])
    assert found.problem is None
    assert found.below.count("/") == 1500


def dig(levels, name):
    for _ in range(levels):
        os.mkdir(name)
        os.chdir(name)


@pytest.mark.promise("bounded-walk")
@pytest.mark.parametrize("name", ["d", "d" * 200])
def test_paths_longer_than_a_system_call_accepts_are_read(deep, monkeypatch, name):
    monkeypatch.chdir(deep)
    dig(5000 // len(name), name)
    with open("file", "w") as stream:
        stream.write("the river")
    os.symlink("file", "link")
    file, link = walk([deep], ReadOptions(follow_symlinks=True))
    assert len(file.path) > 4096
    assert read(file).text == read(link).text == "the river"
    assert file_sha256(file) == read(file).sha256
    assert [file.path for file in walk([file.path])] == [file.path]


@pytest.mark.promise("bounded-walk")
def test_extremely_deep_trees_are_failures(deep, monkeypatch):
    monkeypatch.chdir(deep)
    dig(80, "d" * 200)
    (found,) = walk([deep])
    assert "file name too long" in found.problem


@pytest.mark.promise("bounded-walk")
@pytest.mark.parametrize(
    ("entries", "block"), [(10_000, 500), pytest.param(200_000, discovery._BLOCK, marks=pytest.mark.slow)]
)
def test_huge_directories_are_walked_in_bounded_memory(tmp_path, entries, block, monkeypatch):
    monkeypatch.setattr(discovery, "_BLOCK", block)
    for number in range(entries):
        os.close(os.open(tmp_path / f"{number * 7919 % entries:06}.txt", os.O_CREAT))
    tracemalloc.start()
    count, last = 0, ""
    for file in walk([tmp_path]):
        assert file.below > last
        count, last = count + 1, file.below
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == entries
    assert peak < 500 * block + 200_000


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_denied_access_is_a_failure(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").chmod(0)
    (tmp_path / "dir").chmod(0)
    try:
        assert reasons(tmp_path) == {"file": "permission denied", "dir": "directory not readable: permission denied"}
    finally:
        (tmp_path / "dir").chmod(0o700)


@pytest.mark.promise("unreadable")
def test_denied_access_is_a_failure_also_for_root(tmp_path, monkeypatch):
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("x")
    scandir, opened = os.scandir, os.open

    def deny(path, *rest):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", lambda path: deny(path) if os.fsencode(path).endswith(b"dir") else scandir(path))
    monkeypatch.setattr(
        os, "open", lambda path, *rest: deny(path) if str(path).endswith("file") else opened(path, *rest)
    )
    assert reasons(tmp_path) == {"file": "permission denied", "dir": "directory not readable: permission denied"}


@pytest.mark.promise("size-limit")
def test_too_large_a_file_fails_without_being_read(tmp_path, monkeypatch):
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(1 << 43)
    monkeypatch.setattr(os, "read", lambda *_: pytest.fail("was read"))
    assert "larger than" in reasons(tmp_path)["huge"]


@pytest.mark.promise("size-limit")
def test_files_with_a_wrong_size_are_limited_too(tmp_path, monkeypatch):
    path = tmp_path / "grows"
    path.write_bytes(b"a")
    monkeypatch.setattr(os, "read", lambda _, size: b"a" * size)
    assert "larger than 5000000 bytes" in read(DiscoveredFile(str(path)), ReadOptions(max_bytes=5_000_000)).reason


def test_a_huge_size_limit_takes_no_memory(tmp_path):
    (tmp_path / "a").write_text("the river")
    assert reasons(tmp_path, max_bytes=1 << 60) == {"a": None}


@pytest.mark.promise("no-hang")
@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs /proc")
@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/mem", "/proc/self/status", "/proc/kcore"])
def test_files_in_proc_do_not_hang(path):
    started = time.monotonic()
    list(read_documents([path], ReadOptions(max_bytes=100_000)))
    assert time.monotonic() - started < 2


def test_impossible_paths_are_failures():
    found = list(walk(["", "\0", "a" * 5000, "/none/at/all"]))
    assert [item.problem for item in found[:1] + found[2:]] == [
        "no such file or directory",
        "file name too long",
        "no such file or directory",
    ]
    assert "null" in found[1].problem


@pytest.mark.promise("no-hang")
@pytest.mark.parametrize("name", ["mark", "word", "noise", "latin", "spaces", "zeros", "lines"])
def test_no_content_makes_reading_slow(tmp_path, name):
    size = 2 << 20
    content = {
        "mark": "\u0300\u0316".encode() * (size // 4),
        "word": b"a" * size,
        "noise": bytes(1 + byte * 7919 % 255 for byte in range(1 << 16)) * (size >> 16),
        "latin": "L'été à Genève. ".encode("latin-1") * (size // 16),
        "spaces": b" " * size,
        "zeros": bytes(size),
        "lines": b"\n\xe9" * (size // 2),
    }[name]
    (tmp_path / name).write_bytes(content)
    started = time.process_time()
    list(read_documents([tmp_path]))
    assert time.process_time() - started < 5
