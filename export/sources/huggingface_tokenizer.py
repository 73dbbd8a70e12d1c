"""The tokenizer of a fine-tuned classifier, as transformers would set it up from the same directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import ByteLevel

from authorid.encoder.tokenizer_file import parse_tokenizer
from authorid.errors import ExportError
from authorid.training.encoder.model_directory import ModelDirectory

__all__ = ["TOKEN_NAMES", "ClassifierTokenizer", "read_classifier_tokenizer", "special_tokens"]

TOKEN_NAMES = tuple(f"{role}_token" for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
"""Settings that name special tokens."""

_GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of tokenizers that take tokenizer.json as it is; the others of transformers apply their settings to it."""


@dataclass(frozen=True, slots=True)
class ClassifierTokenizer:
    """A `tokenizer`, the names of its special tokens by their roles, and the length in tokens that it truncates at.

    `longest` is None where the directory does not say. `warnings` are for the user.
    """

    tokenizer: Tokenizer
    special: Mapping[str, str]
    longest: int | None
    warnings: tuple[str, ...] = ()


def read_classifier_tokenizer(directory: ModelDirectory, config: Mapping[str, Any]) -> ClassifierTokenizer:
    """Read the tokenizer of a model with this `config`.

    Raises `BaseModelError` when there is none, and `ExportError` when it has parts that are not supported.
    """
    settings = {
        **directory.optional_json("special_tokens_map.json"),
        **directory.optional_json("tokenizer_config.json"),
    }
    if "auto_map" in settings:
        raise ExportError(f"{directory.root}: the tokenizer brings code of its own (auto_map), which is never run")
    tokenizer = directory.tokenizer({**config, **settings})
    try:
        tokenizer = parse_tokenizer(tokenizer.to_str())
    except ValueError as error:
        raise ExportError(f"{directory.root}: the tokenizer cannot be used ({error})") from None
    if settings.get("tokenizer_class") not in _GENERIC:
        _apply(tokenizer, settings)
    warnings = []
    if settings.get("truncation_side") == "left":
        warnings.append(f"{directory.root}: truncation_side 'left' is ignored: documents are read from their beginning")
    longest = settings.get("model_max_length")
    usable = isinstance(longest, int) and not isinstance(longest, bool) and 2 < longest < 1 << 24
    return ClassifierTokenizer(tokenizer, special_tokens(settings), longest if usable else None, tuple(warnings))


def special_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that `settings` name, by their roles."""
    found = {}
    for role in TOKEN_NAMES:
        token = settings.get(role)
        if isinstance(token, Mapping):
            token = token.get("content")
        if isinstance(token, str):
            found[role] = token
    return found


def _apply(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> None:
    """Do what the settings say, where tokenizer.json says something else: so do BERT's and RoBERTa's classes."""
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, BertNormalizer):
        for name, attribute in (
            ("do_lower_case", "lowercase"),
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ):
            if isinstance(settings.get(name), bool):
                setattr(normalizer, attribute, settings[name])
        tokenizer.normalizer = normalizer
    splitter = tokenizer.pre_tokenizer
    if isinstance(splitter, ByteLevel) and isinstance(settings.get("add_prefix_space"), bool):
        splitter.add_prefix_space = settings["add_prefix_space"]
        tokenizer.pre_tokenizer = splitter
