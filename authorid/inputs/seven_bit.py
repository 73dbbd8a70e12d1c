"""Seven-bit encodings: text whose bytes are all ASCII, and whose other characters are written with escapes.

These are the ISO 2022 family, HZ and UTF-7. Ordinary ASCII contains their escapes by accident, so an encoding is
accepted only if all its escapes are well-formed and give text that somebody could have written.
"""

from __future__ import annotations

import base64
import re

from authorid.inputs.damage import decode_replacing
from authorid.inputs.undecodable import UndecodableError

__all__ = ["decode_seven_bit"]


def decode_seven_bit(data: bytes) -> tuple[str, str, int] | None:
    """The text of `data`, its encoding, and how many bytes were replaced; None if `data` is plain ASCII.

    Raises `UndecodableError` if `data` is in an encoding of this kind for which there is no decoder.
    """
    if b"\x1b" in data and (designation := _DESIGNATION.search(data)):
        return _iso2022(data, designation.start())
    if b"~" in data and b"~{" in data and (found := _hz(data)) is not None:
        return found
    if b"+" in data:
        return _utf7(data)
    return None


_DESIGNATION = re.compile(rb"\x1b(?:\$(?:[@AB]|[()*+][@A-Q])|\([IJ]|\.[AF])")
"""ISO 2022: the escape sequences that choose a character set other than ASCII."""

