"""Windows: a document is cut into pieces of equal length that the encoder can read.

A document is cut into the fewest windows that fit. They all have the same length, so that no window has only a few
words and windows can share a batch without padding. A window is the tokens of the document between special tokens, as
the tokenizer's template says (BERT: ``[CLS] tokens [SEP]``, RoBERTa: ``<s> tokens </s>``); its length counts these too.

A document may be limited to a number of windows. They are then spread evenly over it, and of a very long document only
the passages around them are tokenized.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from authorid.bundle.manifest import Bundle
from authorid.cancellation import CancelCheck, never_cancelled
from authorid.encoder.tokenizer_file import read_tokenizer
from authorid.errors import BundleCorruptError

__all__ = ["SPECIAL_TOKENS", "Window", "Windower", "cut", "evenly_spread", "load_windower"]

SPECIAL_TOKENS = 2
"""Tokens that a window has besides those of the document, with the templates of BERT and RoBERTa."""

GRAIN = 16
"""Window lengths are multiples of this where possible, because kernels process blocks of this many tokens."""

MAX_PIECE = 1 << 18
"""Characters without white space that are tokenized at once; the tokenizer needs several hundred bytes for each."""

_PART = 1 << 13
"""Characters of a text that are tokenized at once where it can be cut without an effect on its tokens."""

_GROUP = 1 << 15
"""Characters of several texts that are tokenized at once: some 10 ms of work, and at most a quarter of a second."""

_TOKEN_CHARACTERS = 8
"""Characters of a passage for each token of its window: twice as many as English prose has."""

_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")

_LONE_SPACE = re.compile(r"(?<=\w) (?=\w)")
"""A space between two words, before which any tokenizer can be interrupted: it begins the next token, or none."""


class Window(NamedTuple):
    """A part of one document, ready for the encoder.

    `document` is the index of the document, `position` the index of the window in it (0, 1, ...), `ids` int32 [s].
    """

    document: int
    position: int
    ids: npt.NDArray[np.int32]


def cut(tokens: int, length: int, stride: int, special: int = SPECIAL_TOKENS) -> list[tuple[int, int]]:
    """Spans ``(start, stop)`` that cover `tokens` tokens with windows of at most `length` tokens.

    A document that fits into one window gets one window; an empty document gets none. Otherwise all windows have the
    same length and start at most `stride` tokens apart. With ``stride == length`` that length is the smallest for which
    the fewest windows suffice, rounded up so that it is a multiple of `GRAIN` with the `special` tokens; with a smaller
    stride it is `length`. Windows overlap evenly. Raises `ValueError` unless ``0 < stride <= length``.
    """
    if not 0 < stride <= length:
        raise ValueError(f"need 0 < stride <= length, got stride {stride} and length {length}")
    if tokens <= 0:
        return []
    if tokens <= length:
        return [(0, tokens)]
    count = 1 + -(-(tokens - length) // stride)
    if stride == length:
        needed = -(-tokens // count) + special
        length = min(length, -(-needed // GRAIN) * GRAIN - special)
    starts = [(tokens - length) * i // (count - 1) for i in range(count)]
    return [(start, start + length) for start in starts]


def pieces(text: str, most: int = MAX_PIECE) -> Iterator[str]:
    """Yield `text` in pieces of at most `most` characters, cut before white space.

    A BERT tokenizer gives the same tokens for the pieces as for the whole text. Only where more than `most` characters
    have no white space between them, the text is cut elsewhere.
    """
    start = 0
    while len(text) - start > most:
        space = max(text.rfind(character, start + 1, start + most + 1) for character in " \n\t")
        stop = space if space > start else start + most
        yield text[start:stop]
        start = stop
    yield text[start:]


def evenly_spread(number: int, most: int) -> Sequence[int]:
    """The indices of `most` of `number` items, each in the middle of an equal part; all indices if there are fewer."""
    return range(number) if number <= most else [(2 * i + 1) * number // (2 * most) for i in range(most)]


class Windower:
    """Tokenizes text with a Hugging Face ``tokenizer.json`` and cuts it into windows.

    `length` is the window length in tokens, with the special tokens. `stride` is the largest distance between the
    starts of two windows, in tokens of the document (default: no overlap). `truncate` keeps only the first window.
    `max_windows` is the most windows of a document; 0: no limit. If it has more, these are spread evenly over it.
    Raises `ValueError` when length and stride do not fit, and `BundleCorruptError` when the tokenizer does not say
    which special tokens surround a text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        length: int,
        stride: int | None = None,
        *,
        truncate: bool = False,
        max_windows: int = 0,
    ) -> None:
        # A tokenizer.json may set truncation and padding; windows replace both.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._before, self._after = _template(tokenizer)
        self.special_tokens = len(self._before) + len(self._after)
        self.content = length - self.special_tokens
        self.stride = self.content if stride is None else stride
        if not 0 < self.stride <= self.content:
            raise ValueError(
                f"window {length} and stride {self.stride}: need 1 <= stride <= window - {self.special_tokens}"
            )
        self.truncate = truncate
        self.max_windows = max_windows
        self._tokenizer = tokenizer
        self._threads = True
        normalizer = tokenizer.normalizer
        # Before any white space, only a tokenizer that splits at white space first can be interrupted.
        self._splits_at_spaces = isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        self._splits_ideographs = isinstance(normalizer, BertNormalizer) and normalizer.handle_chinese_chars
        # Unless an added token, which is matched before anything is split, could lie across a cut.
        added = tokenizer.get_added_tokens_decoder().values()
        contents = "".join(token.content for token in added)
        spans = re.search(r"\s", contents) or _IDEOGRAPH.search(contents) or any(token.rstrip for token in added)
        self._part = MAX_PIECE if spans else _PART

    @classmethod
    def from_file(
        cls, path: Path, length: int, stride: int | None = None, *, truncate: bool = False, max_windows: int = 0
    ) -> Windower:
        """Make one with the ``tokenizer.json`` at `path`; raises `BundleCorruptError` when that file cannot be read."""
        try:
            tokenizer = read_tokenizer(path)
        except ValueError as error:
            raise BundleCorruptError(f"{path}: not a readable tokenizer.json ({error})") from None
        return cls(tokenizer, length, stride, truncate=truncate, max_windows=max_windows)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself, without truncation or padding."""
        return self._tokenizer

    def with_template(self) -> Tokenizer:
        """A copy of the tokenizer that adds the special tokens of a window itself."""
        made = Tokenizer.from_str(self._tokenizer.to_str())
        if len(made.encode("").ids) < self.special_tokens:
            first, last = ((name, self._tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]"))
            single = f"{first[0]} $A {last[0]}"
            made.post_processor = TemplateProcessing(
                single=single, pair=f"{single} $B:1 {last[0]}:1", special_tokens=[first, last]
            )
        return made

    def single_threaded(self) -> Windower:
        """The same windower without the threads of the tokenizer, which keeps a pool of them in the process."""
        single = copy.copy(self)
        single._threads = False
        return single

    def token_ids(self, texts: Sequence[str], check: CancelCheck = never_cancelled) -> list[npt.NDArray[np.int32]]:
        """Token ids of each text, int32 [n], without special tokens; with `truncate`, at least those of its window.

        Of a text that is much longer than its `max_windows`, they are those of passages that each fill a window.
        `check` is called before each step, which takes a fraction of a second.
        """
        found: list[list[npt.NDArray[np.int32]]] = [[] for _ in texts]
        if self.truncate:
            self._tokenize_beginnings(texts, found, check)
        else:
            excerpts = {index for index, text in enumerate(texts) if self._is_excerpted(text)}
            parts = (
                (index, part)
                for index, text in enumerate(texts)
                for part in (self._passages(text) if index in excerpts else self._parts(text))
            )
            self._tokenize(parts, found, check)
            for index in excerpts:
                found[index] = [ids[: self.content] for ids in found[index]]
        return [ids[0] if len(ids) == 1 else np.concatenate(ids) for ids in found]

    def _tokenize(
        self, parts: Iterable[tuple[int, str]], found: list[list[npt.NDArray[np.int32]]], check: CancelCheck
    ) -> None:
        """Append the token ids of `parts`, pairs of the index of a text and a part of it, to those `found` so far."""
        for group in _groups(parts):
            check()
            for (index, _), ids in zip(group, self._encode([part for _, part in group]), strict=True):
                found[index].append(ids)

    def _tokenize_beginnings(
        self, texts: Sequence[str], found: list[list[npt.NDArray[np.int32]]], check: CancelCheck
    ) -> None:
        """Tokenize part by part, until each text has the tokens of its only window."""
        parts = {index: self._parts(text) for index, text in enumerate(texts)}
        while parts:
            due = [(index, part) for index, own in parts.items() if (part := next(own, None)) is not None]
            self._tokenize(due, found, check)
            remaining = (index for index, _ in due if sum(map(len, found[index])) < self.content)
            parts = {index: parts[index] for index in remaining}

    @property
    def _passage(self) -> int:
        """Characters of a passage that fills a window."""
        return self.content * _TOKEN_CHARACTERS

    def _is_excerpted(self, text: str) -> bool:
        """Whether only passages of `text` are tokenized: together they have fewer characters than the text."""
        return 0 < self.max_windows * self._passage < len(text)

    def _passages(self, text: str) -> Iterator[str]:
        """Passages of `text`, each in the middle of an equal part of it. They begin between two words, if possible."""
        for number in range(self.max_windows):
            middle = (2 * number + 1) * len(text) // (2 * self.max_windows)
            start, stop = middle - self._passage // 2, middle + self._passage // 2
            space = _LONE_SPACE.search(text, start, start + self._passage // 4)
            yield text[space.start() if space else start : stop]

    def _parts(self, text: str) -> Iterator[str]:
        """The pieces of `text`, cut further where that has no effect on the tokens."""
        if len(text) <= self._part:
            yield text
            return
        for piece in pieces(text):
            start = 0
            while len(piece) - start > self._part:
                stop = self._cut(piece, start)
                yield piece[start:stop]
                start = stop
            yield piece[start:]

    def _cut(self, piece: str, start: int) -> int:
        """Where to end the part of `piece` that begins at `start`: before white space, or before an ideograph."""
        most = start + self._part
        if not self._splits_at_spaces:
            inside = max((found.start() for found in _LONE_SPACE.finditer(piece, start + 1, most + 1)), default=-1)
            if inside >= 0:
                return inside
            beyond = _LONE_SPACE.search(piece, most)
            return beyond.start() if beyond else len(piece)
        stop = max(piece.rfind(character, start + 1, most + 1) for character in " \n\t")
        if stop < 0 and self._splits_ideographs and (found := _IDEOGRAPH.search(piece, most - self._part // 4, most)):
            return found.start()
        if stop < 0:
            stop = min((at for character in " \n\t" if (at := piece.find(character, most)) >= 0), default=len(piece))
        return stop

    def _encode(self, texts: list[str]) -> list[npt.NDArray[np.int32]]:
        if self._threads:
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        else:  # even for one text, the methods for batches start threads
            encodings = [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def windows(self, ids: npt.NDArray[np.int32], document: int = 0) -> list[Window]:
        """Cut the token ids [n] of one document into windows, at most `max_windows`."""
        if self.truncate:
            spans = [(0, min(len(ids), self.content))] if len(ids) else []
        else:
            spans = cut(len(ids), self.content, self.stride, self.special_tokens)
        if self.max_windows:
            spans = [spans[index] for index in evenly_spread(len(spans), self.max_windows)]
        return [Window(document, position, self.wrap(ids[start:stop])) for position, (start, stop) in enumerate(spans)]

    def wrap(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Add the special tokens before and after `ids`: int32 [n] -> int32 [n + special tokens]."""
        return np.concatenate([self._before, ids, self._after])


