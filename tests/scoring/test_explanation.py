from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from fusion_bundle import DOCUMENTS, make_fusion_bundle
from tiny import AUTHORS, prose

from authorid.errors import BundleLacksError
from authorid.scoring.attribution import Attribution
from authorid.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def fusion(tmp_path_factory):
    return make_fusion_bundle(tmp_path_factory.mktemp("explanation"))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    root = tmp_path_factory.mktemp("letters")
    for number, text in enumerate(DOCUMENTS):
        (root / f"{number:02}.txt").write_text(text)
    (root / "damaged.txt").write_bytes(b"\x00\x01\x02")
    return root


@pytest.mark.parametrize("effort", ["fast", "full", "auto"])
def test_an_explanation_for_each_document_with_the_answer_of_score(fusion, letters, effort):
    scorer = Scorer(fusion, effort=effort)
    rows = list(scorer.score([letters], evidence=True))
    explained = list(scorer.explain([letters]))
    assert [one if isinstance(one, Attribution) else one.attribution for one in explained] == rows
    assert isinstance(explained[-1], Attribution) and explained[-1].status == "failed"
    for one in explained[:-1]:
        author, other = one.compared()
        found = one.of(author)
        assert found.probability == one.attribution.probability
        total = found.intercept + one.contributions.of_ngrams(one.authors.index(author)).sum()
        assert total == pytest.approx(found.score, abs=1e-6)
        odds = one.log_odds(author, other)
        assert odds.total == pytest.approx(math.log(one.attribution.ranking[0][1] / one.attribution.ranking[1][1]))
        assert odds.ngrams + odds.encoder == pytest.approx(odds.total)
        assert (odds.encoder == 0) == (one.attribution.expert == "ngrams")


def test_the_share_of_the_ngrams_is_what_they_say_alone(fusion, letters):
    alone = {row.path: dict(row.ranking) for row in Scorer(fusion, effort="fast").score([letters])}
    for one in list(Scorer(fusion, effort="full").explain([letters]))[:-1]:
        assert one.attribution.expert == "both"
        author, other = one.compared()
        shares = alone[one.attribution.path]
        odds = math.log(shares[author] / shares[other]) / fusion.decision.temperature
        assert one.log_odds(author, other).ngrams == pytest.approx(odds, abs=1e-5)


def test_a_wrong_author_is_compared_with_the_answer(fusion, letters):
    one = next(Scorer(fusion).explain([letters / "05.txt"]))
    answer, second = one.compared()
    third = next(name for name in AUTHORS if name not in (answer, second))
    assert one.compared(third) == (third, answer)
    assert one.compared(answer) == (answer, second)
    record = json.loads(json.dumps(one.to_json(third)))
    assert [part["author"] for part in record["authors"]] == [third, answer]
    assert record["answer"] == answer
    for part in record["authors"]:
        for ngram in part["ngrams"]:
            assert one.text[ngram["start"] : ngram["end"]] == ngram["text"]
        for passage in part["passages"]:
            assert one.text[passage["start"] : passage["end"]].strip() == passage["text"]
    with pytest.raises(ValueError, match="no author 'Mallory'"):
        one.compared("Mallory")


def test_segments_of_an_explained_document(fusion, tmp_path):
    (tmp_path / "long.txt").write_text(prose("Ben", 400, seed=1) + prose("Cyd", 400, seed=2))
    one = next(Scorer(fusion).explain([tmp_path]))
    assert [segment.author for segment in one.segments().segments] == ["Ben", "Cyd"]


@pytest.mark.parametrize("effort", ["fast", "full", "auto"])
def test_rows_are_explained_alike_alone_and_together(fusion, letters, effort):
    scorer = Scorer(fusion, effort=effort)
    rows = list(scorer.score([letters], explain=True))
    assert [row.ref for row in rows if row.explanation is None] == [rows[-1].ref]
    for row in rows[:-1]:
        record = json.loads(row.explanation)
        assert record["author"] == row.ranking[0][0]
        assert len(row.explanation) < 4000
    alone = [next(scorer.score([letters / "04.txt"], explain=True)).explanation]
    assert alone == [row.explanation for row in rows if row.path.endswith("04.txt")]
    assert all(row.explanation is None for row in scorer.score([letters]))


def test_a_model_without_n_grams_explains_nothing(bundle, letters):
    with pytest.raises(BundleLacksError, match="no n-gram model"):
        Scorer(bundle).explain([letters])
    with pytest.raises(BundleLacksError, match="no n-gram model"):
        Scorer(bundle).score([letters], explain=True)
    with pytest.raises(TypeError, match="write explain"):
        Scorer(bundle).explain(str(letters))


def test_log_odds_are_finite_where_a_probability_vanishes(fusion, letters):
    one = next(Scorer(fusion, effort="fast").explain([letters / "05.txt"]))
    ranking = (("Ada", 1.0), ("Ben", 0.0), ("Cyd", 0.0))
    vanished = replace(one, attribution=replace(one.attribution, ranking=ranking))
    assert 700 < vanished.log_odds("Ada", "Ben").total < 710
    assert vanished.log_odds("Ben", "Cyd").total == 0
