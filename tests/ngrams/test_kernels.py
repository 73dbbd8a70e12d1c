"""The two backends have the same functions and answers, to the bit, and both refuse arrays that do not fit together."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.ngrams import _kernels, kernels
from authorid.ngrams.arrays import CsrMatrix, EncodedTexts, encode_texts
from authorid.ngrams.features import FeatureExtractor, View
from authorid.ngrams.model import NgramModel
from authorid.ngrams.words import word_hashes
from authorid.scoring.scorer import Scorer

BACKENDS = {"numpy": _kernels} | ({"compiled": kernels.compiled} if kernels.compiled is not None else {})
needs_both = pytest.mark.skipif(kernels.compiled is None, reason="this package was built without a C compiler")
INT64 = np.iinfo(np.int64)

AUTHORS = 13  # not a multiple of what a processor adds at once
VIEWS = (
    View("b", "byte", (1, 4, 8)),
    View("shape", "byte", (4,), keep=3, once=True),
    View("one", "byte", (3, 5), keep=0, mask="one"),
    View("w", "word", (1, 3, 16)),
    View("masked", "word", (2,), keep=3, mask="one", once=True),
)
BY_CHARACTERS = (
    View("c", "char", (1, 3, 16), linear=True),
    View("masked c", "char", (2,), keep=3, mask="one"),
    View("w", "word", (1, 2), linear=True),
    View("masked", "word", (2,), keep=3, mask="one", once=True),
    View("b", "byte", (4,)),
)


def random_model(
    bits: int = 9, share: float = 0.5, kind: type = np.int8, views: tuple[View, ...] = VIEWS
) -> NgramModel:
    """A model that has a feature for this `share` of all buckets, and random weights."""
    rng = np.random.default_rng(7)
    common = word_hashes("the of and River 1996 größe")
    own = [np.flatnonzero(rng.random(1 << bits) < share).astype(np.uint32) for _ in views]
    bounds = (0, *(int(count) for count in np.cumsum([len(buckets) for buckets in own])))
    return NgramModel(
        extractor=FeatureExtractor(views, common, bits),
        bounds=bounds,
        buckets=np.concatenate(own),
        idf=rng.random(bounds[-1], dtype=np.float32) + 1,
        shared=rng.integers(0, 2, bounds[-1], dtype=np.uint8),
        scale=rng.random(bounds[-1], dtype=np.float32),
        weights=rng.integers(-127, 128, (bounds[-1], AUTHORS), dtype=np.int8).astype(kind),
        bias=np.zeros(AUTHORS, np.float32),
    )


DENSE, SPARSE, EMPTY = random_model(), random_model(bits=14, share=0.05), random_model(share=0.0)
MODELS = {
    "dense": DENSE,
    "sparse": SPARSE,
    "no features": EMPTY,
    "float32": random_model(kind=np.float32),
    "float16": random_model(kind=np.float16),
    "characters": random_model(views=BY_CHARACTERS),
}

words = st.sampled_from(
    [
        "the",
        "The",
        "RIVER",
        "Größe",
        "1996",
        "U.S.",
        " ",
        "\n",
        "\t \r\n",
        "日本",
        "。",
        "、",
        "ไทย",
        "\x1f",
        "\0",
        "\ud800",
    ]
)
any_text = st.one_of(st.text(max_size=200), st.lists(words, max_size=200).map("".join))


def use(patch: pytest.MonkeyPatch, backend: str) -> None:
    patch.setattr(kernels, "active", BACKENDS[backend])


# ---- the same answers ----


@needs_both
def test_both_backends_have_the_same_functions_and_parameters():
    for name in _kernels.__all__:
        compiled, plain = getattr(kernels.compiled, name), getattr(_kernels, name)
        assert list(inspect.signature(compiled).parameters) == list(inspect.signature(plain).parameters)
    public = {name for name in dir(kernels.compiled) if not name.startswith("_")}
    assert public == set(_kernels.__all__)


def test_the_compiled_backend_is_used_where_it_was_built():
    assert kernels.backend() == ("numpy" if kernels.compiled is None else "compiled")


@needs_both
@given(st.lists(any_text, max_size=6))
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_scores_and_vectors_are_the_same_to_the_bit(model, texts):
    found = {}
    for backend in BACKENDS:
        with pytest.MonkeyPatch.context() as patch:
            use(patch, backend)
            scores = model.score_texts(texts)
            vectors = [array.tobytes() for matrix in model.vectorize(texts) for array in matrix]
        found[backend] = [scores.parts.tobytes(), scores.scores.tobytes(), *vectors]
    assert found["compiled"] == found["numpy"]


def run(backend: str, name: str, arguments: tuple) -> object:
    """What a kernel returns and writes, or the message of the `ValueError` that it raises."""
    try:
        result = getattr(BACKENDS[backend], name)(*arguments)
    except ValueError as error:
        return str(error)
    if name != "count_ngrams":
        return result, arguments[-1 if name == "tfidf" else 3].tobytes()
    counts = arguments[5]
    return result, counts.indices[:result].tobytes(), counts.data[:result].tobytes(), counts.indptr.tobytes()


@st.composite
def shapes(draw) -> tuple[np.random.Generator, CsrMatrix, int, int]:
    """A random matrix of counts, with how many views and features it has."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    texts, views, features = draw(st.integers(0, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 60))
    sizes = rng.integers(0, draw(st.sampled_from([1, 5, 60])), texts * views)
    indptr = np.append(0, np.cumsum(sizes)).astype(np.int64)
    indices = rng.integers(0, features, indptr[-1]).astype(np.int32)
    return rng, CsrMatrix(indices, rng.integers(0, 9, len(indices)), indptr), views, features