_ISO2022 = ("iso2022_jp", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_ext", "iso2022_kr", "iso2022_cn")

_TEXT_PER_DAMAGE = 10

_EVIDENCE = 64 * 1024
"""An encoding is recognized by so many bytes from the first escape on."""


def _iso2022(data: bytes, start: int) -> tuple[str, str, int] | None:
    taiwanese = _TAIWANESE.search(data)
    if taiwanese and _SHIFT.search(data, taiwanese.end()):
        raise UndecodableError("ISO-2022-CN with characters of CNS 11643, for which there is no decoder")

    def merit(encoding: str) -> int:
        reading = _decode(data[start : start + _EVIDENCE], encoding)
        return -1 if reading is None else _characters(reading[0]) - _TEXT_PER_DAMAGE * reading[1]

    best = max(_ISO2022, key=merit)
    return None if merit(best) <= 0 else _accepted(data, best)


def _decode(data: bytes, encoding: str) -> tuple[str, int] | None:
    limit = len(data) // _TEXT_PER_DAMAGE + 1
    return _decode_iso2022_cn(data, limit) if encoding == "iso2022_cn" else decode_replacing(data, encoding, limit)


def _accepted(data: bytes, encoding: str) -> tuple[str, str, int] | None:
    reading = _decode(data, encoding)
    if reading is None or _characters(reading[0]) <= _TEXT_PER_DAMAGE * reading[1]:
        return None
    return reading[0], encoding, reading[1]


def _characters(text: str) -> int:
    return len(text) - len(text.encode("ascii", "ignore")) - text.count("\ufffd")


_TAIWANESE = re.compile(rb"\x1b\$(?:\)[G-M]|\*H)")
_SHIFT = re.compile(rb"\x0e|\x1bN")

_SHIFTS = re.compile(rb"\x1b\$\)(.)|(\x0e)|(\x0f)|(\n)")


def _decode_iso2022_cn(data: bytes, limit: int) -> tuple[str, int] | None:
    """`data` as ISO-2022-CN, which Python has no codec for: GB 2312 after SO, ASCII after SI and in a new line."""
    parts: list[str] = []
    replaced, start, shifted, chinese = 0, 0, False, False
    for match in [*_SHIFTS.finditer(data), None]:
        run = data[start : match.start() if match else len(data)]
        encoding = "ascii"
        if shifted:
            run = bytes(byte | 0x80 for byte in run)
            encoding = "gb2312" if chinese else "ascii"
        reading = decode_replacing(run, encoding, limit - replaced)
        if reading is None:
            return None
        parts.append(reading[0])
        replaced += reading[1]
        if match is None:
            break
        if match[1]:
            chinese = match[1] == b"A"
        elif match[4]:
            parts.append("\n")
        shifted = bool(match[2]) or (shifted and bool(match[1]))
        start = match.end()
    return "".join(parts), replaced


_HZ_RUN = re.compile(rb"~\{(.*?)(?:~\}|\Z)", re.DOTALL)

_LEAST_HANZI = 3


def _hz(data: bytes) -> tuple[str, str, int] | None:
    """`data` as HZ, which has pairs of ASCII characters for Chinese ones between ``~{`` and ``~}``; or None."""
    start = data.index(b"~{")
    runs = _HZ_RUN.findall(data[start : start + _EVIDENCE])
    pairs = [run[index : index + 2] for run in runs for index in range(0, len(run), 2)]
    # In Chinese text most pairs begin with a character from "!" to ")" (punctuation) or "0" to "W" (common hanzi), and
    # any character comes second. Between braces, ASCII text has names: lower-case letters, or letters only.
    common = sum(0x21 <= pair[0] <= 0x29 or 0x30 <= pair[0] <= 0x57 for pair in pairs)
    if len(pairs) < _LEAST_HANZI or common * 5 < len(pairs) * 4 or re.fullmatch(rb"[\w .-]*", b"".join(pairs)):
        return None
    return _accepted(data, "hz")


_UTF7_RUN = re.compile(rb"([a-z]?)\+([A-Za-z0-9+/]*)(-?)")

_LATIN = re.compile("[\u00a1-\u024f\u0300-\u036f\u1e00-\u1eff\u2010-\u203a\u20ac\u2122]+")
"""Letters and punctuation of languages that are written in Latin letters."""

_SCRIPTS = tuple(
    re.compile(f"[{ranges}]+")
    for ranges in (
        "\u0370-\u03ff\u1f00-\u1fff",  # Greek
        "\u0400-\u052f",
        "\u0530-\u058f",
        "\u0590-\u05ff",  # Hebrew
        "\u0600-\u06ff\u0750-\u077f\u200c-\u200f",
        "\u0900-\u0dff\u200c\u200d",
        "\u0e00-\u0eff",
        "\u10a0-\u10ff",
        "\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef",  # Chinese and Japanese
        "\u3000-\u303f\uac00-\ud7a3\uff00-\uffef",  # Korean
    )
)
"""Scripts of which a whole text in UTF-7 is written, apart from Latin letters; they are never mixed."""

_WHOLE = 8
"""So many characters of Base64 are three characters of UTF-16."""

_CUT_RUN = 64
"""The most bytes of a run that the cut end of a long document may leave."""

_SCRIPT_SHARE = 4
"""Text in another script has at least one byte in so many within the runs."""


def _utf7(data: bytes) -> tuple[str, str, int] | None:
    """`data` as UTF-7, which has UTF-16 in Base64 between ``+`` and ``-`` or another character; or None."""
    start = data.index(b"+")
    runs: list[bytes] = []
    texts: list[str] = []
    attached = cut = 0
    for match in _UTF7_RUN.finditer(data, max(0, start - 1)):
        if match.start() > start + _EVIDENCE:
            break
        before, run, dash = match.groups()
        if dash and not run:
            continue  # "+-" is a plus sign
        text = _utf16(run)
        if text is None and match.end() == len(data) and not dash:
            cut = len(run) % _WHOLE
            run = run[: len(run) - cut]
            text = _utf16(run)
            if not run:
                cut += 1  # the plus sign
                break
        if not text or re.search(r"[\x00-\x1fA-Za-z0-9]", text):
            return None
        runs.append(run)
        texts.append(text)
        attached += bool(before)
    share = sum(map(len, runs)) / min(len(data) - start, _EVIDENCE)
    # Words after a plus sign are often all in lower case; what encoders write has capitals.
    if b"".join(runs).islower() or not _is_written("".join(texts), len(runs), attached, share):
        return None
    reading = decode_replacing(data[: len(data) - cut], "utf-7", limit=0 if cut else _CUT_RUN)
    return None if reading is None else (reading[0] + "\ufffd" * cut, "utf-7", reading[1] + cut)


def _utf16(run: bytes) -> str | None:
    """The characters of a run of Base64 as encoders write it; None if it is something else."""
    units, rest = divmod(len(run) * 6, 16)
    if rest >= 6 or not units:
        return None
    raw = base64.b64decode(run + b"A" * (-len(run) % 4))
    if any(raw[2 * units :]):
        return None  # the bits that are left over must be zero
    try:
        return raw[: 2 * units].decode("utf-16-be")
    except UnicodeDecodeError:
        return None


def _is_written(text: str, runs: int, attached: int, share: float) -> bool:
    """True if somebody could have written the `text` of all `runs`, of which `attached` follow a small letter.

    `share` is that of the runs in the document.
    """
    foreign = _LATIN.sub("", "".join(character for character in text if not character.isascii()))
    if foreign:
        return share * _SCRIPT_SHARE >= 1 and any(script.fullmatch(foreign) for script in _SCRIPTS)
    return not text.isascii() and (runs > 1 or attached > 0)
