"""The tokenizer of a base model, from ``tokenizer.json`` or from the older ``vocab.txt``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

__all__ = ["BERT_TOKENS", "read_tokenizer"]

BERT_TOKENS = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
"""Settings that name special tokens -> the names in BERT's vocabulary."""


def read_tokenizer(name: str, content: bytes, settings: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer in the `content` of the file `name`, tokenizer.json or vocab.txt; raises `ValueError`.

    The `settings` say how a vocabulary is used: those of tokenizer_config.json, and of config.json where that has none.
    """
    try:
        return Tokenizer.from_buffer(content) if name == "tokenizer.json" else _from_vocabulary(content, settings)
    except (KeyboardInterrupt, SystemExit, MemoryError, ValueError):
        raise
    except BaseException as error:  # tokenizers raises bare Exception; a Rust panic is a BaseException
        raise ValueError(str(error)) from None


def _from_vocabulary(content: bytes, settings: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that transformers makes of a vocab.txt: a line of the file is a token."""
    lines = io.StringIO(content.decode("utf-8"), newline=None)
    vocabulary = {line.rstrip("\n"): number for number, line in enumerate(lines)}
    special = {role: _token(settings.get(role), usual) for role, usual in BERT_TOKENS.items()}
    for role in ("unk_token", "cls_token", "sep_token"):
        if special[role] not in vocabulary:
            raise ValueError(f"not a vocabulary of BERT: it has no line {special[role]}")
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk_token"]))
    lowercase = _setting(settings, True, "do_lower_case", "lowercase")
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=bool(lowercase),
        strip_accents=_setting(settings, None, "strip_accents"),  # None: as lowercase
        handle_chinese_chars=bool(_setting(settings, True, "tokenize_chinese_chars", "handle_chinese_chars")),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([token for token in special.values() if token in vocabulary])
    first, last = ((special[role], vocabulary[special[role]]) for role in ("cls_token", "sep_token"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first[0]} $A {last[0]}",
        pair=f"{first[0]} $A {last[0]} $B:1 {last[0]}:1",
        special_tokens=[first, last],
    )
    return tokenizer


def _token(setting: Any, usual: str) -> str:
    """The name of a special token: as the setting has it, alone or with details, or else the `usual` one."""
    name = setting.get("content") if isinstance(setting, Mapping) else setting
    return name if isinstance(name, str) else usual


def _setting(settings: Mapping[str, Any], default: bool | None, *names: str) -> bool | None:
    """The first of the settings `names` that is there and not null; raises `ValueError` unless it is true or false."""
    for name in names:
        value = settings.get(name)
        if value is not None:
            if not isinstance(value, bool):
                raise ValueError(f"its setting {name} must be true or false, got {value!r}")
            return value
    return default
