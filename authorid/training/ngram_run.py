"""Training without an encoder: seconds instead of hours, any language, and the run is a bundle already."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from authorid.bundle.manifest import NGRAMS, Bundle, WindowSpec, check_target, check_writable, load_bundle, write_bundle
from authorid.errors import CorpusError, OutputError, RunError
from authorid.training.corpus import Corpus, load_corpus, load_test_corpus
from authorid.training.fusion import UNMEASURED, Experts, learn
from authorid.training.ngram_fit import NgramOptions
from authorid.training.run_directory import check_place, clear_place, foreign, versions

__all__ = ["BESIDE", "beside", "describe", "export_ngrams", "train_ngrams"]


def train_ngrams(
    corpus: Path,
    out: Path,
    options: NgramOptions = NgramOptions(),
    *,
    test_corpus: Path | None = None,
    force: bool = False,
    told: Callable[[str], None] = lambda message: None,
) -> Bundle:
    """Fit the n-gram expert on `corpus` and write a run directory at `out` that is also a bundle.

    `test_corpus` is only checked, so that who measures the run on it later hears of a wrong one before the work is
    done. `force` replaces a run that is there; `told` hears what goes on, warnings included. Raises `CorpusError`,
    `RunError`, `OutputError` and `MissingExtraError`.
    """
    out = Path(out)
    check_place(out, resume=False, force=force)
    strange = foreign(out)
    if strange:
        raise RunError(f"{out}: holds files that are not of a training run ({strange[0]}); remove them first")
    check_writable(out.resolve().parent)  # where it grows until it is whole
    known = load_corpus(Path(corpus))
    if test_corpus is not None:
        load_test_corpus(Path(test_corpus), known)
    for warning in known.warnings:
        told(f"warning: {warning}")
    experts = learn(known, options, told)
    if not len(experts.expert.buckets):
        raise CorpusError(f"{corpus}: no n-gram is in enough of its documents to learn from; longer texts are needed")
    for warning in experts.warnings:
        told(f"warning: {warning}")
    record = {
        "format": 1,
        "recipe": "ngrams",
        "authors": list(known.authors),
        "corpus": corpus_record(known),
        "fusion": describe(experts),
        "versions": versions(),
    }
    labels = {str(index): author for index, author in enumerate(known.authors)}
    config = {
        "model_type": "authorid-ngrams",
        "id2label": labels,
        "label2id": {author: index for index, author in enumerate(known.authors)},
    }
    bundle = Bundle(
        path=out,
        model_type="authorid-ngrams",
        authors=known.authors,
        window=WindowSpec(128, 126),
        pooling="mean",
        decision=experts.decision,
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
    files: dict[str, bytes | str | Path] = {
        NGRAMS: experts.expert.to_bytes(),
        "config.json": json.dumps(config, indent=1, ensure_ascii=False) + "\n",
        "run.json": json.dumps(record, indent=1, ensure_ascii=False) + "\n",
        "README.md": card(bundle),
    }
    if not (out / "run.json").exists():  # what is there is an unfinished training at most, and `force` was said
        clear_place(out, force=force)
        (out / "checkpoint").rmdir()
    return write_bundle(bundle, files, overwrite=True, kind="run.json")


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """What is written down about a corpus: nothing of its text."""
    return {
        "name": corpus.root.resolve().name,
        "digest": corpus.digest,
        "documents": len(corpus.documents),
        "authors": len(corpus.authors),
    }


def describe(experts: Experts) -> dict[str, Any]:
    """What a record says about the n-gram expert and what was learnt with it."""
    return {
        "views": [view.name for view in experts.expert.reader.views],
        "ngrams": len(experts.expert.buckets),
        "shifted_split": experts.report,
    }


def card(bundle: Bundle) -> str:
    """README.md of a bundle that has n-grams only."""
    about = bundle.provenance["fusion"]
    corpus = bundle.provenance["corpus"]
    split = about["shifted_split"]
    figures = [
        f"- {name.replace('_', ' ')}: {value:.4g}" for name, value in split.items() if not isinstance(value, str)
    ]
    parts = [
        "---\ntags:\n- authorship-attribution\n- stylometry\n- authorid\n---",
        f"# {bundle.name}",
        f"Tells which of {len(bundle.authors)} authors wrote a document, by {about['ngrams']:,} n-grams in "
        f"{len(about['views'])} views ({', '.join(about['views'])}). Made with authorid "
        "(`pip install authorid-toolkit`, or `pip install .` in a checkout) "
        f"from {corpus['documents']} documents of the corpus `{corpus['name']}` (digest `{corpus['digest'][:16]}`).",
        "```\nauthorid score DOCUMENTS --model THIS_DIRECTORY --out results.csv\n```",
        "## On the shifted split",
        f"Held out of a first fit ({split.get('split', 'nothing')}); the expert itself was then fitted on everything.",
        "\n".join(figures) or "Nothing could be held out.",
        "## Limits",
        "It knows only its own authors; short texts carry little evidence; subject and style are entangled. Scores are "
        "evidence to weigh, not proof. Do not use it to unmask people who have a right to stay anonymous.",
    ]
    return "\n\n".join(parts) + "\n"


BESIDE = "## N-grams beside the encoder"
"""The heading of what a card says about the second expert."""


def beside(bundle: Bundle) -> str:
    """What the card of a bundle of two experts says about the second one."""
    about, weight = bundle.provenance["fusion"], bundle.decision.encoder_weight
    split = about["shifted_split"]
    lines = [
        f"`{NGRAMS}` holds {about['ngrams']:,} n-grams in {len(about['views'])} views "
        f"({', '.join(about['views'])}). `authorid.json` has the rule that makes one answer of both experts.",
        f"The encoder's log-probabilities have the weight {weight:g} in it, beside n-gram scores of the weight "
        f"{bundle.decision.ngram_weight:g}."
        + ("" if weight else " So `--effort auto` does not ask it: nothing was held out to weigh it by."),
    ]
    if "accuracy" in split:
        lines.append(
            f"On documents held out of a first fit ({split['split']}) the n-grams alone had accuracy "
            f"{split['accuracy']:.3f}; authors left out altogether were told from the others with an AUROC of "
            f"{split.get('open_set_auroc', float('nan')):.3f}."
        )
    return "\n\n".join(lines)


def _with_section(card: str, section: str) -> str:
    """The `card` with what it says of the n-grams, if anything, replaced by this `section`."""
    before, _, rest = card.partition(BESIDE)
    _, heading, after = rest.partition("\n## ")
    return f"{before.rstrip()}\n\n{BESIDE}\n\n{section}\n" + (f"{heading}{after}" if heading else "")


def export_ngrams(
    run: Path,
    out: Path,
    *,
    encoder: Path | None = None,
    weight: float | None = None,
    name: str | None = None,
    force: bool = False,
) -> Bundle:
    """Write the n-gram run `run` as a bundle at `out`; with `encoder`, beside the graphs of that bundle.

    `weight` is that of the encoder's mean log-softmax; when it is None, that of `run` where it has an encoder, else
    `UNMEASURED`. Raises `BundleError`, and `OutputError` when the two know different authors or there is no encoder to
    weigh.
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
            raise OutputError(f"{base.path}: an encoder to be given the weight {weight} is needed; there is none")
        decision = replace(decision, encoder_weight=weight)
    if own.authors != base.authors:
        raise OutputError(f"{run}: does not know the same authors as {encoder}")
    files: dict[str, bytes | str | Path] = {
        name: (base.path / name).read_bytes() for name in base.files if name not in (base.ngrams, "run.json")
    }
    files[NGRAMS] = (own.path / own.ngrams).read_bytes()
    provenance = {**base.provenance, "fusion": own.provenance["fusion"]}
    if name is not None or encoder is None:
        provenance["name"] = name or out.resolve().name
    merged = replace(base, path=out, ngrams=NGRAMS, decision=decision, provenance=provenance)
    if encoder is not None:
        readme = base.path / "README.md"
        files["README.md"] = _with_section(readme.read_text("utf-8") if "README.md" in files else "", beside(merged))
    return write_bundle(merged, files, overwrite=force)
