"""``python -m bench.encodings``: how often the encoding of a text is detected, by language and encoding.

It needs the package wordfreq, whose lists of common words make the texts, and charset-normalizer for comparison. A
reading is right if every character is. The table goes to bench/results/encodings.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import accumulate, count
from pathlib import Path

from authorid.inputs.decoding import decode
from bench.encoding_texts import ENCODINGS, TEXTS, encoded

__all__ = ["main"]

SIZES = (300, 800, 2_000, 4_000)
TARGET = Path(__file__).resolve().parent / "results" / "encodings.md"

Decoder = Callable[[bytes], "str | None"]


@dataclass(frozen=True, slots=True)
class Score:
    """How many of `texts` in one encoding each system read without a wrong character."""

    language: str
    encoding: str
    texts: int
    right: Mapping[str, int]


def main() -> int:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.encodings", description=__doc__)
    parser.add_argument("--seeds", type=int, default=6, help="generated texts for each size (%(default)s)")
    parser.add_argument("--before", type=Path, help="another version of authorid/inputs/decoding.py, to compare with")
    parser.add_argument("--out", type=Path, default=TARGET, help="%(default)s")
    options = parser.parse_args()
    systems = _systems(options.before)
    seconds = dict.fromkeys(systems, 0.0)
    scores = []
    for language, encodings in ENCODINGS.items():
        for encoding in encodings:
            scores.append(_score(language, encoding, options.seeds, systems, seconds))
            sys.stderr.write(f"{language} {encoding} {dict(scores[-1].right)} of {scores[-1].texts}\n")
    options.out.write_text(_table(scores, seconds), "utf-8")
    return 0


def _systems(before: Path | None) -> dict[str, Decoder]:
    systems: dict[str, Decoder] = {}
    if before is not None:
        spec = importlib.util.spec_from_file_location("decoding_before", before)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        systems["before"] = lambda data: _text(module.decode, data)
    return {**systems, "charset-normalizer": _charset_normalizer, "chardet": _chardet, "authorid": _authorid}


def _text(function: Callable[[bytes], tuple[str, str]], data: bytes) -> str | None:
    try:
        return function(data)[0]
    except ValueError:
        return None


def _authorid(data: bytes) -> str | None:
    return _text(decode, data)


def _charset_normalizer(data: bytes) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    return None if best is None else str(best)


def _chardet(data: bytes) -> str | None:
    import chardet

    encoding = chardet.detect(data, compat_names=False)["encoding"]
    return None if encoding is None else data.decode(encoding, "replace")


def _score(
    language: str, encoding: str, seeds: int, systems: Mapping[str, Decoder], seconds: dict[str, float]
) -> Score:
    right = dict.fromkeys(systems, 0)
    texts = 0
    for data, text in _cases(language, encoding, seeds):
        texts += 1
        for name, system in systems.items():
            start = time.perf_counter()
            found = system(data)
            seconds[name] += time.perf_counter() - start
            right[name] += found == text
    return Score(language, encoding, texts, right)


def _cases(language: str, encoding: str, seeds: int) -> Iterator[tuple[bytes, str]]:
    """The text that was written for this project, and `seeds` generated ones of each size."""
    yield encoded(TEXTS[language], encoding)
    for size in SIZES:
        found = 0
        for seed in count():
            data, text = encoded(_generated(language, size, seed), encoding)
            if data != text.encode("ascii", "ignore"):  # there is something to detect
                yield data, text
                found += 1
                if found == seeds:
                    break


_WORDS = 3_000

_WORD_LISTS = {"zh-hans": "zh", "zh-hant": "zh", "no": "nb", "hr": "sh"}


@cache
def _vocabulary(language: str) -> tuple[list[str], list[float]]:
    """Common words, and their cumulative weights as by Zipf's law."""
    from wordfreq import top_n_list

    try:
        words = top_n_list(_WORD_LISTS.get(language, language), _WORDS)
    except LookupError:  # Estonian and Thai have no list
        words = TEXTS[language].split()
    words = [word for word in words if all(_has(encoding, word) for encoding in ENCODINGS[language])]
    return words, list(accumulate(1 / (rank + 2) for rank in range(len(words))))


def _has(encoding: str, word: str) -> bool:
    """True if `encoding` has the characters of `word`: the list for Chinese has simplified and Cyrillic ones too."""
    if encoding == "big5" and not re.fullmatch("[\u4e00-\u9fff]+", word):
        return False
    return encoded(word, encoding)[1].casefold() == word.casefold() or encoding == "cp1258"


def _generated(language: str, size: int, seed: int) -> str:
    """About `size` characters of sentences without a meaning."""
    words, weights = _vocabulary(language)
    chooser = random.Random(f"{language} {size} {seed}")
    spaced = language not in ("ja", "zh-hans", "zh-hant")
    space, comma, stop = (" ", ",", ".") if spaced else ("", "\u3001", "\u3002")
    sentences: list[str] = []
    while sum(map(len, sentences)) < size:
        chosen = chooser.choices(words, cum_weights=weights, k=chooser.randint(5, 18))
        chosen[0] = chosen[0][:1].upper() + chosen[0][1:]
        marked = [word + comma if chooser.random() < 0.08 else word for word in chosen[:-1]]
        if spaced and chooser.random() < 0.2:
            marked[1] = f"\u201c{marked[1]}\u201d"
        sentences.append(space.join([*marked, chosen[-1]]) + stop + space)
    return "".join(sentences).strip()


def _table(scores: list[Score], seconds: Mapping[str, float]) -> str:
    systems = list(seconds)
    texts = sum(score.texts for score in scores)
    packages = ", ".join(f"{name} {version(name)}" for name in ("chardet", "charset-normalizer", "wordfreq"))
    lines = [
        f"Texts read without a wrong character, by language and encoding ({packages}).",
        "",
        f"| language | encoding | texts | {' | '.join(systems)} |",
        "|---|---|" + "---:|" * (len(systems) + 1),
    ]
    for score in scores:
        right = " | ".join(str(score.right[name]) for name in systems)
        lines.append(f"| {score.language} | {score.encoding} | {score.texts} | {right} |")
    sums = " | ".join(str(sum(score.right[name] for score in scores)) for name in systems)
    times = " | ".join(f"{1000 * seconds[name] / texts:.1f}" for name in systems)
    lines += [f"| all | | {texts} | {sums} |", f"| milliseconds a text | | | {times} |"]
    return "\n".join(lines) + "\n\n" + _families(scores, systems)


_FAMILIES = (
    ("Windows", ("cp12", "cp87", "cp93", "cp94")),
    ("ISO-8859", ("iso8859",)),
    ("DOS", ("cp8",)),
    ("Mac", ("mac",)),
)


def _family(encoding: str) -> str:
    return next((name for name, beginnings in _FAMILIES if encoding.startswith(beginnings)), "other")


def _families(scores: list[Score], systems: list[str]) -> str:
    """A row for each language: what the first system, charset-normalizer and authorid read right, and of how many."""
    compared = [systems[0], "charset-normalizer", "authorid"]
    families = [*(name for name, _ in _FAMILIES), "other"]
    lines = [f"|language|{'|'.join(families)}|", "|---|" + "---:|" * len(families)]
    for language in ENCODINGS:
        cells = []
        for family in families:
            found = [score for score in scores if score.language == language and _family(score.encoding) == family]
            right = [str(sum(score.right[name] for score in found)) for name in compared]
            cells.append("/".join(right) + f":{sum(score.texts for score in found)}" if found else "")
        lines.append(f"|{language}|{'|'.join(cells)}|")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
