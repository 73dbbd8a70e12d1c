from __future__ import annotations

import hashlib
import io
import os
import queue
import subprocess
import threading
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authorid.errors import AuthoridError
from authorid.inputs import discovery as walking
from authorid.inputs.decoding import UndecodableError, decode, tidy
from authorid.inputs.documents import (
    DiscoveredFile,
    Document,
    Failure,
    ReadOptions,
    digest,
    listed_paths,
    read,
    read_documents,
    walk,
)
from authorid.inputs.ignore import IgnoreRules
from authorid.inputs.timeouts import Patience


def names(root, **options):
    return [found.below for found in walk([root], ReadOptions(**options))]


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("the river\n")


def test_order_is_by_bytes_and_depth_first(tmp_path):
    touch(tmp_path, "b", "a/z", "a.txt", "a/B", "é", "Z", "a-b/c")
    assert names(tmp_path) == ["Z", "a/B", "a/z", "a-b/c", "a.txt", "b", "é"]


def test_places_sort_as_the_walk_goes(tmp_path):
    touch(tmp_path, "b", "a/z", "a.txt", "a/B/c", "a-b/c", "ab")
    places = [found.place for found in walk([tmp_path, tmp_path])]
    assert places == sorted(places)
    assert len(set(places)) == 12


def test_every_input_gives_one_item(tmp_path):
    touch(tmp_path, "a", "c")
    (tmp_path / "b").write_bytes(b"\0\1\2")
    items = list(read_documents([tmp_path, tmp_path / "none"]))
    assert [type(item) for item in items] == [Document, Failure, Document, Failure]
    assert items[0].sha256 == hashlib.sha256(b"the river\n").hexdigest()


@pytest.mark.promise("hidden")
def test_hidden_files_are_passed_over_unless_named_or_wanted(tmp_path):
    touch(tmp_path, ".secret", ".dir/a", "b")
    assert names(tmp_path) == ["b"]
    assert names(tmp_path, hidden=True) == [".dir/a", ".secret", "b"]
    assert [found.path for found in walk([tmp_path / ".secret"])] == [str(tmp_path / ".secret")]


@pytest.mark.promise("selection")
def test_globs_match_names_and_paths_and_prune_directories(tmp_path):
    touch(tmp_path, "a/one.txt", "a/two.md", "b/one.txt", "three.txt")
    assert names(tmp_path, include=("*.txt",)) == ["a/one.txt", "b/one.txt", "three.txt"]
    assert names(tmp_path, include=("a/*",)) == ["a/one.txt", "a/two.md"]
    assert names(tmp_path, exclude=("b", "*.md")) == ["a/one.txt", "three.txt"]
    assert [found.problem for found in walk([tmp_path / "a/two.md"], ReadOptions(include=("*.txt",)))] == [None]


@pytest.mark.promise("hidden")
def test_the_runs_own_files_are_no_documents(tmp_path):
    touch(tmp_path, "docs/a", "docs/out.csv", "docs/sub/out.csv")
    (tmp_path / "alias").symlink_to(tmp_path / "docs")
    own = frozenset({str(tmp_path / "docs/out.csv")})
    assert names(tmp_path / "alias", skip=own) == ["a", "sub/out.csv"]
    assert list(walk([tmp_path / "docs/out.csv"], ReadOptions(skip=own))) == []


def test_a_directory_bigger_than_a_block_comes_whole_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(walking, "_BLOCK", 7)
    touch(tmp_path, *(f"{number * 37 % 100:03}" for number in range(100)))
    assert names(tmp_path) == [f"{number:03}" for number in range(100)]


@pytest.mark.promise("order")
@settings(max_examples=25)
@given(
    entries=st.lists(st.binary(min_size=1, max_size=6).filter(lambda b: not set(b) & set(b"\0/.")), max_size=60),
    block=st.integers(1, 9),
)
def test_names_are_sorted_whatever_they_are(tmp_path_factory, entries, block):
    root = os.fsencode(tmp_path_factory.mktemp("names"))
    for name in set(entries):
        os.close(os.open(root + b"/" + name, os.O_CREAT))
    before, walking._BLOCK = walking._BLOCK, block
    try:
        found = [os.fsencode(item.below) for item in walk([os.fsdecode(root)])]
    finally:
        walking._BLOCK = before
    assert found == sorted(set(entries))


GIT_PATTERNS = st.text(st.sampled_from("ab*?/!#\\[]-."), max_size=7)