def _template(tokenizer: Tokenizer) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The special tokens before and after a text: int32 [before], int32 [after].

    They are those that the tokenizer's post-processor adds, or BERT's if it adds none. Raises `BundleCorruptError`
    when it does something else than adding tokens of segment 0 around a text, or when there are none of BERT's.
    """
    inner = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.post_process(tokenizer.encode("a", add_special_tokens=False))
    if len(whole.ids) > len(inner.ids):
        own = [position for position, special in enumerate(whole.special_tokens_mask) if not special]
        first = own[0] if own else 0
        before, after = whole.ids[:first], whole.ids[first + len(inner.ids) :]
        if not own or [*before, *inner.ids, *after] != whole.ids or any(whole.type_ids):
            raise BundleCorruptError("the tokenizer's template is not supported: it does not surround the text once")
    else:
        before, after = ([_bert_token(tokenizer, name)] for name in ("[CLS]", "[SEP]"))
    return np.array(before, dtype=np.int32), np.array(after, dtype=np.int32)


def _bert_token(tokenizer: Tokenizer, name: str) -> int:
    token = tokenizer.token_to_id(name)
    if token is None:
        raise BundleCorruptError(f"the tokenizer has no template for special tokens, and no {name} token")
    return int(token)


def _groups(parts: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Consecutive parts of texts in groups of `_GROUP` characters; one that is longer is a group of its own."""
    group: list[tuple[int, str]] = []
    size = 0
    for index, part in parts:
        if group and size + len(part) > _GROUP:
            yield group
            group, size = [], 0
        group.append((index, part))
        size += len(part)
    if group:
        yield group


def load_windower(bundle: Bundle, max_windows: int = 0) -> Windower:
    """The windower that `bundle` was trained with, which cuts documents into at most `max_windows` (0: no limit).

    Raises `BundleCorruptError` when its tokenizer cannot be used.
    """
    spec, path = bundle.window, bundle.path / "tokenizer.json"
    try:
        return Windower.from_file(path, spec.length, spec.stride, truncate=spec.truncate, max_windows=max_windows)
    except ValueError as error:
        raise BundleCorruptError(f"{path}: {error}") from None
