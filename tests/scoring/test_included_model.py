"""What the included model does with English prose, and with everything else."""

from __future__ import annotations

from collections import Counter

import pytest
from other_texts import no_prose

from authorid.scoring.scorer import Scorer

UNLIKE = "unlike anything in training"


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_other_languages_code_and_data_are_unknown(effort):
    kinds, texts = zip(*no_prose(20 if effort == "fast" else 2), strict=True)
    rows = list(Scorer.load(effort=effort).score_texts(texts))
    unknown = Counter(kind for kind, row in zip(kinds, rows, strict=True) if row.reason == UNLIKE)
    assert all(unknown[kind] >= 0.95 * number for kind, number in Counter(kinds).items())
    assert {row.windows for row in rows if row.reason == UNLIKE} == {0}


def test_the_english_examples_are_attributed():
    assert {row.status for row in Scorer.load(effort="fast").score(["examples"])} == {"scored"}


@pytest.mark.corpus
@pytest.mark.slow
def test_nearly_every_article_of_c50test_is_attributed(c50):
    """Also where articles are cut short. Numbers in docs/explanation/probabilities.md."""
    paths = sorted((c50 / "C50test").rglob("*.txt"))
    truth, texts = [path.parent.name for path in paths], [path.read_bytes().decode("utf-8") for path in paths]
    scorer = Scorer.load(effort="fast")
    rows = list(scorer.score_texts(texts))
    named = [row.status == "scored" for row in rows]
    right = [row.author == author for row, author in zip(rows, truth, strict=True)]
    assert sum(right) / len(rows) >= 0.786
    assert sum(a and b for a, b in zip(named, right, strict=True)) / sum(named) >= 0.786
    assert named.count(False) <= 0.005 * len(rows)
    for length in (10, 50, 200, 500):
        cut = [text[1000 : 1000 + length] for text in texts if len(text) >= 1000 + length]
        unlike = sum(row.status == "unknown" for row in scorer.score_texts(cut))
        assert unlike <= 0.005 * len(cut)
