"""What a model card (README.md of a bundle) says about the n-gram model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authorid.bundle.manifest import NGRAMS, Bundle

__all__ = ["NGRAM_HEADING", "ngram_card", "ngram_section", "replace_ngram_section"]

NGRAM_HEADING = "## N-grams beside the encoder"
"""Heading of the section on the n-gram model in the card of a bundle that also has an encoder."""


def ngram_card(bundle: Bundle) -> str:
    """Return README.md for a bundle that has only an n-gram model."""
    about = bundle.provenance["fusion"]
    corpus = bundle.provenance["corpus"]
    split = about["shifted_split"]
    figures = [
        f"- {name.replace('_', ' ')}: {value:.4g}" for name, value in split.items() if not isinstance(value, str)
    ]
    parts = [
        "---\ntags:\n- authorship-attribution\n- stylometry\n- authorid\n---",
        f"# {bundle.name}",
        f"Attributes documents to one of {len(bundle.authors)} authors, by {about['ngrams']:,} n-grams in "
        f"{len(about['views'])} views ({', '.join(about['views'])}). Made with `authorid` (package `authorid-toolkit`) "
        f"from {corpus['documents']} documents of the corpus `{corpus['name']}` (digest `{corpus['digest'][:16]}`).",
        "```\nauthorid score DOCUMENTS --model THIS_DIRECTORY --out results.csv\n```",
        "## Results on the shifted split",
        f"Documents held out of a first fit ({split.get('split', 'none')}). The model itself was then fitted on all "
        "documents.",
        "\n".join(figures) or "Nothing could be held out.",
        *_floor(bundle),
        "## Limits",
        "The model knows only its own authors. Short texts carry little evidence. Subject and style are entangled. "
        "Probabilities are evidence, not proof. Do not use the model to unmask people who have a right to stay "
        "anonymous.",
    ]
    return "\n\n".join(parts) + "\n"


def ngram_section(bundle: Bundle) -> str:
    """Return the section on the n-gram model for the card of a bundle with an encoder."""
    about, weight = bundle.provenance["fusion"], bundle.decision.encoder_weight
    split = about["shifted_split"]
    paragraphs = [
        f"`{NGRAMS}` holds {about['ngrams']:,} n-grams in {len(about['views'])} views "
        f"({', '.join(about['views'])}). `authorid.json` has the rule that fuses both models into one answer.",
        f"The encoder's log-probabilities have the weight {weight:g} in it, the n-gram scores the weight "
        f"{bundle.decision.ngram_weight:g}."
        + ("" if weight else f" So `--effort auto` does not run the encoder. {_why_no_weight(about)}"),
    ]
    fit = about.get("encoder_weight", {})
    if "right" in fit:
        right = ", ".join(f"{effort} {count}" for effort, count in fit["right"].items())
        paragraphs.append(
            f"Of {fit['documents']} documents held out of the training of both, each effort attributed so many to "
            f"their authors: {right}. Effort auto read {fit['windows_read']:.1%} of the windows. The default effort is "
            f"{bundle.default_effort}; auto is the default only if it gains more than 0.2 points over fast."
        )
    if "accuracy" in split:
        auroc = split.get("open_set_auroc")
        detection = (
            "" if auroc is None else f"; authors left out of the fit were recognized with an AUROC of {auroc:.3f}"
        )
        paragraphs.append(
            f"On documents held out of a first fit ({split['split']}) the n-grams alone had accuracy "
            f"{split['accuracy']:.3f}{detection}."
        )
    return "\n\n".join([*paragraphs, *_floor(bundle)])


def _floor(bundle: Bundle) -> list[str]:
    """Return a paragraph on what the model leaves unanswered, in a list; an empty list if there is no threshold."""
    threshold = bundle.decision.coverage_threshold
    if not threshold:
        return []
    return [
        f"Documents with fewer than {threshold:.1%} of their n-grams in the vocabulary (for short ones, fewer still) "
        "are unlike anything in training and get the answer `unknown`: other languages, source code, encoded data."
    ]


def _why_no_weight(about: Mapping[str, Any]) -> str:
    """Return why the encoder has the weight 0; `about` describes the fit."""
    fit = about.get("encoder_weight")
    if fit is None:
        return "No weight was fitted for it."
    if not fit["documents"]:
        return "No weight could be fitted for it."
    if fit["fitted"]:
        return f"This was chosen at export; the weight {fit['fitted']:g} was fitted on {fit['documents']} documents."
    return f"It improved nothing on the {fit['documents']} documents that were held out to fit its weight."


def replace_ngram_section(card: str, section: str) -> str:
    """Return `card` with `section` in place of its section on the n-gram model, or at the end if it has none."""
    before, _, rest = card.partition(NGRAM_HEADING)
    _, heading, after = rest.partition("\n## ")
    return f"{before.rstrip()}\n\n{NGRAM_HEADING}\n\n{section}\n" + (f"{heading}{after}" if heading else "")
