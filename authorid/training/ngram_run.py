"""Training without an encoder: it takes seconds and works for any language; the run is already a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from authorid.bundle.effort import NOT_MEASURED
from authorid.bundle.manifest import NGRAMS, Bundle, WindowSpec, load_bundle
from authorid.bundle.record_digest import encode_json, with_digest
from authorid.bundle.save import reserve_bundle, write_bundle_in
from authorid.errors import BundleCorruptError, CorpusError, OutputError
from authorid.ngrams.model import load_ngram_model
from authorid.outputs.directory import Content, Workspace, content_sha256
from authorid.outputs.write_errors import raising_output_errors
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus, load_corpus, load_known_corpus
from authorid.training.corpus_spec import LEAVE_OUT, CorpusSpec
from authorid.training.fusion import UNMEASURED, FusionFit, fit_fusion
from authorid.training.ngram_card import ngram_card, ngram_section, replace_ngram_section
from authorid.training.ngram_options import NgramOptions
from authorid.training.run_directory import RUN_FORMAT, check_run, reserve_run, versions

__all__ = ["describe_ngrams", "export_ngrams", "fit_run", "train_ngrams"]


def train_ngrams(
    corpus: Path | CorpusSpec,
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
    with reserve_run(Path(out), "replace" if force else "refuse", reporter) as workspace:
        spec = CorpusSpec.of(corpus)
        known = load_corpus(spec, typography=options.typography)
        if test_corpus is not None:
            load_known_corpus(spec.at(Path(test_corpus)), known.authors, LEAVE_OUT, options.typography)
        return fit_run(workspace, known, options, reporter=reporter)


def fit_run(
    workspace: Workspace, corpus: Corpus, options: NgramOptions, *, name: str = "", reporter: Reporter = SILENT
) -> Bundle:
    """Fit the n-gram model on `corpus`, and write the run to the directory that is reserved.

    The bundle has the `name`, or else that of the directory. Raises `CorpusError`, `RunError` and `OutputError`.
    """
    reporter.info(corpus.summary)
    for warning in corpus.warnings:
        reporter.warning(warning)
    least = options.least_size(len(corpus.authors))
    if options.max_size is not None and options.max_size < least:
        raise CorpusError(
            f"{corpus.root}: a model of {len(corpus.authors):,} authors takes {_mebibytes(least)} at least, and "
            f"--max-size allows {_mebibytes(options.max_size)}"
        )
    fitted = fit_fusion(corpus, options, reporter=reporter)
    if not len(fitted.ngrams.buckets):
        raise CorpusError(
            f"{corpus.root}: no n-gram is in enough of its documents to learn from; longer texts are needed"
        )
    for warning in fitted.warnings:
        reporter.warning(warning)
    bundle = _write(workspace, name, corpus, fitted, options)
    with raising_output_errors(workspace.out):
        workspace.discard_state()  # of an unfinished training, which is replaced
    return bundle


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f}M"


def _write(workspace: Workspace, name: str, corpus: Corpus, fitted: FusionFit, options: NgramOptions) -> Bundle:
    out, typography = Path(workspace.out), options.typography
    record = {
        "format": RUN_FORMAT,
        "recipe": "ngrams",
        "typography": typography,
        **({} if options.sample_words is None else {"sample_words": options.sample_words}),
        "authors": list(corpus.authors),
        "corpus": _describe_corpus(corpus),
        "fusion": describe_ngrams(fitted),
        "versions": versions(),
    }
    bundle = _bundle(out, name or out.resolve().name, corpus, fitted, record)
    bundle = replace(bundle, typography=typography)
    files: dict[str, Content] = {
        NGRAMS: fitted.ngrams.to_bytes(),
        "config.json": encode_json(_config(corpus)),
        "README.md": ngram_card(bundle),
    }
    record["files"] = {name: content_sha256(content) for name, content in files.items()}
    files["run.json"] = encode_json(with_digest(record))
    return write_bundle_in(workspace, bundle, files, check=load_ngram_model, recheck=check_run)


def _bundle(out: Path, name: str, corpus: Corpus, fitted: FusionFit, record: Mapping[str, Any]) -> Bundle:
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
            "name": name,
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
    encoder = fitted.encoder
    return {
        "views": [view.name for view in fitted.ngrams.extractor.views],
        "ngrams": len(fitted.ngrams.buckets),
        "shifted_split": fitted.report,
        **({} if encoder is None else {"encoder_weight": encoder.to_json(), "effort": encoder.effort.to_json()}),
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
    with reserve_bundle(out, overwrite=force) as workspace:
        own = load_bundle(run)
        if own.ngrams is None:
            raise OutputError(f"{run}: a bundle, but one without n-grams; nothing to export")
        base, decision = own, own.decision
        if encoder is not None:
            base = load_bundle(encoder)
            if base.decision.fewest_classes == 1:
                raise OutputError(f"{encoder}: n-grams do not join an encoder whose rule is {base.decision.rule}")
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
        files: dict[str, Content] = {
            part: _read_verified(base, part) for part in base.files if part not in (base.ngrams, "run.json")
        }
        files[NGRAMS] = _read_verified(own, own.ngrams)
        provenance = {**base.provenance, "fusion": own.provenance["fusion"]}
        if name is not None or encoder is None:
            provenance["name"] = name or workspace.target.name
        # What was measured for another encoder, or another weight, says nothing about these.
        effort = base.effort_rule if encoder is None and weight is None else NOT_MEASURED
        merged = replace(base, path=out, ngrams=NGRAMS, decision=decision, effort_rule=effort, provenance=provenance)
        if encoder is not None:
            card = _read_verified(base, "README.md").decode("utf-8") if "README.md" in files else ""
            files["README.md"] = replace_ngram_section(card, ngram_section(merged))
        return write_bundle_in(workspace, merged, files, check=load_ngram_model)


def _read_verified(bundle: Bundle, name: str) -> bytes:
    """The content of a file of `bundle`, which may have been damaged after the bundle was loaded."""
    content = (bundle.path / name).read_bytes()
    if content_sha256(content) != bundle.files[name]:
        raise BundleCorruptError(f"{bundle.path / name}: the file was changed or damaged")
    return content
