"""Reading a ``tokenizer.json``, which may come from a stranger.

Such a file describes a program: normalizers that replace text, patterns that backtrack, templates that repeat tokens. A
hostile one turns a short document into gigabytes of text, or never ends. Only the parts that tokenizers of encoders
consist of are accepted (WordPiece, byte-level BPE, Unigram), within limits in which they take time and memory in
proportion to the text. A file that was accepted once is known by its digest (`authorid.encoder.cache`): looking through
a vocabulary takes longer than scoring a document.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tokenizers import Tokenizer

from authorid.encoder.cache import read_entry, write_entry
from authorid.version import __version__

__all__ = ["parse_tokenizer", "read_tokenizer"]

_NORMALIZERS = frozenset(
    (
        "BertNormalizer",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Nmt",
        "Precompiled",
        "Replace",
        "Strip",
        "StripAccents",
    )
)
_PRE_TOKENIZERS = frozenset(
    ("BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit")
)
_POST_PROCESSORS = frozenset(("BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing"))

_MAX_STEPS = 8
"""Normalizers, pre-tokenizers or post-processors in a sequence."""

_MAX_WORD = 200
"""Characters in a word that WordPiece splits into tokens: the time grows with the square of it. BERT has 100."""

_MAX_AFFIX = 16
"""Characters in a prefix or suffix of tokens, and in the sign for a space; BERT has ``##``."""

_MAX_REPLACEMENT = 64
"""Bytes by which a table of replacements may replace a character; Unicode's own (NFKC) has at most 33."""

_SPACES = (" {2,}", r"\s+")
"""Patterns that may be replaced by a single character."""


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in the file `path`.

    Raises `ValueError` when it cannot be read, or when it has parts that no tokenizer of an encoder needs.
    """
    try:
        content = path.read_bytes()
        key = hashlib.sha256(__version__.encode() + b"\0" + content).hexdigest()[:32]
        accepted = read_entry("tokenizer", key) is not None
        tokenizer = parse_tokenizer(content.decode("utf-8"), accepted=accepted)
        if not accepted:
            write_entry("tokenizer", key, {"accepted": True})
        return tokenizer
    except OSError as error:
        raise ValueError(error.strerror) from None


def parse_tokenizer(text: str, *, accepted: bool = False) -> Tokenizer:
    """The tokenizer that `text`, the content of a tokenizer.json, describes; not checked again if it was `accepted`.

    Raises `ValueError` like `read_tokenizer`.
    """
    try:
        if not accepted:
            _check(json.loads(text, object_pairs_hook=_without_duplicates))
        return Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except BaseException as error:  # tokenizers raises bare Exception; a Rust panic is a BaseException
        raise ValueError(str(error)) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two equal keys, the tokenizer might use another one than the checks do."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("the same key twice in one object")
    return record


def _check(record: Any) -> None:
    """Raise `ValueError` unless `record` describes a tokenizer of an encoder."""
    record = _object(record, "file")
    _check_model(_object(record.get("model"), "model"))
    for step in _steps(record.get("normalizer"), "normalizer", "normalizers", _NORMALIZERS):
        _check_normalizer(step)
    for step in _steps(record.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS):
        _check_affixes(step, "replacement")
    for step in _steps(record.get("post_processor"), "post_processor", "processors", _POST_PROCESSORS):
        template = step.get("single", ())
        if sum("Sequence" in _object(part, "post_processor") for part in template) > 1:
            _refuse("a post_processor that repeats the text")
    for token in record.get("added_tokens") or ():
        if not _object(token, "added token").get("content"):
            _refuse("an added token is empty")


def _check_model(model: Mapping[str, Any]) -> None:
    kind = model.get("type")
    if kind not in ("BPE", "Unigram", "WordLevel", "WordPiece"):
        _refuse(f"the model {kind!r}")
    longest = model.get("max_input_chars_per_word", 0)
    if not isinstance(longest, int) or longest > _MAX_WORD:
        _refuse(f"max_input_chars_per_word {longest!r}: at most {_MAX_WORD}")
    if model.get("dropout"):
        _refuse("a model with dropout, which gives the same text other tokens each time")
    _check_affixes(model, "continuing_subword_prefix", "end_of_word_suffix")


def _check_affixes(part: Mapping[str, Any], *names: str) -> None:
    for name in names:
        affix = part.get(name) or ""
        if not isinstance(affix, str) or len(affix) > _MAX_AFFIX:
            _refuse(f"a {name} of more than {_MAX_AFFIX} characters")


def _steps(step: Any, name: str, members: str, allowed: frozenset[str]) -> Iterator[Mapping[str, Any]]:
    """The steps of a part called `name`: itself, or the members of a sequence, which has no sequence in it."""
    if step is None:
        return
    step = _object(step, name)
    steps = step.get(members) if step.get("type") == "Sequence" else [step]
    if not isinstance(steps, list) or len(steps) > _MAX_STEPS:
        _refuse(f"a {name} with more than {_MAX_STEPS} steps")
    for each in steps:
        kind = _object(each, name).get("type")
        if kind not in allowed:
            _refuse(f"the {name} {kind!r}")
        yield each


def _check_normalizer(step: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a normalizer that could make a text much longer."""
    if step["type"] == "Replace":
        pattern, content = _object(step.get("pattern"), "pattern"), step.get("content")
        known = pattern in [{"Regex": spaces} for spaces in _SPACES]
        longest = 1 if known else len(str(pattern.get("String", "")))
        if not (known or set(pattern) == {"String"}) or not isinstance(content, str) or len(content) > longest:
            _refuse("the normalizer 'Replace' with such a pattern and content")
    elif step["type"] == "Precompiled":
        table = base64.b64decode(str(step.get("precompiled_charsmap", "")), validate=True)
        # A trie of so many bytes, then the replacements, each ended by a zero byte.
        replacements = table[4 + int.from_bytes(table[:4], "little") :]
        if not replacements or max(map(len, replacements.split(b"\0"))) > _MAX_REPLACEMENT:
            _refuse(f"the normalizer 'Precompiled' with replacements of more than {_MAX_REPLACEMENT} bytes, or none")


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is not a JSON object")
    return value


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"not supported: {what}; only tokenizers of encoders are")
