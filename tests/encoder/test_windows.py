from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_tokenizer
from tokenizers.normalizers import BertNormalizer

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
