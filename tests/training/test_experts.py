"""The n-gram expert's rule, as it is learnt from a corpus: who is heard, and how sure it makes answers."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import AUTHORS, write_corpus

pytest.importorskip("sklearn")
from authorid.training import experts, load_corpus
from authorid.training.experts import learn
from authorid.training.ngrams import NgramOptions


def test_of_very_many_documents_rare_authors_are_kept(tmp_path, monkeypatch):
    """Whoever the sample lacked would have no score, and the others' would be taken for theirs."""
    root = write_corpus(tmp_path / "corpus", documents=30)
    for path in list((root / AUTHORS[1]).iterdir())[1:]:
        path.unlink()
    monkeypatch.setattr(experts, "DENSE_DOCUMENTS", 12)
    found = learn(load_corpus(root), NgramOptions(bits=14))
    assert len(found.decision.familiarity.usual) == len(AUTHORS)
    assert found.report["held_out"] == 4
    assert found.report["accuracy"] == 1.0


def test_a_sample_is_spread_over_each_author_and_no_larger_than_was_asked():
    labels = np.repeat(np.arange(5), [1, 2, 3, 1000, 5000])
    chosen = experts._sample(labels, 300)
    assert len(np.unique(chosen)) == len(chosen) <= 300
    assert np.array_equal(chosen, np.sort(chosen))
    counts = np.bincount(labels[chosen])
    assert counts[:3].tolist() == [1, 2, 2]
    assert counts[3] == pytest.approx(300 / 6, rel=0.1)
    assert chosen[counts[:3].sum()] == 6
    assert chosen[-1] == len(labels) - 1
    assert np.bincount(labels[experts._sample(labels, 3)]).tolist() == [1, 2, 2, 2, 2]
