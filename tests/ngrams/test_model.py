"""The n-gram model: which n-grams it counts, its scores and its file format."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_ngrams import bucket_counts

from authorid.bundle.safetensors import read_tensors, write_tensors
from authorid.ngrams import _kernels, kernels
from authorid.ngrams.arrays import CsrMatrix
from authorid.ngrams.features import FeatureExtractor, View
from authorid.ngrams.model import NgramModel
from authorid.ngrams.vectorizer import Vectorizer
from authorid.ngrams.words import word_hashes

pytest.importorskip("scipy")
from authorid.training.ngram_fit import fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import _count_buckets, count


@pytest.fixture(scope="module", autouse=True, params=["compiled", "numpy"])
def backend(request):
    """Every test here runs with both backends."""
    chosen = _kernels if request.param == "numpy" else kernels.compiled
    if chosen is None:
        pytest.skip("this package was built without a C compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "active", chosen)
        yield


WORDS = ["the", "The", "of", "river", "boat", "U.S.", "don't", "1996", "3.5", "Größe", "日本", "and", ",", ".", "a\nb"]


def texts(count: int = 30) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 60 + i)) for i in range(count)]


LABELS = np.arange(30) % 3


def fitted(**changes) -> NgramModel:
    options = NgramOptions(**{"bits": 16, **changes})
    return fit(count(texts(), LABELS, options), LABELS, 3, options)


def vector(model: NgramModel, text: str) -> CsrMatrix:
    (found,) = model.vectorize([text])
    return found


def buckets(extractor: FeatureExtractor, text: str) -> list[Counter[int]]:
    """For each view, how often each bucket occurs."""
    ((counts, _),) = Vectorizer.all_buckets(extractor).count([text])
    found = []
    for view, (start, stop) in enumerate(pairwise(counts.indptr.tolist())):
        own = counts.indices[start:stop] - (view << extractor.bits)
        found.append(Counter(dict(zip(own.tolist(), counts.data[start:stop].tolist(), strict=True))))
    return found


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
    values = vector(ours, texts()[3]).data
    np.testing.assert_allclose(np.sort(values), np.sort(matrix[3][matrix[3] > 0]), atol=1e-6)
    model = linear.Ridge(alpha=0.3, fit_intercept=False)
    model.fit(np.hstack([matrix, np.ones((30, 1))]), np.where(np.eye(3)[LABELS] > 0, 1, -1))
    expected = model.predict(np.hstack([matrix, np.ones((30, 1))]))
    np.testing.assert_allclose([ours.score_text(item) for item in texts()], expected, atol=1e-4)


def test_int8_weights_change_scores_little():
    exact, small = fitted(weights="float32"), fitted()
    for item in texts():
        np.testing.assert_allclose(small.score_text(item), exact.score_text(item), atol=0.02)


def test_a_long_text_is_counted_piece_by_piece(monkeypatch):
    words = fitted(views=(View("w", "word", (1,)),))
    text = " ".join(texts())
    whole = vector(words, text)
    monkeypatch.setattr("authorid.ngrams.vectorizer._PIECE", 100)
    in_pieces = vector(words, text)
    assert all(map(np.array_equal, whole, in_pieces))
    all_views = fitted()
    close = all_views.score_text(text)
    monkeypatch.undo()
    np.testing.assert_allclose(close, all_views.score_text(text), atol=0.1)
    assert np.isfinite(all_views.score_text("x" * 1_000_000)).all()


def test_memory_does_not_grow_with_the_text():
    model = fitted()
    model.score_text("warm up")
    peaks = []
    for text in ["the river and the boat " * (20_000 * size) for size in (1, 8)]:
        tracemalloc.start()
        model.score_text(text)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_masking_keeps_only_common_words():
    common = word_hashes("the of")
    masked = FeatureExtractor([View("m", "byte", (4,), keep=2)], common, 16)
    assert buckets(masked, "the river OF 1996") == buckets(masked, "the xxxxx OF 2024")
    assert buckets(masked, "the river") != buckets(masked, "a river")
    assert buckets(masked, "the river") != buckets(masked, "the River")
    short = FeatureExtractor([View("s", "word", (2,), keep=2, mask="one")], common, 16)
    assert buckets(short, "the river of") == buckets(short, "the brook of")
    assert buckets(short, "the river of") != buckets(short, "the river,of")


@pytest.mark.parametrize("text", ["", "x", "\n", "é", "\ud800", "\0\0\0\0\0", " " * 50, "日" * 5])
def test_every_text_has_finite_scores(text):
    assert np.isfinite(fitted().score_text(text)).all()


EVERY_KIND = (
    View("b", "byte", (1, 4)),
    View("shape", "byte", (4,), keep=3, once=True),
    View("one", "byte", (3, 5), keep=2, mask="one"),
    View("w", "word", (1, 3)),
    View("masked", "word", (2,), keep=3, mask="one", once=True),
)
OF_EVERY_KIND = fitted(views=EVERY_KIND, min_documents=1)

pieces = st.sampled_from([*WORDS, " ", "  ", "\n\n", "", "x" * 300, "\ud800", "E\u0301"])
many_texts = st.lists(st.lists(pieces, max_size=12).map(" ".join), max_size=40)


@given(many_texts, st.sampled_from([60, 1 << 18]))
def test_scores_do_not_depend_on_the_other_texts(many, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authorid.ngrams.vectorizer._PIECE", piece)
        together = OF_EVERY_KIND.score_texts(many)
        assert together.scores.shape == (len(many), 3)
        for text, *row in zip(many, together.scores, together.parts, strict=True):
            alone = OF_EVERY_KIND.score_texts([text])
            assert all(map(np.array_equal, row, (alone.scores[0], alone.parts[0])))


@pytest.mark.parametrize("many", [["boat"] * 300, ["The river of 1996 " * 20000, "the boat", "Größe"]])
def test_a_model_with_one_view_scores_any_number_of_texts(many):
    one = fitted(views=EVERY_KIND[:1])
    together = one.score_texts(many).scores
    assert all(np.array_equal(row, one.score_text(text)) for text, row in zip(many, together, strict=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": (3, 3)},
        {"sizes": ()},
        {"keep": 1.5},
        {"keep": 1 << 31},
        {"keep": -1},
        {"weight": np.inf},
        {"once": True, "linear": True},
    ],
)
def test_an_invalid_view_is_refused(wrong):
    with pytest.raises(ValueError, match="view v"):
        View(**{"name": "v", "unit": "byte", "sizes": (3,), **wrong})


def test_scores_do_not_depend_on_earlier_texts():
    one, other = fitted(), fitted()
    for item in texts():
        one.score_text(item)
    assert (one.score_text(texts()[5]) == other.score_text(texts()[5])).all()


def test_features_are_shared_when_a_quarter_of_the_authors_use_them():
    """Of ten authors, each has one word of their own, two share a word, and three another."""
    many = [f"own{'abcdefghij'[author]} " + "two " * (author < 2) + "three " * (author < 3) for author in range(10)]
    words = NgramOptions(views=(View("w", "word", (1,)),), bits=20, min_documents=1)

    def shared(options: NgramOptions, documents: int) -> dict[str, bool]:
        """Of the words that are features, whether they are shared."""
        counts = count(many, np.arange(10), options, np.arange(documents))
        own = {name: next(iter(buckets(counts.extractor, name)[0])) for name in names}
        known = dict(zip(counts.buckets.tolist(), counts.shared.tolist(), strict=True))
        return {name: known[bucket] for name, bucket in own.items() if bucket in known}

    names = ("owna", "two", "three", "ownj")
    assert shared(words, 10) == {"owna": False, "two": False, "three": True, "ownj": False}
    # Documents that are not for training make no difference.
    assert shared(words, 4) == {"owna": True, "two": True, "three": True}
    # A view may have only shared features.
    only = replace(words, views=(View("w", "word", (1,), shared=True),))
    assert shared(only, 10) == {"three": True}
    assert shared(only, 4) == shared(words, 4)


def test_parts_are_sums_of_values_times_weights():
    own = [f"{text} {'abcdefghij'[number % 10] * 9}" for number, text in enumerate(texts())]
    options = NgramOptions(bits=16, weights="float32")
    ours = fit(count(own, np.arange(30) % 10, options), np.arange(30) % 10, 10, options)
    indices, values, _ = vector(ours, text := own[7])
    assert 0 < ours.shared[indices].sum() < len(indices)
    for part in (0, 1):
        chosen = ours.shared[indices] == part
        found = ours.score_texts([text]).parts[0, :, part].sum(axis=0)
        np.testing.assert_allclose(found, values[chosen] @ ours.weights[indices[chosen]], atol=1e-5)


@pytest.mark.parametrize("weights", ["int8", "float16", "float32"])
def test_a_written_model_reads_back_with_the_same_scores(weights):
    before = fitted(weights=weights)
    after = NgramModel.from_bytes(before.to_bytes())
    assert after.extractor.views == before.extractor.views
    assert after.weights.dtype == np.dtype(weights)
    assert (after.score_text(texts()[0]) == before.score_text(texts()[0])).all()


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_a_file_with_an_unpadded_header_gives_the_same_scores(removed):
    """Other tools write headers of any length, and the arrays behind them are then not aligned."""
    model = fitted()
    data = model.to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip(b" ")
    header += b" " * ((-removed - len(header)) % 8)
    unpadded = NgramModel.from_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    expected, found = model.score_texts(texts()), unpadded.score_texts(texts())
    assert found.parts.tobytes() == expected.parts.tobytes()


def test_the_size_is_bounded():
    options = NgramOptions(bits=16, megabytes=0.001)
    assert len(count(texts(), LABELS, options).buckets) == 1000 or len(count(texts(), LABELS, options).buckets) < 1000


def test_a_model_of_many_authors_has_no_fewer_n_grams_than_one_of_some():
    options = NgramOptions()
    numbers = [options.most_ngrams(authors) for authors in (50, 250, 1000, 10_000)]
    assert numbers[0] > numbers[1] and numbers[1] <= numbers[2] <= numbers[3] < 1.1 * numbers[1]


@pytest.mark.parametrize(("documents", "required"), [(2, 1), (5, 1), (6, 3), (100, 3)])
def test_n_grams_of_single_documents_count_where_authors_have_few(documents, required):
    assert NgramOptions().required_documents(50 * documents, 50) == required


@pytest.mark.parametrize("bits", [7, 25])
def test_too_many_buckets_are_refused(bits):
    with pytest.raises(ValueError, match="between 8 and 24"):
        NgramOptions(bits=bits)


BY_CHARACTERS = (
    View("c", "char", (1, 3), linear=True),
    View("w", "word", (1, 2), linear=True),
    View("masked", "word", (2,), keep=3, mask="one"),
)


@pytest.mark.parametrize("views", [EVERY_KIND, EVERY_KIND[:1], BY_CHARACTERS])
def test_buckets_are_those_of_the_reference(views):
    """All n-grams of each view occur as often as in a reference implementation."""
    many = [*texts(), "", "x", "Größe " * 50, " \t\n tab", "\ud800 \0", "日本、the ไทย. 語 x\n\n中", "日  本"]
    extractor = FeatureExtractor(views, word_hashes("the of river"), 12)
    found = _count_buckets(extractor, many)
    assert found.shape == (len(many), len(views) << 12)
    for text, row in zip(many, found.toarray(), strict=True):
        assert {int(bucket): int(row[bucket]) for bucket in np.flatnonzero(row)} == {
            (number << 12) + bucket: times
            for number, view in enumerate(views)
            for bucket, times in bucket_counts(
                extractor.prepare(text), number, view, extractor.common.tolist(), 12
            ).items()
        }


def test_the_counts_of_a_linear_view_are_linear_also_when_they_are_high():
    words = fitted(views=(View("c", "char", (1,), linear=True),))
    few, many = vector(words, "the river"), vector(words, "the river" * 5000)
    np.testing.assert_allclose(few.data, many.data, rtol=1e-5)
    assert NgramModel.from_bytes(words.to_bytes()).extractor.views == words.extractor.views


@pytest.mark.parametrize("cut", [0, 7, 8, 100, -1])
def test_a_cut_file_is_refused(cut):
    with pytest.raises(ValueError):
        NgramModel.from_bytes(fitted().to_bytes()[:cut])


def test_damaged_tensors_and_metadata_are_refused():
    tensors, metadata = read_tensors(fitted().to_bytes())
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
    ours = fitted().to_bytes()
    theirs = numpy_format.load(ours)
    tensors, metadata = read_tensors(ours)
    assert set(theirs) == set(tensors)
    assert all((theirs[name] == tensors[name]).all() for name in tensors)
    again, _ = read_tensors(numpy_format.save(dict(theirs), metadata))
    assert all((again[name] == tensors[name]).all() for name in tensors)


def test_a_view_with_once_ignores_how_often_an_ngram_occurs():
    once = fitted(views=(View("w", "word", (1,), once=True),))
    often = fitted(views=(View("w", "word", (1,)),))
    twice, single = "the river the boat the", "boat the river"
    assert np.array_equal(vector(once, twice).data, vector(once, single).data)
    assert not np.array_equal(vector(often, twice).data, vector(often, single).data)
