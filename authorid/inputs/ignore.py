"""Rules in the style of ``.gitignore``: which paths below a directory to leave out.

Rules come from files that may be hostile, and a match that takes exponential time cannot be interrupted. So every
``*`` and ``**`` except the last one in its part of a pattern becomes an atomic group that takes the shortest match and
never gives it back. That is enough: a longer match would only leave less of the path for the rest of the pattern. The
time for one match is at most proportional to the length of the path times the length of the pattern, once for each
directory in the path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["IgnoreRules"]


class _Rule(NamedTuple):
    """One line of an ignore file. `pattern` matches a whole path, or a whole name if `only_name` is set."""

    pattern: re.Pattern[str]
    only_name: bool
    only_directories: bool
    keep: bool


class IgnoreRules:
    """The lines of an ignore file, with the meaning that git gives them.

    Blank lines and ``#`` comments are skipped. The last rule that matches decides; ``!`` makes it keep the path. A
    slash at the end restricts a rule to directories. A slash at the beginning or in the middle anchors a rule at the
    top; other rules match at any depth. ``*``, ``?`` and ``[..]``, which may contain classes such as ``[:digit:]``, do
    not match slashes; ``**`` does. What lies below an ignored directory is never looked at, so that no later rule can
    keep it.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = [rule for line in lines if (rule := _parse(line)) is not None]

    def ignores(self, relative: str, *, directory: bool) -> bool:
        """Whether to leave out `relative`, a path below the directory that is walked."""
        name = relative.rpartition("/")[2]
        for rule in reversed(self._rules):
            if (directory or not rule.only_directories) and rule.pattern.fullmatch(
                name if rule.only_name else relative
            ):
                return not rule.keep
        return False


def _parse(line: str) -> _Rule | None:
    line = line.rstrip("\n")
    bare = line.rstrip(" ")
    if bare.endswith("\\") and bare != line:
        bare += " "  # an escaped space belongs to the name
    line = bare
    if not line or line.startswith("#"):
        return None
    keep = line.startswith("!")
    if keep:
        line = line[1:]
    only_directories = line.endswith("/")
    line = line.removesuffix("/")
    if not line:
        return None
    try:
        pattern = re.compile(_regex(line.removeprefix("/")), re.DOTALL)
    except re.error:
        return None  # such as [[:none:]], or [a without an end: it matches nothing
    return _Rule(pattern, "/" not in line, only_directories, keep)


_TOKEN = re.compile(
    r"(?P<above>^(?:\*{2,}/)+)|(?P<between>/(?:\*{2,}/)+)|(?P<below>/\*{2,}$)|(?P<slash>\\?/)"
    r"|(?P<star>\*+)|(?P<any>\?)"
    r"|\[(?P<not>[!^]?)(?P<set>(?>\[:[^\]]*:\]|\]|\\.|[^\]\\])(?>\[:[^\]]*:\]|\\.|[^\]\\])*+)\]"
    r"|\\(?P<escaped>.)|(?P<open>\[)|(?P<literal>[^*?\[\\/]+|.)",
    re.DOTALL,
)

_MEMBER = re.compile(r"\[:(?P<class>[^\]]*):\]|\\?+(?P<first>.)-\\?+(?P<last>.)|\\?+(?P<one>.)", re.DOTALL)

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\t\ ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r"\t\n\r\ ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
"""The classes that git knows, as members of a Python set."""


def _regex(glob: str) -> str:
    """The regular expression for a whole path. Raises `re.error` if the glob is malformed and so matches nothing."""
    result = ""
    segments = [[""]]  # of each segment between slashes, the parts between its stars
    any_depth = below = False
    for token in _TOKEN.finditer(glob):
        match token.lastgroup:
            case "above":
                any_depth = True
            case "between":
                result += _block(segments, "/", any_depth=any_depth)
                segments, any_depth = [[""]], True
            case "below":
                below = True
            case "slash":
                segments.append([""])
            case "star":
                segments[-1].append("")
            case _:
                segments[-1][-1] += _characters(token)
    return result + _block(segments, "/.+" if below else r"\Z", any_depth=any_depth)


def _block(segments: list[list[str]], end: str, *, any_depth: bool) -> str:
    """Consecutive segments and their `end`; with `any_depth`, below any number of directories."""
    block = "/".join(map(_segment, segments)) + end
    return f"(?>(?:[^/]*+/)*?{block})" if any_depth else block


def _segment(parts: list[str]) -> str:
    """One segment: its `parts`, with any characters between them, up to the next slash or the end."""
    first, *rest = parts
    if rest:
        *middle, last = rest
        first += "".join(f"(?>[^/]*?{part})" for part in middle) + f"[^/]*{last}"
    return f"(?>{first}(?![^/]))"


def _characters(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "any":
            return "[^/]"
        case "set":
            members = "".join(_member(member) for member in _MEMBER.finditer(token["set"]))
            return f"(?!/)[{'^' if token['not'] else ''}{members}]"
        case "open":
            raise re.error("a set without an end")
        case kind:
            return re.escape(token[kind or "literal"])


def _member(member: re.Match[str]) -> str:
    match member.lastgroup:
        case "class" if member["class"] in _CLASSES:
            return _CLASSES[member["class"]]
        case "class":
            raise re.error("no such class")
        case "last" if member["first"] > member["last"]:
            return re.escape(member["first"])
        case "last":
            return f"{re.escape(member['first'])}-{re.escape(member['last'])}"
        case _:
            return re.escape(member["one"])
