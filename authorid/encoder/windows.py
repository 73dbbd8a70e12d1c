"""Documents become windows of token ids.

A document of *n* tokens is cut into the fewest windows that fit, all of the same length, so that no window is a stub of
three words and windows can share a batch without padding. A window is ``[CLS] tokens [SEP]``; its length counts both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from authorid.errors import BundleCorruptError

__all__ = ["SPECIAL_TOKENS", "Window", "Windower", "cut"]

SPECIAL_TOKENS = 2
"""Tokens that every window carries besides its share of the document: ``[CLS]`` and ``[SEP]``."""


GRAIN = 16
"""The length of a document's windows is a multiple of this where it can be: kernels work on so many tokens at once."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one document, ready for the encoder.

    `document` is the index of its document, `position` its place there (0, 1, ...), `ids` int32 [s].
    """

    document: int
    position: int
    ids: npt.NDArray[np.int32]


def cut(tokens: int, length: int, stride: int) -> list[tuple[int, int]]:
    """Spans ``(start, stop)`` that cover `tokens` tokens with windows of at most `length` tokens.

    Windows start at most `stride` tokens apart and have one length: `length`, but with ``stride == length`` the least
    that is enough for the fewest windows, rounded up to `GRAIN` together with the special tokens. What is too much
    overlaps, evenly. A document that fits into one window gets one window; an empty one gets none.
    """
    if not 0 < stride <= length:
        raise ValueError(f"need 0 < stride <= length, got stride {stride} and length {length}")
    if tokens <= 0:
        return []
    if tokens <= length:
        return [(0, tokens)]
    count = 1 + -(-(tokens - length) // stride)
    if stride == length:
        needed = -(-tokens // count) + SPECIAL_TOKENS
        length = min(length, -(-needed // GRAIN) * GRAIN - SPECIAL_TOKENS)
    starts = [(tokens - length) * i // (count - 1) for i in range(count)]
    return [(start, start + length) for start in starts]


PIECE = 1 << 18
"""Characters that are tokenized at once: the tokenizer needs some hundred bytes of memory for each."""


def pieces(text: str, most: int = PIECE) -> Iterator[str]:
    """Cut `text` before white space into pieces of at most `most` characters.

    A BERT tokenizer makes the same tokens of the pieces as of the whole. Only a stretch without any white space that
    is longer than a piece is cut where it happens to be.
    """
    start = 0
    while len(text) - start > most:
        space = max(text.rfind(character, start + 1, start + most + 1) for character in " \n\t")
        stop = space if space > start else start + most
        yield text[start:stop]
        start = stop
    yield text[start:]


class Windower:
    """Tokenizes text with a Hugging Face ``tokenizer.json`` and cuts it into windows.

    `length` is the window length in tokens with its two special tokens; `stride` is how far apart windows may
    start, in tokens of the document (default: no overlap). `truncate` keeps only the first window.
    """

    def __init__(self, tokenizer: Tokenizer, length: int, stride: int | None = None, *, truncate: bool = False) -> None:
        self.content = length - SPECIAL_TOKENS
        self.stride = self.content if stride is None else stride
        if not 0 < self.stride <= self.content:
            raise ValueError(f"window {length} and stride {self.stride}: need 1 <= stride <= window - 2")
        self.truncate = truncate
        # A tokenizer.json may carry the truncation and padding of its first owner; windows replace both.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._first, self._last = (self._special(name) for name in ("[CLS]", "[SEP]"))

    @classmethod
    def from_file(cls, path: Path, length: int, stride: int | None = None, *, truncate: bool = False) -> Windower:
        """Read ``tokenizer.json`` at `path`; raises `BundleCorruptError` when it is not one."""
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # tokenizers raises bare Exception, and Rust's panics are not even that
            raise BundleCorruptError(f"{path}: not a readable tokenizer.json ({error})") from None
        return cls(tokenizer, length, stride, truncate=truncate)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself, without truncation or padding."""
        return self._tokenizer

    def token_ids(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Token ids of whole texts, without special tokens: one int32 [n] each."""
        if all(len(text) <= PIECE for text in texts):
            return self._encode(list(texts))
        return [np.concatenate([ids for piece in pieces(text) for ids in self._encode([piece])]) for text in texts]

    def _encode(self, texts: list[str]) -> list[npt.NDArray[np.int32]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def windows(self, ids: npt.NDArray[np.int32], document: int = 0) -> list[Window]:
        """Cut the token ids [n] of one document into windows."""
        spans = cut(len(ids), self.content, self.stride)
        if self.truncate:
            spans = [(0, min(len(ids), self.content))] if spans else []
        return [Window(document, position, self.wrap(ids[start:stop])) for position, (start, stop) in enumerate(spans)]

    def wrap(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Put ``[CLS]`` before and ``[SEP]`` after: int32 [n] -> int32 [n + 2]."""
        wrapped = np.empty(len(ids) + SPECIAL_TOKENS, dtype=np.int32)
        wrapped[0], wrapped[1:-1], wrapped[-1] = self._first, ids, self._last
        return wrapped

    def _special(self, name: str) -> int:
        token = self._tokenizer.token_to_id(name)
        if token is None:
            raise BundleCorruptError(f"the tokenizer has no {name} token; only BERT-style tokenizers are supported")
        return int(token)
