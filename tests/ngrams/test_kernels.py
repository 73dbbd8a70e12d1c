"""The compiled loops: the same to the bit as numpy's, and nothing that is wrong with an array gets past them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.ngrams import kernels as native
from authorid.ngrams.features import FeatureExtractor, View, encoded
from authorid.ngrams.model import NgramModel
from authorid.scoring.scorer import Scorer

pytestmark = pytest.mark.skipif(native.module is None, reason="this package was built without a C compiler")

AUTHORS = 13  # no multiple of what a processor adds at once
VIEWS = (
    View("b", "byte", (1, 4, 8)),
    View("shape", "byte", (4,), keep=3, once=True),
    View("one", "byte", (3, 5), keep=0, mask="one"),
    View("w", "word", (1, 3, 16)),
    View("masked", "word", (2,), keep=3, mask="one", once=True),
)


def made_up(bits: int = 9, share: float = 0.5) -> NgramModel:
    """An expert that has a row for this `share` of all buckets, and weights out of nothing."""
    rng = np.random.default_rng(7)
    common = FeatureExtractor.word_hashes("the of and River 1996 größe")
    own = [np.flatnonzero(rng.random(1 << bits) < share).astype(np.uint32) for _ in VIEWS]
    bounds = (0, *(int(count) for count in np.cumsum([len(rows) for rows in own])))
    return NgramModel(
        reader=FeatureExtractor(VIEWS, common, bits),
        bounds=bounds,
        buckets=np.concatenate(own),
        idf=rng.random(bounds[-1], dtype=np.float32) + 1,
        shared=rng.integers(0, 2, bounds[-1], dtype=np.uint8),
        scale=rng.random(bounds[-1], dtype=np.float32),
        weights=rng.integers(-127, 128, (bounds[-1], AUTHORS), dtype=np.int8),
        bias=np.zeros(AUTHORS, np.float32),
    )


EXPERT, SPARSE, NOTHING = made_up(), made_up(bits=14, share=0.05), made_up(share=0.0)

words = st.sampled_from(["the", "The", "RIVER", "Größe", "1996", "U.S.", " ", "\n", "\t \r\n", "日本", "\0", "\ud800"])
any_text = st.one_of(st.text(max_size=200), st.lists(words, max_size=200).map("".join))


@given(st.lists(any_text, max_size=6))
@pytest.mark.parametrize("expert", [EXPERT, SPARSE, NOTHING], ids=["dense", "sparse", "nothing"])
def test_the_same_to_the_bit(expert, texts):
    compiled, rows = expert.read(texts), [expert.features(text) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "module", None)
        plain, plain_rows = expert.read(texts), [expert.features(text) for text in texts]
    assert compiled.parts.tobytes() == plain.parts.tobytes()
    assert compiled.scores.tobytes() == plain.scores.tobytes()
    for own, other in zip(rows, plain_rows, strict=True):
        assert all(map(np.array_equal, own, other))


def test_a_long_text_too(monkeypatch):
    monkeypatch.setattr("authorid.ngrams.vectorizer._BLOCK", 100)  # its rows do not fit into one sum
    text = " ".join(f"the word{i} of River {i * i}" for i in range(3000))
    compiled = SPARSE.read([text, "the", text]).parts
    monkeypatch.setattr(native, "module", None)
    assert compiled.tobytes() == SPARSE.read([text, "the", text]).parts.tobytes()


def test_whatever_occurs_very_often(monkeypatch):
    """Beyond the table of logarithms; and whoever is a neighbour of such a text does not notice."""
    often, other = "the river " * 5000, "the river of 1996"
    compiled = EXPERT.read([often, other])
    assert np.array_equal(compiled.parts[1], EXPERT.read([other]).parts[0])
    monkeypatch.setattr(native, "module", None)
    assert compiled.parts.tobytes() == EXPERT.read([often, other]).parts.tobytes()


def test_threads_do_not_meet():
    texts = [f"the {i} of the River {i * 7919}, and so on" * (i % 5 + 1) for i in range(200)]
    expected = EXPERT.read(texts).parts
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(found.parts, expected) for found in pool.map(lambda _: EXPERT.read(texts), range(40)))


def test_the_statistics_say_which_loops_ran(monkeypatch):
    assert Scorer.load(effort="fast").describe()["ngrams"] == "compiled"
    monkeypatch.setattr(native, "module", None)
    assert Scorer.load(effort="fast").describe()["ngrams"] == "numpy"


def arguments_of_count() -> list:
    data, ends = encoded(["the river", "of 1996"])
    rows, counts = np.zeros(200, np.int32), np.zeros(200, np.int64)
    edges = np.zeros(2 * len(VIEWS) + 1, np.int64)
    index, reader = EXPERT._index, EXPERT.reader
    bounds = np.array(EXPERT.bounds, np.int64)
    return [data, ends, reader.language, list(index._parts), reader.bits, bounds, rows, counts, edges]


def replaced(arguments: list, place: int, value: object) -> list:
    return [*arguments[:place], value, *arguments[place + 1 :]]


LANGUAGE = EXPERT.reader.language
PART = EXPERT._index._parts[0]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b""),
        (0, np.zeros(20, np.int64)),
        (1, np.array([0, 9, 1 << 40])),
        (1, np.array([0, 30, 16])),
        (1, np.array([-1, 9, 16])),
        (1, np.array([0, 9, 16], np.int32)),
        (1, np.frombuffer(bytes(25), np.int64, count=3, offset=1)),
        (1, np.zeros(0, np.int64)),
        (2, (LANGUAGE[0][:-1], *LANGUAGE[1:])),
        (2, (*LANGUAGE[:3], LANGUAGE[3][:-1], *LANGUAGE[4:])),
        (2, (*LANGUAGE[:3], LANGUAGE[3][:0], *LANGUAGE[4:])),
        (2, (*LANGUAGE[:4], LANGUAGE[4][:0], LANGUAGE[5])),
        (2, (*LANGUAGE[:5], 64)),
        (2, (*LANGUAGE[:5], -1)),
        (3, [(*PART[:4], 0, *PART[5:])]),
        (3, [(*PART[:4], 9, *PART[5:])]),
        (3, [(*PART[:5], PART[5][:-1], *PART[6:])]),
        (3, [(*PART[:6], PART[6].astype(np.int64), PART[7])]),
        (4, 0),
        (4, 64),
        (5, np.zeros(0, np.int64)),
        (5, np.array([0])),
        (5, np.array([*EXPERT.bounds[:-1], -1])),
        (5, np.array([*EXPERT.bounds[:-1], 1 << 40])),
        (6, np.zeros(3, np.int32)),
        (6, np.zeros(200, np.int64)),
        (7, np.zeros(199, np.int64)),
        (8, np.zeros(3, np.int64)),
    ],
)
def test_what_does_not_fit_is_not_counted(place, value):
    with pytest.raises(ValueError):
        native.module.count(*replaced(arguments_of_count(), place, value))


def test_no_room_for_the_rows_is_an_error_and_not_an_overrun():
    rows = np.full(200, -5, np.int32)
    arguments = replaced(arguments_of_count(), 6, rows[:3])
    with pytest.raises(ValueError, match="room"):
        native.module.count(*replaced(arguments, 7, np.zeros(3, np.int64)))
    assert (rows[3:] == -5).all()


def test_tables_that_lie_lead_nowhere():
    """Whatever is in a file that passes for an expert: rows and ranks beyond the end are nobody's."""
    *about, marks, ranks, first = PART
    arguments = arguments_of_count()
    for lies in [
        (marks, ranks + np.uint32(1 << 31), first),
        (np.full_like(marks, 2**64 - 1), ranks, 1 << 40),
        (marks[:1], ranks[:1], -5),
    ]:
        found = native.module.count(*replaced(arguments, 3, [(*about, *lies)]))
        assert (arguments[6][:found] < EXPERT.bounds[-1]).all()
    table = np.full(len(LANGUAGE[3]), 1 << 30, np.int32)
    native.module.count(*replaced(arguments, 2, (*LANGUAGE[:3], table, *LANGUAGE[4:])))
    native.module.count(*replaced(arguments, 2, (*LANGUAGE[:3], -table, *LANGUAGE[4:])))


