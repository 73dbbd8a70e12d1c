"""Training without an encoder: it takes seconds and works for any language; the run is already a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from authorid.bundle.manifest import NGRAMS, Bundle, Typography, WindowSpec, load_bundle
from authorid.bundle.save import check_target, check_writable, write_bundle
from authorid.errors import CorpusError, OutputError, RunError
from authorid.ngrams.model import load_ngram_model
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus, load_corpus, load_test_corpus
from authorid.training.fusion import UNMEASURED, FusionFit, fit_fusion
from authorid.training.ngram_card import ngram_card, ngram_section, replace_ngram_section
from authorid.training.ngram_fit import NgramOptions
from authorid.training.run_directory import (
    RUN_FORMAT,
    check_directory,
    clear_directory,
    encode_json,
    foreign_files,
    versions,
)

__all__ = ["describe_ngrams", "export_ngrams", "train_ngrams"]


def train_ngrams(
    corpus: Path,
    out: Path,
    options: NgramOptions = NgramOptions(),
    *,
    test_corpus: Path | None = None,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Bundle:
    """Fit the n-gram model on `corpus` and write a run directory at `out` that is also a bundle.

    `test_corpus` is only checked: if the run is to be evaluated on it later, mistakes are found before the fit. `force`
    replaces a run at `out`. Raises `CorpusError`, `RunError`, `OutputError` and `MissingExtraError`.
    """
    out = Path(out)
    known = _check_and_load(Path(corpus), out, test_corpus, options.typography, force=force)
    for warning in known.warnings:
        reporter.warning(warning)
    fitted = fit_fusion(known, options, reporter=reporter)
    if not len(fitted.ngrams.buckets):
        raise CorpusError(f"{corpus}: no n-gram is in enough of its documents to learn from; longer texts are needed")
    for warning in fitted.warnings:
        reporter.warning(warning)
    record = {
        "format": RUN_FORMAT,
        "recipe": "ngrams",
        "typography": options.typography,
        "authors": list(known.authors),
        "corpus": _describe_corpus(known),
        "fusion": describe_ngrams(fitted),
        "versions": versions(),
    }
    bundle = replace(_bundle(out, known, fitted, record), typography=options.typography)
    files: dict[str, bytes | str | Path] = {
        NGRAMS: fitted.ngrams.to_bytes(),
        "config.json": encode_json(_config(known)),
        "run.json": encode_json(record),
        "README.md": ngram_card(bundle),
    }
    if not (out / "run.json").exists():  # at most an unfinished training is there, which `force` replaces
        clear_directory(out, force=force)
        (out / "checkpoint").rmdir()
    return write_bundle(bundle, files, overwrite=True, marker="run.json", check=load_ngram_model)


def _check_and_load(
    corpus: Path, out: Path, test_corpus: Path | None, typography: Typography, *, force: bool
) -> Corpus:
    """Check that the run can be written to `out`, and return the training corpus."""
    check_directory(out, "replace" if force else "refuse")
    foreign = foreign_files(out)
    if foreign:
        raise RunError(f"{out}: holds files that are not of a training run ({foreign[0]}); remove them first")
    check_writable(out.resolve().parent)  # the bundle is built there before it is moved to `out`
    known = load_corpus(corpus, typography=typography)
    if test_corpus is not None:
        load_test_corpus(Path(test_corpus), known, typography)
    return known


def _bundle(out: Path, corpus: Corpus, fitted: FusionFit, record: Mapping[str, Any]) -> Bundle:
    return Bundle(
        path=out,
        model_type="authorid-ngrams",
        authors=corpus.authors,
        window=WindowSpec(128, 126),
        pooling="mean",
        decision=fitted.decision,
        graphs={},
        golden=(),
        provenance={
            "name": out.resolve().name,
            "corpus": record["corpus"],
            "fusion": record["fusion"],
            "versions": {"training": record["versions"]},
        },
        ngrams=NGRAMS,
    )


def _config(corpus: Corpus) -> dict[str, Any]:
    """Return config.json in Hugging Face style."""
    return {
        "model_type": "authorid-ngrams",
        "id2label": {str(index): author for index, author in enumerate(corpus.authors)},
        "label2id": {author: index for index, author in enumerate(corpus.authors)},
    }


def _describe_corpus(corpus: Corpus) -> dict[str, Any]:
    """Return what a record contains about a corpus: nothing of its text."""
    return {
        "name": corpus.root.resolve().name,
        "digest": corpus.digest,
        "documents": len(corpus.documents),
        "authors": len(corpus.authors),
    }


def describe_ngrams(fitted: FusionFit) -> dict[str, Any]:
    """Return what a record contains about the n-gram model and the results of its fit."""
    return {
        "views": [view.name for view in fitted.ngrams.extractor.views],
        "ngrams": len(fitted.ngrams.buckets),
        "shifted_split": fitted.report,
    }


def export_ngrams(
    run: Path,
    out: Path,
    *,
    encoder: Path | None = None,
    weight: float | None = None,
    name: str | None = None,
    force: bool = False,
) -> Bundle:
    """Write the n-gram run `run` as a bundle at `out`; with `encoder`, together with the graphs of that bundle.

    `weight` is the weight of the encoder's mean log-softmax; by default that of `run` if it has an encoder, else
    `UNMEASURED`. Raises `BundleError`, and `OutputError` if the two know different authors or a weight is given without
    an encoder.
    """
    check_target(out, overwrite=force)
    own = load_bundle(run)
    if own.ngrams is None:
        raise OutputError(f"{run}: a bundle, but one without n-grams; nothing to export")
    base, decision = own, own.decision
    if encoder is not None:
        base = load_bundle(encoder)
        decision = replace(decision, encoder_weight=UNMEASURED)
    if weight is not None:
        if not base.graphs or not 0 <= weight < float("inf"):
            raise OutputError(f"{base.path}: no encoder that could have the weight {weight}")
        decision = replace(decision, encoder_weight=weight)
    if own.authors != base.authors:
        raise OutputError(f"{run}: does not know the same authors as {encoder}")
    if own.typography != base.typography:
        raise OutputError(
            f"{run}: trained with typography {own.typography}, but {encoder} with typography {base.typography}; "
            "train one of them again, with or without --keep-typography"
        )
    files: dict[str, bytes | str | Path] = {
        name: (base.path / name).read_bytes() for name in base.files if name not in (base.ngrams, "run.json")
    }
    files[NGRAMS] = (own.path / own.ngrams).read_bytes()
    provenance = {**base.provenance, "fusion": own.provenance["fusion"]}
    if name is not None or encoder is None:
        provenance["name"] = name or out.resolve().name
    merged = replace(base, path=out, ngrams=NGRAMS, decision=decision, provenance=provenance)
    if encoder is not None:
        card = (base.path / "README.md").read_text("utf-8") if "README.md" in files else ""
        files["README.md"] = replace_ngram_section(card, ngram_section(merged))
    return write_bundle(merged, files, overwrite=force, check=load_ngram_model)
