from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from authorid.training.shift import blocks, numbered, order, shifted_split


def unused(documents):
    raise AssertionError("numbered names need no similarities")


def test_numbers_in_most_file_names_are_an_order_in_time():
    assert numbered(["a/1.txt", "a/b2.txt", "b/c.txt"])
    assert not numbered(["1/a.txt", "2/b.txt", "3/c4.txt"])


def test_the_last_numbers_of_each_author_are_held_out():
    paths = ["a/10.txt", "a/9.txt", "a/100.txt", "b/1.txt", "b/2.txt", "c/7.txt"]
    labels = np.array([0, 0, 0, 1, 1, 2])
    training, held, how = shifted_split(paths, labels, unused, 0.2)
    assert [paths[index] for index in held] == ["a/100.txt", "b/2.txt"]
    assert sorted([*training, *held]) == list(range(6))
    assert how == "last by file name"
    assert shifted_split(paths, labels, unused, 0.0)[1].tolist() == []


def test_without_numbers_a_change_of_subject_is_held_out():
    # Each author writes about two subjects, alternately; similarities show them, names do not.
    subjects = np.array([0, 1] * 5 + [1, 0] * 5)
    labels = np.repeat([0, 1], 10)
    paths = [f"{label}/{'abcdefghij'[i % 10]}" for i, label in enumerate(labels)]
    products = (subjects[:, None] == subjects[None, :]) * 0.5 + np.eye(20) * 0.5
    training, held, how = shifted_split(paths, labels, lambda own: products[np.ix_(own, own)], 0.5)
    assert how == "by subject"
    for label in (0, 1):
        assert len(set(subjects[held[labels[held] == label]])) == 1
        assert len(set(subjects[training[labels[training] == label]])) == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 6))
def test_blocks_hold_every_document_once_in_order_of_time(labels, count):
    known = np.array(labels)
    paths = [f"{label}/{1000 - index}.txt" for index, label in enumerate(labels)]
    cut = blocks(paths, known, unused, count)
    assert len(cut) == count
    assert sorted(np.concatenate(cut).tolist()) == list(range(len(labels)))
    for own in order(paths, known, unused):
        places = [next(place for place, block in enumerate(cut) if index in block) for index in own]
        assert places == sorted(places)
        sizes = np.bincount(places, minlength=count)
        assert sizes.max() - sizes.min() <= 1


def test_an_author_with_one_document_keeps_it():
    training, held, _ = shifted_split(["a/x", "b/y"], np.array([0, 1]), unused, 0.9)
    assert (training.tolist(), held.tolist()) == ([0, 1], [])