@pytest.mark.promise("selection")
@settings(max_examples=25)
@given(patterns=st.lists(GIT_PATTERNS, min_size=1, max_size=4))
@example(patterns=["[]*?"])
@example(patterns=["[a", "[]a-b]"])
@example(patterns=["[", "![", "[!]", "*[]"])
@example(patterns=["*[[:alpha:]]", "![[:punct:]b]?", "d/[![:lower:]]"])
@example(patterns=["[[:none:]a]", "[[:alpha:]", "[[:x]", "[[a]a"])
@example(patterns=[r"[\[]a", r"[\]]", "[a--]", "[+--]-a", "[[:upper:]a-b-]"])
@example(patterns=["[b-a]", "d/[b-a.]", r"[[\-b]a", r"d/[a\-\b]"])
def test_ignore_rules_are_those_of_git(tmp_path_factory, patterns):
    root = tmp_path_factory.mktemp("git")
    paths = ["a", "b", "ab", "a.b", "d/a", "d/b/a", "d/ab", "b-a/b", "#a", "!b", "[a", "]"]
    touch(root, *paths)
    (root / "rules").write_text("\n".join(patterns) + "\n")
    asked = subprocess.run(
        ["git", "-c", f"core.excludesFile={root / 'rules'}", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=root,
        env={**os.environ, "GIT_DIR": str(make_repository(root))},
        capture_output=True,
        check=True,
    )
    kept = set(asked.stdout.decode().split("\0")) - {"", "rules"}
    lines = (root / "rules").read_text().splitlines()
    assert set(names(root, ignore=tuple(lines), hidden=True)) - {"rules"} == kept


def make_repository(root):
    place = root.parent / f"{root.name}.repository"
    subprocess.run(["git", "init", "--quiet", "--bare", place], check=True)
    subprocess.run(["git", f"--git-dir={place}", "config", "core.bare", "false"], check=True)
    return place


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        (["*.log"], "deep/er/a.log", True),
        (["*.log", "!keep.log"], "keep.log", False),
        (["/top"], "below/top", False),
        (["doc/*.txt"], "doc/a.txt", True),
        (["doc/*.txt"], "doc/sub/a.txt", False),
        (["**/x"], "a/b/x", True),
        (["a/**/b"], "a/b", True),
        (["a/**/b"], "a/x/y/b", True),
        (["a/**"], "a/x/y", True),
        ([r"\#a", r"\!b"], "#a", True),
        (["[a-c]x"], "bx", True),
        (["[!a-c]x"], "bx", False),
        (["# a comment", "", "  "], "a", False),
        (["trailing  "], "trailing", True),
        (["[[:digit:]]*"], "1st", True),
        (["[[:digit:]]*"], ":]st", False),
        (["[![:space:][:upper:]]"], "X", False),
        (["[[:none:]]"], "n", False),
        ([r"[\[x]"], "\\", False),
    ],
)
def test_ignore_rules_by_example(rules, path, ignored):
    assert IgnoreRules(rules).ignores(path, directory=False) is ignored


def test_a_rule_for_directories_spares_files():
    rules = IgnoreRules(["build/"])
    assert rules.ignores("build", directory=True)
    assert not rules.ignores("build", directory=False)


# Decoding --------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=200)


@given(TEXTS)
def test_utf8_is_taken_at_its_word(text):
    assert decode(text.encode("utf-8"))[0] in (text, text.removeprefix("\ufeff"))


@given(TEXTS, st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_a_mark_says_which_encoding_it_is(text, encoding):
    assert decode(text.encode(encoding)) == (text, encoding)


@pytest.mark.promise("text-or-refused")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # unicode_escape has opinions on backslashes
@given(st.binary(max_size=400), st.sampled_from([None, "latin-1", "shift_jis", "unicode_escape", "utf-7", "idna"]))
def test_any_bytes_are_text_or_refused_and_never_hold_what_cannot_be_written(data, declared):
    try:
        text, encoding = decode(data, declared)
    except UndecodableError:
        return
    assert "\0" not in text
    text.encode("utf-8")
    assert encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text", ["The river runs.\nThe boat waits.", "Река течёт, лодка ждёт.", "昨日の夕方、\n川へ行きました。 ok"]
)
def test_utf16_and_utf32_need_no_mark_when_there_is_one_reading(encoding, text):
    assert decode(text.encode(encoding)) == (text, encoding)


@pytest.mark.promise("binary")
@pytest.mark.parametrize("data", [b"\x7fELF\2\1\1\0\0\0\0\0", b"a\0b\0", bytes(64), b"PK\3\4\0\0\0\0", b"\0", b"ab\0c"])
def test_nul_bytes_that_nothing_explains_are_binary(data):
    with pytest.raises(UndecodableError, match="binary file"):
        decode(data)


