"""Reading a ``tokenizer.json``, which may come from a stranger.

Such a file describes a program: normalizers that replace text, patterns that backtrack, templates that repeat tokens. A
hostile one turns a short document into gigabytes of text, or never ends. Only what BERT-style tokenizers consist of is
accepted, and all of that takes time and memory in proportion to the text. A file that was accepted once is known by its
digest (`authorid.encoder.cache`): looking through a vocabulary takes longer than scoring a document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tokenizers import Tokenizer

from authorid.encoder.cache import read_entry, write_entry
from authorid.version import __version__

__all__ = ["read_tokenizer"]

_NORMALIZERS = frozenset(("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Strip", "StripAccents"))
_PRE_TOKENIZERS = frozenset(("BertPreTokenizer", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit"))
_POST_PROCESSORS = frozenset(("BertProcessing", "TemplateProcessing"))

_MAX_STEPS = 8
"""Normalizers, or pre-tokenizers, in a sequence."""

_MAX_WORD = 200
"""Characters in a word that is split into tokens: the time grows with the square of it. BERT has 100."""

_MAX_PREFIX = 16
"""Characters in the prefix of tokens that continue a word; BERT has ``##``."""


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in the file `path`.

    Raises `ValueError` when it cannot be read, or when it has parts that no BERT-style tokenizer needs.
    """
    try:
        content = path.read_bytes()
        key = hashlib.sha256(__version__.encode() + b"\0" + content).hexdigest()[:32]
        text = content.decode("utf-8")
        if read_entry("tokenizer", key) is None:
            _check(json.loads(text, object_pairs_hook=_without_duplicates))
            write_entry("tokenizer", key, {"accepted": True})
        return Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except OSError as error:
        raise ValueError(error.strerror) from None
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
    """Raise `ValueError` unless `record` describes a BERT-style tokenizer."""
    record = _object(record, "file")
    _check_model(_object(record.get("model"), "model"))
    _check_steps(record.get("normalizer"), "normalizer", "normalizers", _NORMALIZERS)
    _check_steps(record.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS)
    _check_post_processor(record.get("post_processor"))
    for token in record.get("added_tokens") or ():
        token = _object(token, "added token")
        if token.get("lstrip") or token.get("rstrip"):
            # To find the spaces, the tokenizer reads the whole text for each occurrence of the token.
            _refuse(f"the added token {token.get('content')!r} takes the spaces beside it")
        if not token.get("content"):
            _refuse("an added token is empty")


def _check_model(model: Mapping[str, Any]) -> None:
    kind = model.get("type")
    if kind not in ("WordPiece", "WordLevel"):
        _refuse(f"the model {kind!r}")
    longest, prefix = model.get("max_input_chars_per_word", 0), model.get("continuing_subword_prefix", "")
    if not isinstance(longest, int) or longest > _MAX_WORD:
        _refuse(f"max_input_chars_per_word {longest!r}: at most {_MAX_WORD}")
    if not isinstance(prefix, str) or len(prefix) > _MAX_PREFIX:
        _refuse(f"a continuing_subword_prefix of more than {_MAX_PREFIX} characters")


def _check_steps(step: Any, name: str, members: str, allowed: frozenset[str]) -> None:
    """Check a normalizer or pre-tokenizer, or a sequence of them, which has no sequence in it."""
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


def _check_post_processor(processor: Any) -> None:
    if processor is None:
        return
    processor = _object(processor, "post_processor")
    kind = processor.get("type")
    if kind not in _POST_PROCESSORS:
        _refuse(f"the post_processor {kind!r}")
    template = processor.get("single", ())
    if sum("Sequence" in _object(part, "post_processor") for part in template) > 1:
        _refuse("a post_processor that repeats the text")


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is not a JSON object")
    return value


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"not supported: {what}; only BERT-style tokenizers are")
