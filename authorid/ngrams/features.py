"""The features of a text: which n-grams an n-gram model counts.

A text has several views: its bytes or characters, its words, and *distorted* texts in which all but the most common
words are masked, so that style remains and topic does not (Stamatatos, "Authorship Attribution Using Text Distortion",
2017).

::

    texts -> UTF-8 bytes -> words -> keys uint64 of every n-gram -> buckets -> features

`authorid.ngrams.kernels` computes all of it. Where a view counts characters, `FeatureExtractor.prepare` finds words by
their script before that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from authorid.ngrams.arrays import Keys
from authorid.ngrams.segmentation import segment
from authorid.ngrams.words import make_word_table

__all__ = ["FeatureExtractor", "View", "counts_characters"]

_MOST_BITS, _MOST_VIEWS, _MOST_SIZES = 24, 32, 64
"""Bounds of memory and time: 2**24 buckets take 3 MB in each view, and every size of a view is a pass over a text."""


@dataclass(frozen=True, slots=True)
class View:
    """A kind of n-grams of a text.

    `unit` says what the n-grams are made of: ``byte``, ``char`` or ``word`` (a run of letters, a run of digits, or any
    other single byte that is not white space). `sizes` are their lengths, at most 8 bytes or 16 of the others. With
    `keep` None the text stays as it is; otherwise the `keep` most common words stay, and all others are masked: with
    `mask` ``shape`` each character becomes ``a``, ``A`` or ``0``, with ``one`` the whole word becomes one of these.
    `weight` scales the view. With `once` it only counts whether an n-gram occurs; with `linear`, how often; otherwise
    the logarithm of that. With `shared`, the view has only n-grams that many of the authors use. An n-gram is scaled by
    its inverse document frequency (`scaling` ``idf``), by the square root of that (``root``), or by the inverse of the
    standard deviation of its relative frequency in the training documents (``deviation``).
    """

    name: str
    unit: Literal["byte", "char", "word"]
    sizes: tuple[int, ...]
    keep: int | None = None
    mask: Literal["shape", "one"] = "shape"
    weight: float = 1.0
    once: bool = False
    shared: bool = False
    linear: bool = False
    scaling: Literal["root", "idf", "deviation"] = "root"

    def __post_init__(self) -> None:
        """Check the ranges; raises `ValueError`."""
        longest = 8 if self.unit == "byte" else 16
        if self.unit not in ("byte", "char", "word") or self.mask not in ("shape", "one"):
            raise ValueError(f"view {self.name}: unknown unit {self.unit!r} or mask {self.mask!r}")
        if not self.sizes or not all(1 <= size <= longest for size in self.sizes):
            raise ValueError(f"view {self.name}: sizes must be between 1 and {longest}, got {self.sizes}")
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"view {self.name}: sizes must be different, got {self.sizes}")
        if self.keep is not None and not (isinstance(self.keep, int) and 0 <= self.keep < 1 << 31):
            raise ValueError(f"view {self.name}: keep must be a number of words below 2**31, got {self.keep!r}")
        if not isinstance(self.once, bool) or not isinstance(self.shared, bool):
            raise ValueError(f"view {self.name}: once and shared must be true or false")
        if self.scaling not in ("root", "idf", "deviation"):
            raise ValueError(f"view {self.name}: unknown scaling {self.scaling!r}")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"view {self.name}: weight must be positive, got {self.weight}")
        if self.once and self.linear:
            raise ValueError(f"view {self.name}: counts cannot be linear when n-grams count once")

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values. What older releases do not know is left out where it has its default value."""
        record = asdict(self)
        if not self.linear:
            del record["linear"]
        if self.scaling == "root":
            del record["scaling"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> View:
        """Rebuild from `to_json`; raises `TypeError` and `ValueError`."""
        sizes = tuple(int(size) for size in record["sizes"])
        return cls(**{**record, "sizes": sizes, "weight": float(record.get("weight", 1.0))})


def counts_characters(views: Iterable[View]) -> bool:
    """Whether texts must be segmented for these `views`: any of them counts characters."""
    return any(view.unit == "char" for view in views)


class FeatureExtractor:
    """Says how texts become buckets of n-grams. Training and scoring share it.

    `common` are the hashes uint64 of the most common words, most common first (see
    `authorid.ngrams.words.word_hashes`). An n-gram of a view has one of ``2 ** bits`` buckets. Raises `ValueError` when
    these make no sense, or would take memory or time beyond all models.
    """

    def __init__(self, views: Sequence[View], common: Keys, bits: int) -> None:
        if not 1 <= len(views) <= _MOST_VIEWS or sum(len(view.sizes) for view in views) > _MOST_SIZES:
            raise ValueError(f"need 1 to {_MOST_VIEWS} views with at most {_MOST_SIZES} sizes, got {len(views)}")
        if not 8 <= bits <= _MOST_BITS:
            raise ValueError(f"need between 8 and {_MOST_BITS} bits, got {bits}")
        self.views = tuple(views)
        self.common = common
        self.bits = bits
        self.segmented = counts_characters(views)
        self.word_table = make_word_table(common, segmented=self.segmented)

    def prepare(self, text: str) -> str:
        """`text` as the kernels get it: segmented when a view counts characters (`authorid.ngrams.segmentation`)."""
        return segment(text) if self.segmented else text
