"""A tiny bundle with both models, an n-gram model and an encoder, for the authors of `tiny`."""

from __future__ import annotations

from pathlib import Path

from tiny import AUTHORS, make_bundle, prose

from authorid.bundle.manifest import Bundle

DOCUMENTS = [prose(AUTHORS[i % 3], 3 + 7 * i, seed=i) for i in range(30)]
"""Texts of three to two hundred words, by the authors in turn."""


def write_corpus(root: Path, documents: int = 5, words: int = 80) -> Path:
    """A directory for each author with numbered texts; returns `root`."""
    for number, author in enumerate(AUTHORS):
        (root / author).mkdir(parents=True)
        for i in range(documents):
            (root / author / f"{i}.txt").write_text(prose(author, words, seed=100 * number + i))
    return root


def make_fusion_bundle(root: Path) -> Bundle:
    """Train an n-gram model and join it with an encoder: ``root/run`` is the n-gram run, ``root/bundle`` the bundle."""
    from authorid.training.ngram_options import NgramOptions
    from authorid.training.ngram_run import export_ngrams, train_ngrams

    train_ngrams(write_corpus(root / "corpus"), root / "run", NgramOptions(bits=14, typography="kept"))
    make_bundle(root / "encoder")
    return export_ngrams(root / "run", root / "bundle", encoder=root / "encoder", weight=0.5)
