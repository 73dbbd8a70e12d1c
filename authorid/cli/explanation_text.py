"""Explanations on standard output: marked passages, n-grams and segments; colours on a terminal, brackets elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from authorid.outputs.escaping import visible

if TYPE_CHECKING:
    from authorid.scoring.explanation import AuthorExplanation, Explanation
    from authorid.scoring.rolling import RollingAttribution, RollingOptions

__all__ = ["ExplanationText"]

_PLAIN_WIDTH = 100
_MARKED = 0.8
"""Words are marked whose contribution is larger than that of this share of the words of the document."""

_STYLES = {1: "bold green", -1: "underline red"}
_BRACKETS = {1: ("[+", "]"), -1: ("[-", "]")}
_WORD = re.compile(r"\S+")
_BEGINNING, _AUTHOR = 40, 20
"""Characters with which a segment is shown to begin, and those of an author that are shown on any terminal."""

_SEPARATORS = 18
"""Width of a table of segments between its columns, and of their probabilities."""

_MOST_WINDOWS = 12
"""Windows of the encoder whose probabilities are shown."""


class ExplanationText:
    """Shows explanations on standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=False, markup=False, emoji=False)
        self._colours = self._console.is_terminal and not self._console.no_color
        if not self._console.is_terminal:
            self._console.width = _PLAIN_WIDTH

    def show(
        self, found: Explanation, author: str | None, *, whole: bool = False, rolling: RollingOptions | None = None
    ) -> None:
        """Show one explanation: of the answer and the runner-up, or of `author` and the answer."""
        names = found.compared(author)
        row = found.attribution
        self._line(f"{row.ref}: {row.status}", "bold")
        odds = found.log_odds(*names)
        shares = ", ".join(f"{name} {dict(row.ranking)[name]:.1%}" for name in names)
        self._line(f"{shares}; log-odds {odds.total:+.2f} = n-grams {odds.ngrams:+.2f}, encoder {odds.encoder:+.2f}")
        if row.windows:
            windows = ", ".join(f"{share:.0%}" for share in row.evidence[:_MOST_WINDOWS])
            more = "" if row.windows <= _MOST_WINDOWS else ", ..."
            self._line(
                f"encoder: weight {found.decision.encoder_weight:g}; {row.ranking[0][0]} in each of {row.windows} "
                f"windows: {windows}{more}"
            )
        if rolling is not None:
            self._show_segments(found.segments(rolling), found.text)
        if whole:
            self._line(f"marked: {self._legend(1)} speaks for {names[0]}, {self._legend(-1)} for {names[1]}", "bold")
            self._print(_Marks(found, *names).text(0, len(found.text), colours=self._colours))
        elif rolling is None:
            for name in names:
                self._show_author(found, found.of(name, ngrams=6, passages=2))
        self._console.print()

    def _legend(self, sign: int) -> str:
        return ("green" if sign > 0 else "red") if self._colours else "word".join(_BRACKETS[sign])

    def _show_author(self, found: Explanation, one: AuthorExplanation) -> None:
        self._console.print()
        self._line(f"{one.author}: n-gram score {one.score:+.4f} above the mean of all authors", "bold")
        table = Table(box=box.SIMPLE_HEAD if self._colours else box.ASCII, pad_edge=False, show_edge=False)
        for name in ("for", "", "against", ""):
            table.add_column(name, justify="left" if name else "right", overflow="ellipsis", no_wrap=True)
        positive = [ngram for ngram in one.ngrams if ngram.contribution > 0]
        negative = [ngram for ngram in reversed(one.ngrams) if ngram.contribution < 0]
        for number in range(max(len(positive), len(negative))):
            cells: list[Text] = []
            for ngrams in (positive, negative):
                if number < len(ngrams):
                    ngram = ngrams[number]
                    times = f" x{ngram.count}" if ngram.count > 1 else ""
                    cells += [
                        Text(f"{visible(ngram.ngram)!r} {ngram.view}{times}"),
                        Text(f"{ngram.contribution:+.4f}"),
                    ]
                else:
                    cells += [Text(""), Text("")]
            table.add_row(*cells)
        self._console.print(table)
        marks = _Marks(found, one.author, None)
        for passage in one.passages:
            side = "for" if passage.contribution > 0 else "against"
            text = Text.assemble((f"{side} {passage.contribution:+.3f}  ", "bold"))
            self._print(text + marks.text(passage.start, passage.end, colours=self._colours))

    def _show_segments(self, rolling: RollingAttribution, text: str) -> None:
        table = Table(box=box.SIMPLE_HEAD if self._colours else box.ASCII, pad_edge=False, show_edge=False)
        widest = len(f"{rolling.words}-{rolling.words}")
        longest = max((len(visible(part.author)) for part in rolling.segments), default=0)
        table.add_column("words", justify="right", no_wrap=True, min_width=widest)
        table.add_column("author", overflow="ellipsis", no_wrap=True, min_width=min(longest, _AUTHOR))
        table.add_column("prob.", justify="right", no_wrap=True, min_width=6)
        room = self._console.width - widest - max(6, min(longest, _AUTHOR)) - _SEPARATORS
        table.add_column("begins with", overflow="ellipsis", no_wrap=True, max_width=max(4, room))
        for part in rolling.segments:
            begins = visible(" ".join(text[part.start : part.end][:_BEGINNING].split()))
            words = f"{part.first_word}-{part.last_word}"
            table.add_row(words, Text(visible(part.author)), f"{part.probability:.1%}", Text(begins))
        self._console.print(table)

    def _line(self, message: str, style: str = "") -> None:
        self._print(Text(visible(message).replace("\\\\", "\\"), style=style))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=False)


class _Marks:
    """The words of a document, marked by what they contribute for an author: against another one, or all others."""

    def __init__(self, found: Explanation, author: str, against: str | None) -> None:
        sums = np.append(0.0, np.cumsum(found.characters(author, against)))
        self._text = found.text
        self._words = [match.span() for match in _WORD.finditer(found.text)]
        spans: npt.NDArray[np.int64] = np.array(self._words, dtype=np.int64).reshape(-1, 2)
        worth = sums.take(spans[:, 1]) - sums.take(spans[:, 0])
        least = float(np.quantile(np.abs(worth), _MARKED)) if len(worth) else 0.0
        self._signs = np.where(np.abs(worth) > least, np.sign(worth), 0).astype(int).tolist()

    def text(self, start: int, end: int, *, colours: bool) -> Text:
        """The words from character `start` to `end`, on one line, with one mark for neighbours of the same kind."""
        shown = Text()
        for sign, words in self._runs(start, end):
            before, after = ("", "") if colours or not sign else _BRACKETS[sign]
            if shown:
                shown.append(" ")
            shown.append(f"{before}{visible(words)}{after}", style=_STYLES.get(sign, ""))
        return shown

    def _runs(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        run: list[str] = []
        previous = 0
        for (first, last), sign in zip(self._words, self._signs, strict=True):
            if last <= start or first >= end:
                continue
            if run and sign != previous:
                yield previous, " ".join(run)
                run = []
            run.append(self._text[max(first, start) : min(last, end)])
            previous = sign
        if run:
            yield previous, " ".join(run)