@needs_both
@given(shapes())
def test_tfidf_is_the_same_to_the_bit(shape):
    rng, counts, views, features = shape
    idf = rng.random(features, dtype=np.float32)
    rest = (rng.random(27), rng.random(views) + 0.1, rng.integers(0, 3, views, dtype=np.uint8))
    found = [
        run(backend, "tfidf", (counts, idf, *rest, np.zeros(len(counts.data), np.float32))) for backend in BACKENDS
    ]
    assert found[0] == found[1] and not isinstance(found[0], str)


@needs_both
@given(shapes(), st.integers(2, 20), st.sampled_from([1, 3, 1 << 16]), st.booleans())
def test_sums_are_the_same_to_the_bit(shape, authors, block, floats):
    rng, counts, views, features = shape
    weights = rng.integers(-127, 128, (features, authors), dtype=np.int8)
    if floats:
        weights = rng.standard_normal((features, authors), dtype=np.float32)
    shared = rng.integers(0, 2, features, dtype=np.uint8)
    vectors = counts._replace(data=rng.standard_normal(len(counts.indices), dtype=np.float32))
    parts = rng.random(((len(counts.indptr) - 1) // views, views, 2, authors))
    found = [run(backend, "accumulate_scores", (weights, shared, vectors, parts.copy(), block)) for backend in BACKENDS]
    assert found[0] == found[1] and not isinstance(found[0], str)


def count_arguments(texts: tuple[str, ...] = ("the river", "of 1996"), model: NgramModel = DENSE) -> tuple:
    extractor, bounds = model.extractor, np.array(model.bounds, np.int64)
    counts = CsrMatrix(
        np.zeros(2000, np.int32), np.zeros(2000, np.int64), np.zeros(len(texts) * len(VIEWS) + 1, np.int64)
    )
    grams = list(model._vectorizer._grams)
    return encode_texts(list(texts)), extractor.word_table, grams, extractor.bits, bounds, counts


@needs_both
@given(st.lists(any_text, max_size=4).map(tuple))
def test_counts_are_the_same(texts):
    found = [run(backend, "count_ngrams", count_arguments(texts)) for backend in BACKENDS]
    assert found[0] == found[1]


@needs_both
@given(st.binary(max_size=40), st.integers(0, 2))
def test_bytes_that_are_not_utf_8_give_the_same_counts(data, unit):
    _, words, grams, *rest = count_arguments(model=MODELS["characters"])
    texts = EncodedTexts(data, np.array([0, len(data) // 2, len(data)]))
    grams = [gram._replace(unit=unit, size=min(gram.size, 8)) for gram in grams]
    found = [run(backend, "count_ngrams", (texts, words, grams, *rest)) for backend in BACKENDS]
    assert found[0] == found[1] and not isinstance(found[0], str)


@needs_both
def test_a_text_longer_than_one_block_has_the_same_scores(monkeypatch):
    monkeypatch.setattr("authorid.ngrams.model._BLOCK", 100)
    text = " ".join(f"the word{i} of River {i * i}" for i in range(3000))
    compiled = SPARSE.score_texts([text, "the", text]).parts
    use(monkeypatch, "numpy")
    assert compiled.tobytes() == SPARSE.score_texts([text, "the", text]).parts.tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_counts_beyond_the_table_of_logarithms_do_not_affect_other_texts(backend, monkeypatch):
    often, other = "the river " * 5000, "the river of 1996"
    expected = DENSE.score_texts([often, other])
    use(monkeypatch, backend)
    found = DENSE.score_texts([often, other])
    assert found.parts.tobytes() == expected.parts.tobytes()
    assert np.array_equal(found.parts[1], DENSE.score_texts([other]).parts[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_do_not_affect_each_other(backend, monkeypatch):
    use(monkeypatch, backend)
    texts = [f"the {i} of the River {i * 7919}, and so on" * (i % 5 + 1) for i in range(200)]
    expected = DENSE.score_texts(texts).parts
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: DENSE.score_texts(texts), range(40)):
            assert np.array_equal(found.parts, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_statistics_name_the_backend(backend, monkeypatch):
    use(monkeypatch, backend)
    assert Scorer.load(effort="fast").describe()["ngrams"] == backend


# ---- the same refusals ----


def refusal(name: str, arguments: tuple) -> str:
    """The message with which all backends refuse the arguments."""
    messages = {backend: run(backend, name, arguments) for backend in BACKENDS}
    assert all(isinstance(message, str) for message in messages.values()), "not refused"
    assert len(set(messages.values())) == 1, messages
    return messages["numpy"]


def replaced(arguments: tuple, position: int, value: object, field: str | None = None) -> tuple:
    if field is not None:
        value = arguments[position]._replace(**{field: value})
    return (*arguments[:position], value, *arguments[position + 1 :])


TEXTS, WORDS, GRAMS, BITS, BOUNDS, COUNTS = range(6)
TABLE = DENSE.extractor.word_table
GRAM = DENSE._vectorizer._grams[0]
UNALIGNED = np.frombuffer(bytes(25), np.uint8, offset=1).view(np.int64)


@pytest.mark.parametrize(
    ("position", "field", "value"),
    [
        (TEXTS, "data", b""),
        (TEXTS, "data", np.zeros(20, np.int64)),
        (TEXTS, "offsets", np.array([0, 9, 1 << 40])),
        (TEXTS, "offsets", np.array([0, 30, 16])),
        (TEXTS, "offsets", np.array([-1, 9, 16])),
        (TEXTS, "offsets", np.array([0, 9, 15])),
        (TEXTS, "offsets", np.array([0, 9, 16], np.int32)),
        (TEXTS, "offsets", np.array([0, 9, 16], np.uint64)),
        (TEXTS, "offsets", UNALIGNED),
        (TEXTS, "offsets", np.zeros(0, np.int64)),
        (WORDS, "classes", TABLE.classes[:-1]),
        (WORDS, "slots", TABLE.slots[:-1]),
        (WORDS, "slots", TABLE.slots[:0]),
        (WORDS, "hashes", TABLE.hashes[:0]),
        (WORDS, "shift", 64),
        (WORDS, "shift", -1),
        (GRAMS, None, [GRAM._replace(size=0)]),
        (GRAMS, None, [GRAM._replace(size=9)]),
        (GRAMS, None, [GRAM._replace(size=17, unit=1)]),
        (GRAMS, None, [GRAM._replace(size=17, unit=2)]),
        (GRAMS, None, [GRAM._replace(unit=3)]),
        (GRAMS, None, [GRAM._replace(unit=-1)]),
        (GRAMS, None, [GRAM._replace(marks=GRAM.marks[:-1])]),
        (GRAMS, None, [GRAM._replace(ranks=GRAM.ranks.astype(np.int64))]),
        (BITS, None, 0),
        (BITS, None, 64),
        (BOUNDS, None, np.zeros(0, np.int64)),
        (BOUNDS, None, np.array([0])),
        (BOUNDS, None, np.array([*DENSE.bounds[:-1], -1])),
        (BOUNDS, None, np.array([*DENSE.bounds[:-1], 1 << 40])),
        (BOUNDS, None, np.array([0, 5, 4, *DENSE.bounds[3:]])),
        (COUNTS, "indices", np.zeros(3, np.int32)),
        (COUNTS, "indices", np.zeros(2000, np.int64)),
        (COUNTS, "data", np.zeros(1999, np.int64)),
        (COUNTS, "data", np.zeros(2000)),
        (COUNTS, "indptr", np.zeros(3, np.int64)),
    ],
)
def test_arguments_that_do_not_fit_are_not_counted(position, field, value):
    refusal("count_ngrams", replaced(count_arguments(), position, value, field))


@pytest.mark.parametrize("backend", BACKENDS)
def test_too_little_room_for_the_entries_is_an_error_and_not_an_overrun(backend):
    indices, data = np.full(200, -5, np.int32), np.full(200, -5, np.int64)
    arguments = count_arguments()
    counts = arguments[COUNTS]._replace(indices=indices[:3], data=data[:3])
    with pytest.raises(ValueError, match="more than 3 entries"):
        BACKENDS[backend].count_ngrams(*arguments[:COUNTS], counts)
    assert (indices[3:] == -5).all() and (data[3:] == -5).all()


@pytest.mark.parametrize(
    "wrong",
    [
        GRAM._replace(ranks=GRAM.ranks + np.uint32(1 << 31)),
        GRAM._replace(marks=np.full_like(GRAM.marks, 2**64 - 1), first=1 << 40),
        GRAM._replace(marks=GRAM.marks[:1], ranks=GRAM.ranks[:1], first=-5),
        GRAM._replace(marks=GRAM.marks[:0], ranks=GRAM.ranks[:0]),
    ],
)
def test_features_out_of_range_are_ignored(wrong):
    """Whatever a file has in its tables, no feature beyond the last one is counted."""
    found = [run(backend, "count_ngrams", replaced(count_arguments(), GRAMS, [wrong])) for backend in BACKENDS]
    assert len(set(found)) == 1 and not isinstance(found[0], str)
    assert (np.frombuffer(found[0][1], np.int32) < DENSE.bounds[-1]).all()


@pytest.mark.parametrize("slot", [1 << 30, -(1 << 30), -1])
def test_ranks_out_of_range_are_those_of_uncommon_words(slot):
    arguments = replaced(count_arguments(), WORDS, np.full_like(TABLE.slots, slot), "slots")
    found = [run(backend, "count_ngrams", arguments) for backend in BACKENDS]
    assert len(set(found)) == 1 and not isinstance(found[0], str)


def test_random_damage_is_refused_or_counted_within_range():
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(1000):
        arguments = count_arguments()
        marks = np.frombuffer(rng.bytes(GRAM.marks.nbytes), np.uint64)
        arguments = replaced(arguments, GRAMS, [GRAM._replace(marks=marks, ranks=GRAM.ranks[rng.permutation(8)])])
        targets = [(TEXTS, "offsets"), (BOUNDS, None), (COUNTS, "indices"), (COUNTS, "data"), (COUNTS, "indptr")]
        for choice in rng.choice(len(targets), 2):
            position, field = targets[choice]
            array = arguments[position] if field is None else getattr(arguments[position], field)
            if len(array) and rng.random() < 0.7:
                array[rng.integers(len(array))] = rng.choice([-1, 0, 1, 7, 1 << 20, -(1 << 20)])
            else:
                arguments = replaced(arguments, position, array[: rng.integers(len(array) + 1)].copy(), field)
        found = [run(backend, "count_ngrams", arguments) for backend in BACKENDS]
        assert len(set(found)) == 1
        if isinstance(found[0], str):
            refused += 1
        else:
            assert (np.frombuffer(found[0][1], np.int32) < arguments[BOUNDS][-1]).all()
    assert 0 < refused < 1000


@pytest.mark.parametrize(
    ("position", "field"),
    [(TEXTS, "offsets"), (BOUNDS, None), (COUNTS, "indices"), (COUNTS, "data"), (COUNTS, "indptr")],
)
def test_arrays_must_be_contiguous(position, field):
    arguments = count_arguments()
    array = arguments[position] if field is None else getattr(arguments[position], field)
    message = refusal("count_ngrams", replaced(arguments, position, np.repeat(array, 2)[::2], field))
    assert "must be a contiguous" in message


@pytest.mark.parametrize("field", ["indices", "data", "indptr"])
def test_results_must_be_writable(field):
    arguments = count_arguments()
    getattr(arguments[COUNTS], field).flags.writeable = False
    assert refusal("count_ngrams", arguments) == f"counts.{field} must be writable"


def accumulate_arguments(**changes) -> tuple:
    good = {
        "weights": np.ones((5, 3), np.int8),
        "shared": np.zeros(5, np.uint8),
        "indices": np.array([0, 4, 2], np.int32),
        "data": np.ones(3, np.float32),
        "indptr": np.array([0, 2, 2, 3, 3]),
        "parts": np.zeros((2, 2, 2, 3)),
        "block": 1 << 16,
    } | changes
    vectors = CsrMatrix(good["indices"], good["data"], good["indptr"])
    return good["weights"], good["shared"], vectors, good["parts"], good["block"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": np.ones((5, 3), np.float64)},
        {"weights": np.ones((5, 3), np.uint8)},
        {"weights": np.ones((5, 3), np.int32)},
        {"weights": np.ones((4, 3), np.int8)},
        {"weights": np.ones((5, 2), np.int8)},
        {"weights": np.ones((3, 5), np.int8).T},
        {"weights": np.ones(15, np.int8)},
        {"weights": np.ones((5, 0), np.int8), "parts": np.zeros((2, 2, 2, 0))},
        {
            "weights": np.ones((5, 1), np.int8),
            "parts": np.zeros((2, 2, 2, 1)),
        },  # numpy adds one column in another order
        {"shared": np.zeros(4, np.uint8)},
        {"shared": np.zeros(5, np.int64)},
        {"indices": np.array([0, -1, 2], np.int32)},
        {"indices": np.array([0, 5, 2], np.int32)},
        {"indices": np.array([0, 4, 2])},
        {"data": np.ones(2, np.float32)},
        {"data": np.ones(3)},
        {"indptr": np.array([0, 2, 1, 3, 3])},
        {"indptr": np.array([0, 2, 2, 3, 4])},
        {"indptr": np.array([0, 2, 2, 2, 2])},
        {"indptr": np.array([-1, 2, 2, 3, 3])},
        {"indptr": np.array([0, 2, 2, 3])},
        {"indptr": np.zeros(0, np.int64)},
        {"parts": np.zeros((2, 2, 2, 3), np.float32)},
        {"parts": np.zeros((2, 2, 3))},
        {"parts": np.zeros((4, 1, 2, 3))[:, :0]},
        {"parts": np.zeros((1, 4, 2, 3))[:0]},
        {"parts": np.zeros((2, 2, 3, 2))},
        {"parts": np.zeros((2, 2, 2, 0))},
        {"block": 0},
    ],
)
def test_arguments_that_do_not_fit_are_not_accumulated(wrong):
    for backend in BACKENDS:
        assert not isinstance(run(backend, "accumulate_scores", accumulate_arguments()), str)
    refusal("accumulate_scores", accumulate_arguments(**wrong))


def tfidf_arguments(**changes) -> tuple:
    good = {
        "indices": np.array([0, 4, 2], np.int32),
        "data": np.array([1, 2, 3]),
        "indptr": np.array([0, 2, 2, 3, 3]),
        "idf": np.ones(5, np.float32),
        "frequencies": np.ones(12),
        "weights": np.ones(2),
        "kinds": np.zeros(2, np.uint8),
        "values": np.zeros(3, np.float32),
    } | changes
    counts = CsrMatrix(good.pop("indices"), good.pop("data"), good.pop("indptr"))
    return counts, *good.values()


@pytest.mark.parametrize(
    "wrong",
    [
        {"indices": np.array([0, 5, 2], np.int32)},
        {"indices": np.array([0, -1, 2], np.int32)},
        {"indices": np.array([0, 4, 2])},
        {"data": np.array([1, 4, 3])},
        {"data": np.array([1, -1, 3])},
        {"data": np.array([1, 2])},
        {"indptr": np.array([0, 2, 1, 3, 3])},
        {"indptr": np.array([0, 2, 2, 3, 4])},
        {"indptr": np.array([0, 2, 2, 2, 2])},
        {"indptr": np.array([1, 2, 2, 3, 3])},
        {"indptr": np.array([0, 2, 2, 3])},
        {"indptr": np.zeros(0, np.int64)},
        {"idf": np.ones(4, np.float32)},
        {"idf": np.ones(5)},
        {"frequencies": np.ones(11)},
        {"weights": np.ones(0), "kinds": np.zeros(0, np.uint8)},
        {"kinds": np.zeros(3, np.uint8)},
        {"kinds": np.full(2, 3, np.uint8)},
        {"values": np.zeros(2, np.float32)},
        {"values": np.zeros(3)},
    ],
)
def test_arguments_that_do_not_fit_have_no_tfidf(wrong):
    for backend in BACKENDS:
        assert not isinstance(run(backend, "tfidf", tfidf_arguments()), str)
    refusal("tfidf", tfidf_arguments(**wrong))


HOSTILE = [
    [0, INT64.min, INT64.max, 3, 3],
    [0, INT64.max, INT64.min, 3, 3],
    [0, INT64.max, INT64.max, INT64.max, 3],
    [INT64.min, INT64.max, 3, 3, 3],
    [INT64.min, 0, 0, 0, 3],
    [INT64.max, INT64.min, 2, 3, 3],
    [0, -1, 2, 3, 3],
    [0, 3, 2, 1, 3],
    [0, 2, 2, INT64.min, 3],
    [0, 2, 2, 3, INT64.min],
    [0, 2, 2, 3, INT64.max],
]


@pytest.mark.parametrize("indptr", HOSTILE)
def test_hostile_offsets_are_refused_before_any_arithmetic(indptr):
    """`tests/ngrams/test_sanitizers.py` runs this with a build that stops at signed overflow."""
    array = np.array(indptr, np.int64)
    expected = "indptr must begin with 0, never descend, and end with 3"
    assert refusal("accumulate_scores", accumulate_arguments(indptr=array)) == f"vectors.{expected}"
    assert refusal("tfidf", tfidf_arguments(indptr=array)) == f"counts.{expected}"
    texts = count_arguments(("a", "b", "c", ""))
    assert refusal("count_ngrams", replaced(texts, TEXTS, array, "offsets")).startswith("texts.offsets must begin")
    refusal("count_ngrams", replaced(count_arguments(), BOUNDS, array))
