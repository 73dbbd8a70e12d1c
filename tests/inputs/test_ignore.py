from __future__ import annotations

import os
import subprocess
import time

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from authorid.inputs.discovery import walk
from authorid.inputs.documents import ReadOptions
from authorid.inputs.ignore import IgnoreRules


def names(root, **options):
    return [file.below for file in walk([root], ReadOptions(**options))]


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("the river\n")


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
@example(patterns=["**/**/b", "d/***/a"])
@example(patterns=["/*a*b*", "d*/**"])
@example(patterns=["d/*", "!d/b", "d/b/**"])
@example(patterns=["[b-a]", "d/[b-a.]", r"[[\-b]a", r"d/[a\-\b]"])
def test_ignore_rules_match_what_git_ignores(tmp_path_factory, patterns):
    root = tmp_path_factory.mktemp("git")
    paths = ["a", "b", "ab", "a.b", "d/a", "d/b/a", "d/ab", "b-a/b", "#a", "!b", "[a", "]"]
    touch(root, *paths)
    (root / "rules").write_text("\n".join(patterns) + "\n")
    listed = subprocess.run(
        ["git", "-c", f"core.excludesFile={root / 'rules'}", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=root,
        env={**os.environ, "GIT_DIR": str(make_repository(root))},
        capture_output=True,
        check=True,
    )
    kept = set(listed.stdout.decode().split("\0")) - {"", "rules"}
    lines = (root / "rules").read_text().splitlines()
    assert set(names(root, ignore=tuple(lines), hidden=True)) - {"rules"} == kept


def make_repository(root):
    repository = root.parent / f"{root.name}.repository"
    subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
    subprocess.run(["git", f"--git-dir={repository}", "config", "core.bare", "false"], check=True)
    return repository


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


def test_a_rule_for_directories_does_not_apply_to_files():
    rules = IgnoreRules(["build/"])
    assert rules.ignores("build", directory=True)
    assert not rules.ignores("build", directory=False)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("*_*_*_*_*.bak", "_" * 255),
        ("*?" * 100 + "b", "a" * 255),
        ("[ab]*" * 60 + "c", "ab" * 127),
        ("**/*a*/" * 12 + "b", "a/" * 2000 + "a"),
        ("/" + "*/" * 50 + "*a*a*a*b", "a/" * 2000 + "a" * 200),
        ("x/**/" * 500 + "b", "x/" * 2000),
        ("a\\" + " " * 100_000 + "x", "a"),
    ],
)
def test_no_rule_makes_a_match_slow(rule, path):
    started = time.process_time()
    assert not IgnoreRules([rule]).ignores(path, directory=False)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("glob", ["*a*a*a*a*b", "*" * 500 + "b", "*a" * 500 + "b", "[a-b]*?" * 500 + "c"])
@pytest.mark.parametrize("option", ["include", "exclude"])
def test_no_glob_makes_a_match_slow(tmp_path, glob, option):
    touch(tmp_path, "a" * 255)
    started = time.process_time()
    assert len(names(tmp_path, **{option: (glob,)})) == (option == "exclude")
    assert time.process_time() - started < 2


GLOB_PARTS = st.lists(st.sampled_from(["a", "b", "*", "?", "/", "**/", "/**/", "[ab]"]), min_size=1, max_size=9)


def matches_slowly(glob, path):
    """The definition of a glob, by trying every possibility."""
    if not glob:
        return not path
    if glob.startswith("**/"):
        rest = path.partition("/")[2] if "/" in path else None
        return matches_slowly(glob[3:], path) or (rest is not None and matches_slowly(glob, rest))
    if glob[0] == "*":
        stops = range(len(path.partition("/")[0]) + 1)
        return any(matches_slowly(glob.lstrip("*"), path[stop:]) for stop in stops)
    if glob.startswith("[ab]"):
        return path[:1] in ("a", "b") and matches_slowly(glob[4:], path[1:])
    if glob[0] == "?":
        return path[:1] not in ("", "/") and matches_slowly(glob[1:], path[1:])
    return path[:1] == glob[0] and matches_slowly(glob[1:], path[1:])


# Most lists of parts are no glob with a slash; how many of them come first is chance.
@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(GLOB_PARTS, st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_match_that_never_backtracks_finds_what_backtracking_finds(parts, path):
    glob = "/".join(part for part in "".join(parts).split("/") if part)
    stars = [part for part in glob.split("/") if "**" in part]
    assume("/" in glob and not glob.endswith("**") and all(part == "**" for part in stars))
    assert IgnoreRules([glob]).ignores("/".join(path), directory=False) == matches_slowly(glob, "/".join(path))
