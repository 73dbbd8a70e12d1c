"""``score --known CORPUS``: the model is fitted on the way to the answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from authorid.cli.options import (
    PATH,
    SAMPLES_TO_LEARN_FROM,
    all_authors_option,
    exclude_author_option,
    option_group,
    sample_words_option,
    usage_error,
)

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.inputs.documents import ReadOptions
    from authorid.scoring.attribution import Attribution

__all__ = ["ChosenModel", "KnownOptions", "known_options"]

_NAMED = 3
"""So many training documents among the scored ones are named."""


@dataclass(slots=True)
class ChosenModel:
    """The model that answers, None for the included one, and with --known what it has learned from.

    `corpus` is the digest of the corpus, `learned` are the SHA-256 of its documents. `met` counts those of them that
    are scored, and `names` are the first of these.
    """

    path: Path | None
    corpus: str = ""
    learned: frozenset[str] = frozenset()
    met: int = 0
    names: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> dict[str, str]:
        """What the fingerprint of a run says about the corpus."""
        return {"known_authors": self.corpus} if self.corpus else {}

    def note(self, attribution: Attribution) -> None:
        """Remember a scored document that the model has learned from."""
        if attribution.sha256 in self.learned:
            self.met += 1
            if len(self.names) < _NAMED:
                self.names.append(str(attribution.ref))

    @property
    def warnings(self) -> list[str]:
        """A warning of scored documents that the model has learned from, if there are any."""
        if not self.met:
            return []
        names = ", ".join(self.names) + (", ..." if self.met > _NAMED else "")
        are = "document is one" if self.met == 1 else "documents are among those"
        return [f"{self.met} {are} that the model learned from, whose author it knows: {names}"]


class KnownOptions(NamedTuple):
    """The known authors, and how to learn from them."""

    corpus: Path | None
    sample_words: int | None
    exclude_authors: tuple[str, ...]
    all_authors: bool

    def check(self, model: Path | None, effort: str | None) -> None:
        """Raise a usage error if other options ask for another model."""
        if self.corpus is not None and model is not None:
            raise usage_error("the model is fitted on the known authors: leave out --model", "--known")
        if self.corpus is not None and effort == "full":
            raise usage_error("the model of --known has no encoder: leave out --effort full", "--known")

    @contextmanager
    def model(self, path: Path | None, documents: ReadOptions, terminal: Terminal) -> Iterator[ChosenModel]:
        """The model for the block: that at `path`, or that of the known authors, who are read as `documents` are."""
        if self.corpus is None:
            yield ChosenModel(path)
            return
        from authorid.training.corpus_spec import CorpusSpec
        from authorid.training.known_authors import model_of_known_authors
        from authorid.training.ngram_options import NgramOptions

        spec = CorpusSpec(self.corpus, documents, self.exclude_authors, self.all_authors)
        options = NgramOptions(sample_words=self.sample_words)
        with ExitStack() as stack:
            with terminal.progress("Fitting") as reporter:
                known = stack.enter_context(model_of_known_authors(spec, options, reporter=reporter))
            yield ChosenModel(known.model, known.digest, known.documents)


@option_group(
    "Known authors",
    "known",
    click.option(
        "--known",
        type=PATH,
        metavar="CORPUS",
        help="Fit an n-gram model on these authors first, or take it from the cache. CORPUS has one directory per "
        "author, or files called Author_Title.txt.",
    ),
    sample_words_option(SAMPLES_TO_LEARN_FROM),
    exclude_author_option,
    all_authors_option,
)
def known_options(
    known: Path | None, sample_words: int | None, exclude_authors: tuple[str, ...], all_authors: bool
) -> KnownOptions:
    """The known authors, if there are any."""
    without_effect = {"--sample-words": sample_words is not None, "--exclude-author": exclude_authors}
    for option, given in {**without_effect, "--all-authors": all_authors}.items():
        if known is None and given:
            raise usage_error("this option is about the corpus of --known", option)
    return KnownOptions(known, sample_words, exclude_authors, all_authors)
