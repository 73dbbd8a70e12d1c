"""Words, their hashes and ranks, in numpy."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_ngrams import hash_of, is_word, words_of

from authorid.ngrams.arrays import encode_texts
from authorid.ngrams.words import WordSequence, _powers, join_texts, make_word_table, word_hashes, word_ranks

NO_WORDS = make_word_table(np.zeros(0, np.uint64))


@given(st.lists(st.text(alphabet="aZé9 \t\n.,\ud800", max_size=30), max_size=5))
def test_words_are_those_of_the_reference(texts):
    joined = join_texts(encode_texts(texts), NO_WORDS.spaces)
    expected = [word for text in texts for word in words_of(text)]
    assert joined.offsets.tolist() == np.cumsum([0, *(len(b"".join(words_of(text))) for text in texts)]).tolist()
    if len(joined.bytes):
        words = WordSequence(joined, NO_WORDS)
        ends = words.starts + words.lengths
        data = joined.bytes.tobytes()
        assert [data[start:end] for start, end in zip(words.starts, ends, strict=True)] == expected
    for text in texts:
        assert word_hashes(text).tolist() == [hash_of(word) for word in words_of(text) if is_word(word)]


def test_another_thread_may_store_a_shorter_table_of_powers_at_any_moment(monkeypatch):
    few = (np.ones(10, dtype=np.uint64), np.ones(10, dtype=np.uint64))
    monkeypatch.setattr("authorid.ngrams.words._known_powers", few)

    def meanwhile(frame, event, _):
        """Before every line, store what that thread would have."""
        if frame.f_code is _powers.__code__:
            frame.f_globals["_known_powers"] = few
            return meanwhile
        return None

    sys.settrace(meanwhile)
    try:
        powers, inverse = _powers(5000)
    finally:
        sys.settrace(None)
    assert len(powers) == 5000 <= len(inverse)
    assert (powers[1:] * inverse[1:5000] == powers[0]).all()


def test_common_words_are_found_although_their_hashes_share_a_slot():
    rng = np.random.default_rng(0)
    common = rng.integers(0, 1 << 64, 3000, dtype=np.uint64)
    common[:20] = np.uint64(0xABCDEF << 40) + np.arange(20, dtype=np.uint64)  # one slot for all of these
    table = make_word_table(common)
    others = np.concatenate([rng.integers(0, 1 << 64, 3000, dtype=np.uint64), common[:20] + np.uint64(100), [0]])
    wanted = np.concatenate([common, others.astype(np.uint64)])
    expected = {int(hash): rank for rank, hash in enumerate(common)}
    assert word_ranks(table, wanted).tolist() == [expected.get(int(hash), 3000) for hash in wanted]
    assert word_ranks(NO_WORDS, common[:5]).tolist() == [0] * 5


def test_common_words_that_occur_twice_or_collide_too_often_are_refused():
    hashes = np.arange(1000, dtype=np.uint64)
    with pytest.raises(ValueError, match="twice"):
        make_word_table(hashes[[0, 1, 0]])
    with pytest.raises(ValueError, match="not spread"):
        make_word_table(hashes)