def test_damage_of_any_kind_is_refused_or_stays_inside():
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        arguments = arguments_of_count()
        *about, marks, ranks, first = PART
        arguments[3] = [(*about, np.frombuffer(rng.bytes(marks.nbytes), marks.dtype), ranks[rng.permutation(8)], first)]
        for place in rng.choice([1, 5, 6, 7, 8], 2):
            array = arguments[place]
            if len(array) and rng.random() < 0.7:
                array[rng.integers(len(array))] = rng.choice([-1, 0, 1, 7, 1 << 20, -(1 << 20)])
            else:
                arguments[place] = array[: rng.integers(len(array) + 1)]
        try:
            found = native.module.count(*arguments)
        except ValueError:
            refused += 1
        else:
            assert (arguments[6][:found] < arguments[5][-1]).all()
    assert 0 < refused < 2000


@pytest.mark.parametrize("place", [1, 6, 7, 8])
def test_only_arrays_in_one_piece(place):
    arguments = arguments_of_count()
    with pytest.raises((BufferError, ValueError)):
        native.module.count(*replaced(arguments, place, np.repeat(arguments[place], 2)[::2]))


def test_results_go_into_arrays_that_may_be_written():
    arguments = arguments_of_count()
    arguments[6].flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        native.module.count(*arguments)


