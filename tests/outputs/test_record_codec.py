from __future__ import annotations

import json
import struct
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from result_records import AUTHORS, FAILURES, PATHS, RECORDS, make_record

from authorid.inputs.documents import DocumentRef
from authorid.outputs.record_codec import Entry, Place, RecordCodec
from authorid.outputs.records import Attribution, Ranking

CODEC = RecordCodec(AUTHORS)
ANY_TEXT = st.text(st.characters(), max_size=20)
ANY_RECORDS = st.builds(
    Attribution,
    ref=st.builds(DocumentRef, PATHS, st.none() | ANY_TEXT),
    status=st.sampled_from(["scored", "unknown", "failed"]),
    ranking=st.lists(st.tuples(st.sampled_from(AUTHORS), st.floats(allow_nan=False)), max_size=9).map(tuple),
    windows=st.integers(0),
    tokens=st.integers(0),
    encoding=st.none() | ANY_TEXT,
    sha256=st.none() | ANY_TEXT,
    error=st.none() | ANY_TEXT,
    evidence=st.lists(st.floats(allow_nan=False), max_size=9).map(tuple),
    known_author_score=st.none() | st.floats(allow_nan=False),
    coverage=st.none() | st.floats(allow_nan=False),
    reason=st.none() | ANY_TEXT,
    adapted=st.booleans(),
    reader=st.none() | ANY_TEXT,
    expert=st.sampled_from([None, "ngrams", "encoder", "both"]),
    explanation=st.none() | ANY_TEXT,
)


@given(st.builds(Place, st.integers(0), PATHS | st.just(""), st.integers(0)), ANY_RECORDS | RECORDS | FAILURES)
@example(Place(0, "a"), Attribution(DocumentRef("a"), "scored", (("Ada", -0.0), ("Ben", 5e-324))))
def test_every_record_comes_back_exactly(place, record):
    line = CODEC.encode(place, record)
    assert line.isascii() and line.count(b"\n") == 1
    entry = CODEC.decode(line)
    assert entry == Entry(place, record)
    numbers = [p for _, p in record.ranking] + list(record.evidence)
    again = [p for _, p in entry.record.ranking] + list(entry.record.evidence)
    assert struct.pack(f"{len(numbers)}d", *again) == struct.pack(f"{len(numbers)}d", *numbers)  # -0.0 too


@given(st.lists(st.floats(allow_nan=False), min_size=len(AUTHORS), max_size=len(AUTHORS)), RECORDS)
@example([0.25, 0.5, 0.25, -0.0, 0.0, 0.5, 0.1], make_record())
def test_a_ranking_of_the_model_comes_back_exactly_and_is_kept_packed(probabilities, record):
    ranking = Ranking.of(AUTHORS, struct.pack(f"{len(AUTHORS)}d", *probabilities))
    assert list(ranking) == sorted(zip(AUTHORS, probabilities, strict=True), key=lambda pair: -pair[1])
    line = CODEC.encode(Place(0, "a"), replace(record, ranking=ranking))
    again = CODEC.decode(line).record
    assert again == replace(record, ranking=ranking)
    assert again.ranking.packed == ranking.packed
    assert CODEC.encode(Place(0, "a"), again) == line


def test_a_ranking_of_another_model_is_stored_by_name():
    record = replace(make_record(), ranking=Ranking.of(AUTHORS[::-1], struct.pack(f"{len(AUTHORS)}d", *range(7))))
    assert CODEC.decode(CODEC.encode(Place(0, "a"), record)).record == record


@pytest.mark.parametrize("number", [-3.25, 0.0, 1e300])
def test_one_class_with_any_number_comes_back_exactly(number):
    codec = RecordCodec(("price",))
    ranking = Ranking.of(("price",), struct.pack("d", number))
    record = replace(make_record(), ranking=ranking, evidence=(number,))
    again = codec.decode(codec.encode(Place(0, "a"), record)).record
    assert (again, again.ranking.packed) == (record, ranking.packed)


def test_an_author_outside_the_list_is_refused():
    with pytest.raises(KeyError):
        CODEC.encode(Place(0, "a"), replace(make_record(), ranking=(("Ada", 0.5), ("Mallory", 0.5))))


def test_a_record_of_fifty_authors_is_compact():
    authors = [f"Author Number {number}" for number in range(50)]
    record = replace(make_record(), ranking=Ranking.of(tuple(authors), struct.pack("50d", *range(50))))
    assert len(RecordCodec(authors).encode(Place(0, "a"), record)) < 50 * 8 * 4 / 3 + 180


GOOD = json.loads(CODEC.encode(Place(0, "b"), replace(make_record(), evidence=(0.5,), known_author_score=0.25)))
NUMBERS_BASE64 = GOOD[-1]


@pytest.mark.parametrize("value", [None, -1, 1.5, True, "x", "\ud800", [], {}, 10**30, "AAAA", NUMBERS_BASE64[:-4]])
@pytest.mark.parametrize("position", range(len(GOOD)))
def test_an_entry_with_a_hostile_field_is_refused_or_harmless(position, value):
    fields = [*GOOD]
    fields[position] = value
    try:
        entry = CODEC.decode(json.dumps(fields).encode())
    except ValueError:
        return
    assert CODEC.decode(CODEC.encode(*entry)) == entry


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"x", b"0", b"[]", b"{}", b"null", b"[" * 99_999, b"\xff", json.dumps(GOOD[:-1]).encode()),
        *(json.dumps([*GOOD, 0]).encode(), json.dumps(GOOD).encode() * 2, b'0 "a" a,scored,Ada'),
        json.dumps([*GOOD[:-1], "////" * (len(NUMBERS_BASE64) // 4)]).encode(),  # indexes beyond the list of authors
    ],
)
def test_what_is_not_an_entry_is_refused(line):
    with pytest.raises(ValueError):
        CODEC.decode(line + b"\n")
