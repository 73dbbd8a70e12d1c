from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from authorid.cancellation import CancelledError
from authorid.encoder.windows import Windower, cut
from authorid.errors import BundleCorruptError


def test_a_document_that_fits_gets_one_window():
    assert cut(5, 10, 10) == [(0, 5)]
    assert cut(10, 10, 3) == [(0, 10)]
    assert cut(0, 10, 10) == []


def test_long_documents_are_cut_evenly():
    assert cut(20, 8, 8) == [(0, 8), (6, 14), (12, 20)]
    assert cut(300, 126, 126) == [(0, 110), (95, 205), (190, 300)]  # 112 tokens with [CLS] and [SEP]
    assert cut(252, 126, 126) == [(0, 126), (126, 252)]


def test_a_smaller_stride_makes_full_windows_overlap():
    assert cut(20, 8, 4) == [(0, 8), (4, 12), (8, 16), (12, 20)]


@given(tokens=st.integers(1, 5000), length=st.integers(1, 600), data=st.data())
def test_spans_cover_all_tokens_with_equal_lengths_and_limited_strides(tokens, length, data):
    stride = data.draw(st.integers(1, length))
    spans = cut(tokens, length, stride)
    assert spans[0][0] == 0
    assert spans[-1][1] == tokens
    assert all(0 < stop - start <= length for start, stop in spans)
    for (start, stop), (following, _) in itertools.pairwise(spans):
        assert start < following <= stop
        assert following - start <= stride
    (own,) = {stop - start for start, stop in spans}
    if stride == length:
        assert len(spans) == -(-tokens // length)
        assert own - tokens / len(spans) < 16
        assert len(spans) == 1 or own == length or (own + 2) % 16 == 0
    elif len(spans) > 1:
        assert own == length


@pytest.mark.parametrize(("length", "stride"), [(0, 0), (5, 0), (5, 6)])
def test_strides_out_of_range_are_refused(length, stride):
    with pytest.raises(ValueError, match="stride"):
        cut(10, length, stride)


def test_windows_have_special_tokens_and_nothing_is_truncated():
    windower = Windower(make_tokenizer(), 8)
    (ids,) = windower.token_ids(["the river " * 50])
    assert len(ids) == 100
    windows = windower.windows(ids, document=7)
    first, last = (windower.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    assert all(w.ids[0] == first and w.ids[-1] == last and w.document == 7 for w in windows)
    assert [w.position for w in windows] == list(range(len(windows)))
    spans = cut(100, 6, 6)
    assert [w.ids[1:-1].tolist() for w in windows] == [ids[start:stop].tolist() for start, stop in spans]


CHARACTERS = ["river", "market", " ", "\n", "中文字", "あいう", "。", "!", "\u0301", "é", "ﷺ", "😀", "[MASK]", "x" * 99]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(CHARACTERS), st.integers(1, 3000)), min_size=1, max_size=8), st.booleans())
def test_a_text_has_the_same_tokens_in_parts_as_in_one_piece(runs, cased):
    tokenizer = make_tokenizer()
    tokenizer.normalizer = BertNormalizer(lowercase=not cased)
    windower = Windower(tokenizer, 16)
    text = "".join(part * times for part, times in runs)[:200_000]
    whole = tokenizer.encode(text, add_special_tokens=False).ids
    assert windower.token_ids(["the oar", text, ""])[1].tolist() == whole


def test_parts_are_not_cut_where_an_added_token_may_lie():
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["the river"])
    ids = Windower(tokenizer, 16).token_ids(["the river " * 5000])[0]
    assert set(ids.tolist()) == {tokenizer.token_to_id("the river")}


def test_tokenizing_is_cancelled_between_two_steps():
    steps = []

    def check():
        steps.append(1)
        if len(steps) > 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        Windower(make_tokenizer(), 16).token_ids(["the river " * 100_000], check)
    assert len(steps) == 4


def test_truncate_keeps_only_the_first_window():
    windower = Windower(make_tokenizer(), 8, truncate=True)
    (ids,) = windower.token_ids(["the river " * 50])
    (window,) = windower.windows(ids)
    assert np.array_equal(window.ids[1:-1], ids[:6])


def test_an_invalid_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(BundleCorruptError, match=r"tokenizer\.json"):
        Windower.from_file(path, 128)


def numbered_words(count):
    """A tokenizer whose tokens are numbered words, and a text of `count` words in order."""
    words = [f"w{i}" for i in range(count)]
    vocabulary = ["[UNK]", "[CLS]", "[SEP]", *words]
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    return tokenizer, " ".join(words)


@pytest.mark.parametrize("words", [60, 130, 400, 20_000])
def test_a_limited_number_of_windows_is_spread_evenly_over_the_document(words):
    """Whether the text is tokenized as a whole, as it is up to some length, or only passages of it."""
    tokenizer, text = numbered_words(words)
    windower, every = Windower(tokenizer, 12, max_windows=6), Windower(tokenizer, 12)
    (ids,), (all_ids,) = windower.token_ids([text]), every.token_ids([text])
    windows = windower.windows(ids, document=3)
    assert [(window.document, window.position) for window in windows] == [(3, i) for i in range(6)]
    names = [[tokenizer.id_to_token(token) for token in window.ids[1:-1]] for window in windows]
    for number, own in enumerate(names):
        assert own == [f"w{int(own[0][1:]) + i}" for i in range(10)]  # consecutive words of the document
        middle = (int(own[0][1:]) + int(own[-1][1:])) / 2
        assert abs(middle / words - (number + 0.5) / 6) < 1 / 12, (number, own)
    assert len(every.windows(all_ids)) == -(-words // 10)


def test_a_document_with_no_more_windows_than_the_limit_is_read_whole():
    for limit in (9, 10, 0):
        windower = Windower(make_tokenizer(), 8, max_windows=limit)
        (ids,) = windower.token_ids(["the river " * 27])
        assert len(windower.windows(ids)) == 9


@given(
    st.text(alphabet=[*"abc \n\t", "中", "\u0301", "😀", "\x00"], max_size=4000), st.integers(1, 4), st.integers(1, 6)
)
def test_any_text_has_at_most_the_limit_of_windows(text, limit, stride):
    windower = Windower(make_tokenizer(), 8, stride, max_windows=limit)
    (ids,), (together, _) = windower.token_ids([text]), windower.token_ids([text, "the oar"])
    windows = windower.windows(ids)
    assert len(windows) <= limit
    assert len(ids) <= max(len(text), limit * windower.content)
    assert np.array_equal(ids, together)  # whatever the neighbours
    assert bool(windows) == bool(len(ids))


def test_of_a_very_long_text_only_passages_are_tokenized():
    tokenized = []
    windower = Windower(make_tokenizer(), 128, max_windows=64)
    encode = windower._encode
    windower._encode = lambda parts: tokenized.extend(map(len, parts)) or encode(parts)
    (ids,) = windower.token_ids(["the river " * 1_600_000])
    assert len(ids) == 64 * 126
    assert sum(tokenized) <= 64 * 126 * 8