def test_what_is_declared_comes_before_detection_and_after_utf8():
    assert decode("naïve".encode("cp850"), "cp850") == ("naïve", "cp850")
    assert decode("naïve".encode(), "cp850") == ("naïve", "utf-8")
    assert decode("川へ".encode("iso2022_jp"), "iso2022_jp") == ("川へ", "iso2022_jp")


@given(TEXTS)
def test_tidying_makes_line_endings_and_normal_forms_one(text):
    expected = tidy(text)
    assert unicodedata.is_normalized("NFC", expected)
    assert tidy(unicodedata.normalize("NFD", text)) == expected
    assert tidy(text.replace("\n", "\r\n")) == expected
    assert tidy(expected) == expected


@given(st.randoms(use_true_random=False), st.integers(100, 900))
def test_tidying_in_stretches_is_tidying_at_once(random, size):
    text = "".join(random.choices("a é각\u0301\u0316\u1161\u11a8ক\u09be\n", k=size))
    longest = max(len(run) for run in "".join(c if unicodedata.category(c)[0] == "M" else " " for c in text).split(" "))
    if longest < 30:
        assert tidy(text) == unicodedata.normalize("NFC", text)


# Reading ---------------------------------------------------------------------------------------------------------


def test_a_digest_is_the_one_that_reading_gives(tmp_path):
    touch(tmp_path, "a")
    found = DiscoveredFile(str(tmp_path / "a"))
    assert digest(found) == read(found).sha256
    assert digest(DiscoveredFile(str(tmp_path / "none"))) is None
    assert digest(DiscoveredFile("x", "a problem")) is None


def test_size_is_bounded_before_and_while_reading(tmp_path):
    (tmp_path / "big").write_bytes(b"a" * 100)
    assert "larger than 99 bytes" in read(DiscoveredFile(str(tmp_path / "big")), ReadOptions(max_bytes=99)).reason
    assert read(DiscoveredFile(str(tmp_path / "big")), ReadOptions(max_bytes=100)).encoding == "utf-8"


def test_lists_of_paths_are_lines_or_nul_separated(tmp_path):
    def listed(data):
        (tmp_path / "list").write_bytes(data)
        with (tmp_path / "list").open("rb") as stream:
            return list(listed_paths(stream))

    assert listed(b"a\nb c\n\n\xff\nlast") == ["a", "b c", "\udcff", "last"]
    assert listed(b"a\nb\0c\0") == ["a\nb", "c"]
    assert listed(b"".join(b"%06d\n" % n for n in range(50_000)))[::10_000] == [
        f"{n:06}" for n in range(0, 50_000, 10_000)
    ]
    assert listed(b"") == []
    with pytest.raises(AuthoridError, match="not a list of paths"):
        listed(b"x" * 3_000_000)


def test_a_list_is_read_as_it_comes():
    inbox, outbox = os.pipe()
    with io.FileIO(inbox) as stream, io.FileIO(outbox, "w") as writer:
        writer.write(b"".join(b"%04d\n" % n for n in range(2000)))
        paths = listed_paths(stream)
        assert next(paths) == "0000"


@pytest.mark.promise("prompt-rows")
@pytest.mark.parametrize(("parts", "paths"), [([b"a\n", b"b c\n"], ["a", "b c"]), ([b"a\nb", b"\0c\0"], ["a\nb", "c"])])
def test_a_line_does_not_wait_for_the_next_one(parts, paths):
    inbox, outbox = os.pipe()
    left = list(paths)
    found: queue.SimpleQueue[str] = queue.SimpleQueue()
    with io.FileIO(inbox) as stream, io.FileIO(outbox, "w") as writer:
        reader = threading.Thread(target=lambda: [found.put(path) for path in listed_paths(stream)], daemon=True)
        reader.start()
        for part in parts:
            writer.write(part)
            time.sleep(0.05)
            if part.endswith(b"\n"):
                assert found.get(timeout=20) == left.pop(0)
        writer.close()
        reader.join(timeout=20)
        assert [found.get(timeout=20) for _ in left] == left


# Patience --------------------------------------------------------------------------------------------------------


def test_patience_gives_results_and_errors_back():
    with Patience(5) as patience:
        assert patience.call(lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            patience.call(lambda: 1 // 0)


def test_what_hangs_is_left_behind_and_not_for_ever():
    release = threading.Event()
    with Patience(0.05, most=2) as patience:
        for _ in range(2):
            with pytest.raises(TimeoutError, match="no answer within"):
                patience.call(release.wait)
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="not tried"):
            patience.call(release.wait)
        assert time.monotonic() - started < 0.04
        release.set()
        time.sleep(0.1)
        assert patience.call(lambda: "again") == "again"
