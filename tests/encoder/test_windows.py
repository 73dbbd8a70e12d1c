from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_tokenizer

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
