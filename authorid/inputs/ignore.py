"""Rules in the manner of ``.gitignore``: which paths below a directory to pass over."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["IgnoreRules"]


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    keep: bool
    only_directories: bool


class IgnoreRules:
    """The lines of an ignore file.

    As git has it: blank lines and ``#`` comments mean nothing; the last rule that matches decides, and ``!`` makes
    it keep; a slash at the end matches directories only; a slash at the beginning or in the middle ties a rule to
    the top, otherwise it matches at any depth; ``*``, ``?`` and ``[..]``, which may hold classes such as
    ``[:digit:]``, stop at slashes, ``**`` does not. What lies below an ignored directory is never looked at, so no
    later rule can keep it.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = [rule for line in lines if (rule := _parse(line)) is not None]

    def ignores(self, relative: str, *, directory: bool) -> bool:
        """Whether to pass over `relative`, a path below the directory that is walked."""
        for rule in reversed(self._rules):
            if (directory or not rule.only_directories) and rule.pattern.fullmatch(relative):
                return not rule.keep
        return False


def _parse(line: str) -> _Rule | None:
    line = re.sub(r"(?<!\\) +$", "", line.rstrip("\n"))
    if not line or line.startswith("#"):
        return None
    keep = line.startswith("!")
    if keep:
        line = line[1:]
    only_directories = line.endswith("/")
    line = line.removesuffix("/")
    if not line:
        return None
    anchored = "/" in line
    try:
        pattern = re.compile(("" if anchored else "(?:.*/)?") + _regex(line.removeprefix("/")), re.DOTALL)
    except re.error:
        return None  # such as [[:none:]], or [a without an end: it matches nothing
    return _Rule(pattern, keep, only_directories)


_TOKEN = re.compile(
    r"(?P<above>^\*\*/)|(?P<between>/\*\*(?=/))|(?P<below>/\*\*$)|(?P<star>\*+)|(?P<any>\?)"
    r"|\[(?P<not>[!^]?)(?P<set>(?>\[:[^\]]*:\]|\]|\\.|[^\]\\])(?>\[:[^\]]*:\]|\\.|[^\]\\])*+)\]"
    r"|\\(?P<escaped>.)|(?P<open>\[)|(?P<literal>.)",
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
    parts = []
    for token in _TOKEN.finditer(glob):
        match token.lastgroup:
            case "above":
                parts.append("(?:.*/)?")
            case "between":
                parts.append("(?:/.*)?")
            case "below":
                parts.append("/.+")
            case "star":
                parts.append("[^/]*")
            case "any":
                parts.append("[^/]")
            case "set":
                members = "".join(_member(member) for member in _MEMBER.finditer(token["set"]))
                parts.append(f"(?!/)[{'^' if token['not'] else ''}{members}]")
            case "open":
                raise re.error("a set without an end")
            case kind:
                parts.append(re.escape(token[kind or "literal"]))
    return "".join(parts)


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