GOOD = {
    "weights": np.ones((5, 3), np.int8),
    "shared": np.zeros(5, np.uint8),
    "rows": np.array([0, 4, 2], np.int32),
    "values": np.ones(3, np.float32),
    "edges": np.array([0, 2, 2, 3, 3]),
    "parts": np.zeros((2, 2, 2, 3)),
    "views": 2,
    "authors": 3,
    "block": 1 << 16,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": np.ones((5, 3), np.float32)},
        {"weights": np.ones((4, 3), np.int8)},
        {"shared": np.zeros(4, np.uint8)},
        {"shared": np.zeros(5, np.int64)},
        {"rows": np.array([0, -1, 2], np.int32)},
        {"rows": np.array([0, 4, 2])},
        {"values": np.ones(2, np.float32)},
        {"values": np.ones(3)},
        {"edges": np.array([0, 2, 1, 3, 3])},
        {"edges": np.array([0, 2, 2, 3, 4])},
        {"edges": np.array([-1, 2, 2, 3, 3])},
        {"edges": np.array([0, 2, 2, 3])},
        {"parts": np.zeros((2, 2, 2, 3), np.float32)},
        {"parts": np.zeros((2, 2, 3))},
        {"parts": np.zeros(11)},
        {"parts": np.zeros((2, 2, 0))},
        {"views": 3},
        {"views": 0},
        {"authors": 0},
        {"authors": 2},
        {"block": 0},
    ],
)
def test_what_does_not_fit_is_not_added(wrong):
    native.module.add_up(*GOOD.values())
    with pytest.raises(ValueError):
        native.module.add_up(*{**GOOD, **wrong}.values())


WEIGHED = {
    "rows": np.array([0, 4, 2], np.int32),
    "counts": np.array([1, 2, 3]),
    "edges": np.array([0, 2, 2, 3, 3]),
    "idf": np.ones(5, np.float32),
    "logs": np.ones(4),
    "weights": np.ones(2),
    "once": np.zeros(2, np.uint8),
    "values": np.zeros(3, np.float32),
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": np.array([0, 5, 2], np.int32)},
        {"rows": np.array([0, -1, 2], np.int32)},
        {"rows": np.array([0, 4, 2])},
        {"counts": np.array([1, 4, 3])},
        {"counts": np.array([1, -1, 3])},
        {"counts": np.array([1, 2])},
        {"edges": np.array([0, 2, 1, 3, 3])},
        {"edges": np.array([0, 2, 2, 3, 4])},
        {"edges": np.array([0, 2, 2, 2, 2])},
        {"edges": np.array([1, 2, 2, 3, 3])},
        {"edges": np.zeros(0, np.int64)},
        {"idf": np.ones(4, np.float32)},
        {"idf": np.ones(5)},
        {"logs": np.ones(3)},
        {"weights": np.ones(0), "once": np.zeros(0, np.uint8)},
        {"once": np.zeros(3, np.uint8)},
        {"values": np.zeros(2, np.float32)},
        {"values": np.zeros(3)},
    ],
)
def test_what_does_not_fit_is_not_weighed(wrong):
    native.module.weigh(*WEIGHED.values())
    with pytest.raises(ValueError):
        native.module.weigh(*{**WEIGHED, **wrong}.values())
