"""`authorid data`: servers are slow, cut off, wrong or hostile; the directories are right, or not there."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from command import environment
from datasets.server import Behaviour, serving
from hypothesis import given
from hypothesis import strategies as st

from authorid import datasets
from authorid.cli.app import app
from authorid.datasets import C50, Dataset, content_digest, download, fetch
from authorid.errors import CorpusError, DownloadError, OutputError

PARTS = ("C50train", "C50test")


def texts(line_break="\n"):
    """The files of a small data set: two parts with two authors and three documents each."""
    return {
        f"{part}/{author}/{number}.txt": f"{author} writes{line_break}text {number} of {part}, at length.{line_break}"
        * 40
        for part in PARTS
        for author in ("Ada", "Bo")
        for number in range(3)
    }


def pack(files, prefix="", compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(prefix + name, text)
    return stream.getvalue()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    for name, text in texts().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    parts = {part: content_digest(root / part) for part in PARTS}
    return Dataset("small", "http://127.0.0.1:9/none.zip", parts, authors=2, documents=3, most_bytes=1 << 20)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(download, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(os, "sync", lambda: None)  # it waits for all that the machine is writing


def found(directory):
    return {
        str(path.relative_to(directory)): path.read_text("utf-8", "replace")
        for path in directory.rglob("*")
        if path.is_file()
    }


def bring(small, directory, behaviour):
    with serving(behaviour) as url:
        return fetch(small, directory, url=url)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("prefix", ["", "C50/", "a/b/"])
def test_both_parts_are_there_and_nothing_else(small, tmp_path, prefix, compression):
    extra = {"README.txt": "a file beside", "__MACOSX/C50train/Ada/._0.txt": "of a Mac"}
    archive = pack({**texts(), **extra}, prefix, compression)
    assert bring(small, tmp_path / "new" / "data", Behaviour(archive)) == list(PARTS)
    assert found(tmp_path / "new" / "data") == texts()


def test_an_archive_in_an_archive(small, tmp_path):
    assert bring(small, tmp_path, Behaviour(pack({"C50.zip": pack(texts())}))) == list(PARTS)
    assert found(tmp_path) == texts()


def test_copies_with_other_line_breaks_are_right_too(small, tmp_path):
    bring(small, tmp_path, Behaviour(pack(texts("\r\n"))))
    assert b"\r\n" in (tmp_path / "C50test/Ada/0.txt").read_bytes()


def test_what_is_complete_is_not_downloaded_again(small, tmp_path):
    server = Behaviour(pack(texts()))
    bring(small, tmp_path, server)
    assert bring(small, tmp_path, server) == []
    assert len(server.requests) == 1
    shutil.rmtree(tmp_path / "C50test")
    assert bring(small, tmp_path, server) == ["C50test"]
    assert found(tmp_path) == texts()


def test_what_was_changed_is_refused_and_left_alone(small, tmp_path):
    server = Behaviour(pack(texts()))
    bring(small, tmp_path, server)
    (tmp_path / "C50test/Ada/0.txt").write_text("mine")
    with pytest.raises(CorpusError, match=r"C50test.*not those of C50test.*move the directory away"):
        bring(small, tmp_path, server)
    (tmp_path / "C50test/Ada/0.txt").unlink()
    with pytest.raises(CorpusError, match="5 documents by 2 authors, but C50test has 6"):
        bring(small, tmp_path, server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_is_cut_again_and_again(small, tmp_path, ranges):
    archive = pack(texts())
    cuts = [1000] * 3 if ranges else [10, 700, 2000]
    server = Behaviour(archive, ranges=ranges, cuts=cuts)
    bring(small, tmp_path, server)
    assert found(tmp_path) == texts()
    if ranges:
        assert server.requests == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]


def test_a_server_that_knows_no_size_and_sends_no_parts(small, tmp_path):
    server = Behaviour(pack(texts()), chunked=True, cuts=[3000, 5000])
    bring(small, tmp_path, server)
    assert server.requests == [None, "bytes=3000-", "bytes=5000-"]
    assert found(tmp_path) == texts()


def test_errors_that_pass(small, tmp_path):
    server = Behaviour(pack(texts()), errors=[503, 429, 500])
    bring(small, tmp_path, server)
    assert found(tmp_path) == texts()


@pytest.mark.parametrize(("errors", "requests"), [([404], 1), ([403], 1), ([503] * 9, 6)])
def test_errors_that_stay(small, tmp_path, errors, requests):
    server = Behaviour(b"", errors=errors)
    with pytest.raises(DownloadError, match=str(errors[0])):
        bring(small, tmp_path, server)
    assert len(server.requests) == requests
    assert found(tmp_path) == {}


def test_a_server_that_sends_nothing_is_given_up_and_what_is_there_stays(small, tmp_path):
    archive = pack(texts())
    with pytest.raises(DownloadError, match="stopped after 1,000 of"):
        bring(small, tmp_path, Behaviour(archive, cuts=[1000, *[0] * 20]))
    server = Behaviour(archive)
    bring(small, tmp_path, server)
    assert server.requests == ["bytes=1000-"]
    assert found(tmp_path) == texts()


def test_a_server_that_is_not_there(small, tmp_path):
    with pytest.raises(DownloadError, match="connection refused"):
        fetch(small, tmp_path)


def test_a_server_that_falls_silent(small, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", 0.2)
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    server = Behaviour(pack(texts()), hang=threading.Event(), ranges=False)
    with serving(server) as url:
        with pytest.raises(DownloadError, match="does not answer"):
            fetch(small, tmp_path, url=url)
        server.hang.set()


def test_an_archive_that_is_whole_but_not_unpacked_yet_needs_no_server(small, tmp_path):
    (tmp_path / ".small.zip").write_bytes(pack(texts()))
    (tmp_path / ".small.unpacked" / "C50train").mkdir(parents=True)
    assert fetch(small, tmp_path) == list(PARTS)
    assert found(tmp_path) == texts()


def test_a_whole_archive_whose_last_step_is_missing(small, tmp_path):
    archive = pack(texts())
    (tmp_path / ".small.zip.part").write_bytes(archive)
    server = Behaviour(archive)
    bring(small, tmp_path, server)
    assert server.requests == [f"bytes={len(archive)}-"]


@pytest.mark.parametrize("earlier", [b"x" * 1000, b"x" * 10**5])
def test_bytes_of_another_archive_are_thrown_away(small, tmp_path, earlier):
    (tmp_path / ".small.zip.part").write_bytes(earlier)
    bring(small, tmp_path, Behaviour(pack(texts())))
    assert found(tmp_path) == texts()


BAD = {
    "other text": lambda: pack({**texts(), "C50test/Ada/0.txt": "another text"}),
    "missing text": lambda: pack(dict(list(texts().items())[:-1])),
    "missing part": lambda: pack({name: text for name, text in texts().items() if "test" not in name}),
    "more texts": lambda: pack({**texts(), "C50test/Ada/9.txt": "one more"}),
    "not a zip": lambda: b"<html>not here</html>",
    "nothing": lambda: pack({}),
    "cut": lambda: pack(texts())[:-100],
    "way out": lambda: pack({**texts(), "C50test/../../../outside.txt": "x"}),
    "way out of an author": lambda: pack({**texts(), "C50test/Ada/../0.txt": "x"}),
    "backslashes": lambda: pack({**texts(), "C50test/Ada/..\\..\\0.txt": "x"}),
    "absolute": lambda: pack({**texts(), "/C50test/Ada/x/y.txt": "x"}),
    "colon": lambda: pack({**texts(), "C50test/c:/0.txt": "x"}),
    "bomb": lambda: pack({**texts(), "C50test/Ada/0.txt": "a" * (2 << 20)}, compression=zipfile.ZIP_DEFLATED),
    "bomb in an archive": lambda: pack({"C50.zip": b"a" * (2 << 20)}, compression=zipfile.ZIP_DEFLATED),
    "too large": lambda: pack({**texts(), "more": "a" * (2 << 20)}),
}


@pytest.mark.parametrize("name", BAD)
def test_an_archive_with_another_content_leaves_nothing_behind(small, tmp_path, name):
    with pytest.raises((CorpusError, DownloadError)):
        bring(small, tmp_path / "data", Behaviour(BAD[name]()))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert set(found(tmp_path / "data")) <= {".small.zip.part"}


def test_a_symbolic_link_in_an_archive_is_not_made(small, tmp_path):
    stream = io.BytesIO(pack({name: text for name, text in texts().items() if name != "C50test/Ada/0.txt"}))
    with zipfile.ZipFile(stream, "a") as archive:
        link = zipfile.ZipInfo("C50test/Ada/0.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CorpusError):
        bring(small, tmp_path, Behaviour(stream.getvalue()))
    assert found(tmp_path) == {}


@given(st.data())
def test_a_damaged_archive_never_passes(small, data):
    import tempfile

    archive = bytearray(pack(texts(), compression=zipfile.ZIP_DEFLATED))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / ".small.zip").write_bytes(archive)
        try:
            fetch(small, directory)
        except (CorpusError, DownloadError):  # refused, and then there is no server
            assert not any((directory / part).exists() for part in PARTS)
        else:
            assert found(directory) == texts()  # the damage was to what does not matter, such as a date


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/a.zip", "data:,x", "archive.zip"])
def test_only_http_is_opened_also_after_a_redirect(small, tmp_path, address, monkeypatch):
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    with pytest.raises(DownloadError, match="only http"):
        fetch(small, tmp_path, url=address)
    if "://" in address:
        with pytest.raises(DownloadError):
            bring(small, tmp_path, Behaviour(b"", redirect=address))
    assert found(tmp_path) == {}


def test_a_place_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write there"):
        bring(small, tmp_path / "file" / "data", Behaviour(pack(texts())))


def test_a_full_disk_is_not_tried_again(small, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / ".small.zip.part").symlink_to("/dev/full")
    server = Behaviour(pack(texts()))
    with pytest.raises(OutputError, match="cannot write there"):
        bring(small, tmp_path, server)
    assert len(server.requests) == 1


def test_two_at_once(small, tmp_path):
    server = Behaviour(pack(texts()), hang=threading.Event())
    with serving(server) as url:
        first = threading.Thread(target=lambda: fetch(small, tmp_path, url=url))
        first.start()
        assert server.started.wait(30)
        with pytest.raises(OutputError, match="another run is writing it"):
            fetch(small, tmp_path, url=url)
        server.hang.set()
        first.join()
    assert found(tmp_path) == texts()


def test_the_command_says_what_is_there(small, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "C50", small)
    with serving(Behaviour(pack(texts()))) as url:
        done = CliRunner().invoke(app, ["data", "c50", str(tmp_path), "--url", url])
        assert (done.exit_code, done.stdout) == (0, "")
        assert f"written to {tmp_path}" in done.stderr
        assert "authorid train" in done.stderr
        done = CliRunner().invoke(app, ["data", "c50", str(tmp_path), "--url", url])
        assert (done.exit_code, done.stdout) == (0, "")
        assert "is complete" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_download_goes_on_where_it_stopped(small, tmp_path, number, code):
    prelude = f"from authorid import datasets; datasets.C50 = datasets.Dataset(**{as_arguments(small)!r})"
    archive = pack(texts())
    server = Behaviour(archive, hang=threading.Event())
    with serving(server) as url:
        command = [sys.executable, "-c", f"{prelude}\nfrom authorid.__main__ import main; main()"]
        started = subprocess.Popen(
            [*command, "data", "c50", str(tmp_path / "data"), "--url", url],
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
        )
        part = tmp_path / "data" / ".small.zip.part"
        while not (part.exists() and part.stat().st_size):
            assert started.poll() is None
            time.sleep(0.01)
        started.send_signal(number)
        _, err = started.communicate(timeout=30)
        assert started.returncode == code, err
        assert set(found(tmp_path / "data")) <= {".small.zip.part"}
        kept = part.stat().st_size
        assert 0 < kept < len(archive)
        server.hang.set()
        arguments = ["data", "c50", str(tmp_path / "data"), "--url", url]
        done = subprocess.run([*command, *arguments], env=environment(tmp_path), stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    assert server.requests[-1] == f"bytes={kept}-"
    assert found(tmp_path / "data") == texts()


def as_arguments(dataset):
    return {name: getattr(dataset, name) for name in ("name", "url", "parts", "authors", "documents", "most_bytes")}


@pytest.mark.corpus
def test_the_digests_are_those_of_the_real_texts(c50):
    assert {part: content_digest(c50 / part) for part in PARTS} == C50.parts


@pytest.mark.slow
@pytest.mark.corpus
def test_the_real_corpus(c50, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "c50"), "zip", c50)
    content = Path(archive).read_bytes()
    with serving(Behaviour(content, cuts=[1_000_000, 5_000_000])) as url:
        assert fetch(replace(C50, url=url), tmp_path / "data") == list(PARTS)
        assert fetch(replace(C50, url=url), tmp_path / "data") == []
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == sorted(PARTS)
