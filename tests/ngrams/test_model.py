"""The n-gram expert: what it counts, that it counts right, and that nothing broken is read."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.bundle.safetensors import read_tensors, write_tensors
from authorid.ngrams import kernels as native
from authorid.ngrams.features import FeatureExtractor, View, _CommonWords, _powers
from authorid.ngrams.model import NgramModel

pytest.importorskip("scipy")
from authorid.training.ngram_fit import NgramOptions, _matrix, count, fit


@pytest.fixture(scope="module", autouse=True, params=["compiled", "numpy"])
def loops(request):
    """Everything here holds for the compiled loops and for those in numpy."""
    if request.param == "compiled" and native.module is None:
        pytest.skip("this package was built without a C compiler")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(native, "module", None)
        yield


WORDS = ["the", "The", "of", "river", "boat", "U.S.", "don't", "1996", "3.5", "Größe", "日本", "and", ",", ".", "a\nb"]


def texts(count: int = 30) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 60 + i)) for i in range(count)]


LABELS = np.arange(30) % 3


def expert(**changes) -> NgramModel:
    options = NgramOptions(**{"bits": 16, **changes})
    return fit(count(texts(), LABELS, options), LABELS, 3, options)


def test_agrees_with_scikit_learn_where_nothing_collides():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    options = NgramOptions(views=(View("b", "byte", (3, 4)),), bits=24, weights="float32", ridge=0.3, min_documents=2)
    ours = fit(count(texts(), LABELS, options), LABELS, 3, options)
    vectorizer = text.TfidfVectorizer(analyzer="char", ngram_range=(3, 4), lowercase=False, sublinear_tf=True, min_df=2)
    vectorizer.fit(own := [item.encode().decode("latin-1") for item in texts()])
    vectorizer.idf_ = np.sqrt(vectorizer.idf_)
    matrix = vectorizer.transform(own).toarray()
    assert ours.weights.shape[0] == matrix.shape[1]
    _, values = ours.features(texts()[3])
    np.testing.assert_allclose(np.sort(values), np.sort(matrix[3][matrix[3] > 0]), atol=1e-6)
    model = linear.Ridge(alpha=0.3, fit_intercept=False)
    model.fit(np.hstack([matrix, np.ones((30, 1))]), np.where(np.eye(3)[LABELS] > 0, 1, -1))
    expected = model.predict(np.hstack([matrix, np.ones((30, 1))]))
    np.testing.assert_allclose([ours.scores(item) for item in texts()], expected, atol=1e-4)


def test_int8_weights_cost_little():
    exact, small = expert(weights="float32"), expert()
    for item in texts():
        np.testing.assert_allclose(small.scores(item), exact.scores(item), atol=0.02)


def test_a_long_text_is_counted_piece_by_piece(monkeypatch):
    words = expert(views=(View("w", "word", (1,)),))
    text = " ".join(texts())
    whole = words.features(text)
    monkeypatch.setattr("authorid.ngrams.vectorizer._PIECE", 100)
    pieces = words.features(text)
    assert np.array_equal(whole[0], pieces[0])
    assert np.array_equal(whole[1], pieces[1])
    everything = expert()
    near = everything.scores(text)
    monkeypatch.undo()
    np.testing.assert_allclose(near, everything.scores(text), atol=0.1)
    assert np.isfinite(everything.scores("x" * 1_000_000)).all()


def test_memory_does_not_grow_with_the_text():
    words = expert()
    words.scores("warm up")
    peaks = []
    for text in ["the river and the boat " * (20_000 * size) for size in (1, 8)]:
        tracemalloc.start()
        words.scores(text)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_masking_leaves_the_common_words():
    common = FeatureExtractor.word_hashes("the of")
    masked = FeatureExtractor([View("m", "byte", (4,), keep=2)], common, 16)
    assert sorted(masked.buckets("the river OF 1996")[0]) == sorted(masked.buckets("the xxxxx OF 2024")[0])
    assert sorted(masked.buckets("the river")[0]) != sorted(masked.buckets("a river")[0])
    assert sorted(masked.buckets("the river")[0]) != sorted(masked.buckets("the River")[0])
    short = FeatureExtractor([View("s", "word", (2,), keep=2, mask="one")], common, 16)
    assert sorted(short.buckets("the river of")[0]) == sorted(short.buckets("the brook of")[0])
    assert sorted(short.buckets("the river of")[0]) != sorted(short.buckets("the river,of")[0])


@pytest.mark.parametrize("text", ["", "x", "\n", "é", "\ud800", "\0\0\0\0\0", " " * 50, "日" * 5])
def test_every_text_has_finite_scores(text):
    assert np.isfinite(expert().scores(text)).all()


EVERY_KIND = (
    View("b", "byte", (1, 4)),
    View("shape", "byte", (4,), keep=3, once=True),
    View("one", "byte", (3, 5), keep=2, mask="one"),
    View("w", "word", (1, 3)),
    View("masked", "word", (2,), keep=3, mask="one", once=True),
)
OF_EVERY_KIND = expert(views=EVERY_KIND, min_documents=1)

pieces = st.sampled_from([*WORDS, " ", "  ", "\n\n", "", "x" * 300, "\ud800", "E\u0301"])
many_texts = st.lists(st.lists(pieces, max_size=12).map(" ".join), max_size=40)


@given(many_texts, st.sampled_from([60, 1 << 18]))
def test_a_text_is_read_the_same_in_any_company(company, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authorid.ngrams.vectorizer._PIECE", piece)
        together = OF_EVERY_KIND.read(company)
        assert together.scores.shape == (len(company), 3)
        for text, *row in zip(company, together.scores, together.parts, strict=True):
            alone = OF_EVERY_KIND.read([text])
            assert all(map(np.array_equal, row, (alone.scores[0], alone.parts[0])))


@pytest.mark.parametrize("company", [["boat"] * 300, ["The river of 1996 " * 20000, "the boat", "Größe"]])
def test_one_view_alone_reads_any_number_of_texts(company):
    one = expert(views=EVERY_KIND[:1])
    together = one.read(company).scores
    assert all(np.array_equal(row, one.scores(text)) for text, row in zip(company, together, strict=True))


@pytest.mark.parametrize(
    "wrong", [{"sizes": (3, 3)}, {"sizes": ()}, {"keep": 1.5}, {"keep": 1 << 31}, {"keep": -1}, {"weight": np.inf}]
)
def test_a_view_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="view v"):
        View(**{"name": "v", "unit": "byte", "sizes": (3,), **wrong})


@given(many_texts)
def test_ngrams_stay_within_their_text(company):
    reader = OF_EVERY_KIND.reader
    for number, view in enumerate(reader.grams(company)):
        for kind, grams in enumerate(view):
            assert grams.edges[0] == 0 and grams.edges[-1] == len(grams.buckets)
            for text, start, stop in zip(company, grams.edges[:-1], grams.edges[1:], strict=True):
                (alone,) = reader.grams([text])[number][kind : kind + 1]
                assert np.array_equal(grams.buckets[start:stop], alone.buckets)


def test_another_thread_may_want_fewer_powers_at_any_moment(monkeypatch):
    few = (np.ones(10, dtype=np.uint64), np.ones(10, dtype=np.uint64))
    monkeypatch.setattr("authorid.ngrams.features._known_powers", few)

    def meanwhile(frame, event, _):
        """Before every line, put in what that thread would have."""
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


def test_scores_do_not_depend_on_history():
    one, other = expert(), expert()
    for item in texts():
        one.scores(item)
    assert (one.scores(texts()[5]) == other.scores(texts()[5])).all()


def test_what_many_authors_share():
    """Of ten authors one has a word of its own, two share one, and three another."""
    company = [f"own{'abcdefghij'[author]} " + "two " * (author < 2) + "three " * (author < 3) for author in range(10)]
    words = NgramOptions(views=(View("w", "word", (1,)),), bits=20, min_documents=1)

    def shared(options: NgramOptions, documents: int) -> dict[str, bool]:
        """Of the words that are looked at, whether they are shared."""
        counts = count(company, np.arange(10), options, np.arange(documents))
        buckets = dict(zip(names, counts.reader.buckets(" ".join(names))[0].tolist(), strict=True))
        known = dict(zip(counts.buckets.tolist(), counts.shared.tolist(), strict=True))
        return {name: known[bucket] for name, bucket in buckets.items() if bucket in known}

    names = ("owna", "two", "three", "ownj")
    assert shared(words, 10) == {"owna": False, "two": False, "three": True, "ownj": False}
    # What is in other documents than those of the training does not count.
    assert shared(words, 4) == {"owna": True, "two": True, "three": True}
    # A view may look at nothing else.
    only = replace(words, views=(View("w", "word", (1,), shared=True),))
    assert shared(only, 10) == {"three": True}
    assert shared(only, 4) == shared(words, 4)


def test_parts_are_what_the_features_say():
    own = [f"{text} {'abcdefghij'[number % 10] * 9}" for number, text in enumerate(texts())]
    options = NgramOptions(bits=16, weights="float32")
    ours = fit(count(own, np.arange(30) % 10, options), np.arange(30) % 10, 10, options)
    rows, values = ours.features(text := own[7])
    assert 0 < ours.shared[rows].sum() < len(rows)
    for part in (0, 1):
        those = ours.shared[rows] == part
        found = ours.read([text]).parts[0, :, part].sum(axis=0)
        np.testing.assert_allclose(found, values[those] @ ours.weights[rows[those]], atol=1e-5)


def test_a_file_gives_back_what_was_written():
    before = expert()
    after = NgramModel.from_bytes(before.to_bytes())
    assert after.reader.views == before.reader.views
    assert (after.scores(texts()[0]) == before.scores(texts()[0])).all()


def test_the_size_is_bounded():
    options = NgramOptions(bits=16, megabytes=0.001)
    assert len(count(texts(), LABELS, options).buckets) == 1000 or len(count(texts(), LABELS, options).buckets) < 1000


@pytest.mark.parametrize("bits", [7, 25])
def test_tables_that_no_memory_holds_are_not_asked_for(bits):
    with pytest.raises(ValueError, match="between 8 and 24"):
        NgramOptions(bits=bits)


@pytest.mark.parametrize("views", [EVERY_KIND, EVERY_KIND[:1]])
def test_training_counts_what_scoring_counts(views):
    """Every n-gram of every text, as often as it occurs."""
    many = [*texts(), "", "x", "Größe " * 50]
    reader = FeatureExtractor(views, FeatureExtractor.word_hashes("the of river"), 12)
    found = _matrix(reader, many)
    assert found.shape == (len(many), len(views) << 12)
    for text, row in zip(many, found.toarray(), strict=True):
        own = [np.bincount(buckets, minlength=1 << 12) for buckets in reader.buckets(text)]
        assert np.array_equal(row, np.concatenate(own))


@pytest.mark.parametrize("cut", [0, 7, 8, 100, -1])
def test_a_cut_file_is_refused(cut):
    with pytest.raises(ValueError):
        NgramModel.from_bytes(expert().to_bytes()[:cut])


def test_damaged_parts_are_refused():
    tensors, metadata = read_tensors(expert().to_bytes())
    for name, worse in {
        "bias": tensors["bias"] * np.nan,
        "idf": tensors["idf"][:-1],
        "buckets": tensors["buckets"][::-1],
        "weights": tensors["weights"].astype(np.float64),
        "shared": tensors["shared"] + 1,
    }.items():
        with pytest.raises(ValueError):
            NgramModel.from_bytes(write_tensors({**tensors, name: np.ascontiguousarray(worse)}, metadata))
    for name, value in {"format": "1", "bits": "99", "views": "[]", "bounds": "[0]"}.items():
        with pytest.raises(ValueError):
            NgramModel.from_bytes(write_tensors(tensors, {**metadata, name: value}))


def test_the_format_is_safetensors():
    numpy_format = pytest.importorskip("safetensors.numpy")
    ours = expert().to_bytes()
    theirs = numpy_format.load(ours)
    tensors, metadata = read_tensors(ours)
    assert set(theirs) == set(tensors)
    assert all((theirs[name] == tensors[name]).all() for name in tensors)
    again, _ = read_tensors(numpy_format.save(dict(theirs), metadata))
    assert all((again[name] == tensors[name]).all() for name in tensors)


def test_four_grams_are_the_same_however_they_are_read():
    one, two = (
        FeatureExtractor([View("a", "byte", (4,))], np.zeros(0, np.uint64), 30),
        FeatureExtractor([View("a", "byte", (4, 5))], np.zeros(0, np.uint64), 30),
    )
    for item in ["abc", "abcd", *texts(3)]:
        four = one.buckets(item)[0]
        assert (four == two.buckets(item)[0][: len(four)]).all()


def test_common_words_are_found_by_their_hash_whatever_shares_its_slot():
    rng = np.random.default_rng(0)
    common = rng.integers(0, 1 << 64, 3000, dtype=np.uint64)
    common[:20] = np.uint64(0xABCDEF << 40) + np.arange(20, dtype=np.uint64)  # one slot for all of these
    found = _CommonWords(common)
    others = np.concatenate([rng.integers(0, 1 << 64, 3000, dtype=np.uint64), common[:20] + np.uint64(100), [0]])
    sought = np.concatenate([common, others.astype(np.uint64)])
    expected = {int(hash): rank for rank, hash in enumerate(common)}
    assert found.ranks(sought).tolist() == [expected.get(int(hash), 3000) for hash in sought]
    assert _CommonWords(common[:0]).ranks(common[:5]).tolist() == [0] * 5
    with pytest.raises(ValueError, match="twice"):
        _CommonWords(common[[0, 1, 0]])
    with pytest.raises(ValueError, match="not spread"):
        _CommonWords(np.arange(1000, dtype=np.uint64))


def test_once_is_as_good_as_often():
    """In a view with `once`, saying something twice says no more."""
    words = expert(views=(View("w", "word", (1,), once=True),))
    often = expert(views=(View("w", "word", (1,)),))
    twice, single = "the river the boat the", "boat the river"
    assert np.array_equal(words.features(twice)[1], words.features(single)[1])
    assert not np.array_equal(often.features(twice)[1], often.features(single)[1])
