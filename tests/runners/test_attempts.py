"""A document that kills its process is found out, and no other one is blamed."""

from __future__ import annotations

import pytest

from authorid.inputs.documents import Document, DocumentRef, Failure
from authorid.runners.attempts import Attempt, Step


def document(name):
    return Document(DocumentRef("table.csv", name), "text", "utf-8", "")


@pytest.fixture
def attempt(tmp_path):
    def begin(run="run"):
        return Attempt(tmp_path / "00001.attempts", tmp_path / "00001.current", run)

    return begin


def die(attempt, after=None):
    """A process dies: the attempt never ends. It has got as far as the item `after`."""
    if after is not None:
        items = iter([document("1"), document("2"), document("3")])
        guarded = attempt.guard("table.csv", items)
        for item in guarded:
            if item.ref.member == after:
                break


def test_two_deaths_of_any_cause_change_nothing_but_the_pace(attempt):
    assert [attempt().is_guarded for _ in range(4)] == [False, False, True, True]
    assert attempt().deaths == 4


def test_attempts_that_end_are_no_deaths(attempt):
    for _ in range(5):
        with attempt() as current:
            assert (current.deaths, current.is_guarded) == (0, False)


def test_the_death_of_the_driver_is_no_sign_of_a_harmful_document(attempt):
    for number in range(5):
        assert attempt(f"run {number}").is_guarded is False


def test_a_document_on_which_two_guarded_processes_died_fails(attempt):
    attempt(), attempt()
    die(attempt(), after="2")
    die(attempt(), after="2")
    found = list(attempt().guard("table.csv", iter([document("1"), document("2"), document("3")])))
    assert [type(item) for item in found] == [Document, Failure, Document]
    assert found[1] == Failure(DocumentRef("table.csv", "2"), "the process that scored this document died 2 times")
    others = attempt("another run of the driver")
    assert isinstance(list(others.guard("table.csv", iter([document("1"), document("2")])))[1], Failure)


def test_different_documents_are_not_blamed(attempt):
    attempt(), attempt()
    die(attempt(), after="1")
    die(attempt(), after="2")
    die(attempt(), after="3")
    items = [document("1"), document("2"), document("3")]
    assert list(attempt().guard("table.csv", iter(items))) == items


def test_a_file_that_kills_its_reader_fails_and_the_files_beside_it_do_not(attempt):
    def deadly(current):
        list(current.guard("first.txt", iter([document("1")])))
        next(current.guard("second.txt", (pytest.fail("not reached") for _ in ())), None)

    attempt(), attempt()
    deadly(attempt())
    deadly(attempt())
    current = attempt()
    assert list(current.guard("first.txt", iter([document("1")]))) == [document("1")]
    reader = (pytest.fail("it is read again") for _ in range(1))
    assert list(current.guard("second.txt", reader)) == [
        Failure(DocumentRef("second.txt"), "the process that read this document died 2 times")
    ]
    assert list(current.guard("third.txt", iter([document("1")]))) == [document("1")]


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"beg", b"died x y z\nbegin \xff\n", b"7 7"])
def test_damaged_notes_blame_nobody(attempt, tmp_path, damage):
    attempt(), attempt(), attempt()
    (tmp_path / "00001.current").write_bytes(damage)
    assert attempt()._harmful == set()
    (tmp_path / "00001.attempts").write_bytes(damage)
    assert attempt()._harmful == set()


def test_steps_are_written_and_read():
    step = Step(3, 14, "score")
    assert Step.parse(str(step)) == step
    assert Step.parse(f"{step}   \n") == step
    assert Step.parse("3 14 scor") is Step.parse("3 score") is Step.parse("") is Step.parse("-3 1 read") is None
