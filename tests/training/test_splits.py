from __future__ import annotations

import numpy as np
import pytest
from checkpoints import write_corpus
from hypothesis import given
from hypothesis import strategies as st

from authorid.training import TrainingOptions, load_corpus
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.samples import LabelledTexts, SampleLength
from authorid.training.splits import (
    author_blocks,
    author_orders,
    hold_out,
    last_split,
    numbered,
    random_split,
    shifted_split,
    split,
)


def unused(documents):
    raise AssertionError("numbered names need no similarities")


def test_file_names_are_numbered_if_most_contain_a_number():
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


def test_without_numbers_one_end_of_the_change_of_subject_is_held_out():
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
def test_blocks_hold_every_document_once_in_order(labels, count):
    known = np.array(labels)
    paths = [f"{label}/{1000 - index}.txt" for index, label in enumerate(labels)]
    cut = author_blocks(paths, known, unused, count)
    assert len(cut) == count
    assert sorted(np.concatenate(cut).tolist()) == list(range(len(labels)))
    for own in author_orders(paths, known, unused):
        numbers = [next(number for number, block in enumerate(cut) if index in block) for index in own]
        assert numbers == sorted(numbers)
        sizes = np.bincount(numbers, minlength=count)
        assert sizes.max() - sizes.min() <= 1


def test_an_author_with_one_document_keeps_it():
    training, held, _ = shifted_split(["a/x", "b/y"], np.array([0, 1]), unused, 0.9)
    assert (training.tolist(), held.tolist()) == ([0, 1], [])


@pytest.fixture
def corpus(tmp_path):
    def write(documents):
        return load_corpus(write_corpus(tmp_path / "corpus", documents=documents))

    return write


@pytest.mark.parametrize("how", ["random", "last"])
@pytest.mark.parametrize("documents", [1, 2, 3, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_splits_cover_everything_and_share_nothing(corpus, how, documents, share):
    known = corpus(documents)
    training, validation = random_split(known, share, 7) if how == "random" else last_split(known, share)
    assert sorted(training + validation) == list(range(len(known.documents)))
    assert not set(training) & set(validation)
    for label in range(3):
        kept = [index for index in training if known.documents[index].label == label]
        held = [index for index in validation if known.documents[index].label == label]
        assert kept
        assert bool(held) == (share > 0 and documents > 1)


def test_a_random_split_depends_on_the_seed_alone(corpus):
    known = corpus(20)
    assert random_split(known, 0.2, 1) == random_split(known, 0.2, 1)
    assert random_split(known, 0.2, 1) != random_split(known, 0.2, 2)


def test_the_last_documents_are_the_last_in_natural_order(corpus):
    known = corpus(11)
    _, validation = last_split(known, 0.2)
    assert [known.documents[index].path for index in validation][:2] == ["Ada/10.txt", "Ada/11.txt"]


@pytest.mark.parametrize("how", ["random", "last", "shifted"])
def test_the_options_choose_the_split(corpus, how):
    known = corpus(10)
    options = TrainingOptions(base_model="m", validation_how=how, validation_split=0.3, seed=4)
    expected = random_split(known, 0.3, 4) if how == "random" else last_split(known, 0.3)
    assert split(known, options) == expected


def test_a_shifted_split_of_names_without_numbers_is_by_subject(tmp_path):
    root = write_corpus(tmp_path / "corpus", documents=6)
    for path in list(root.rglob("*.txt")):
        path.rename(path.with_name("abcdef"[int(path.stem) - 1] + ".txt"))
    training, validation = split(load_corpus(root), TrainingOptions(base_model="m", validation_split=0.3))
    assert sorted(training + validation) == list(range(18))
    assert len(validation) == 6


@pytest.mark.train
def test_the_classic_split_is_that_of_keras(tmp_path):
    """Also where files are left out: they count in the split of Keras, and none of them is read."""
    root = write_corpus(tmp_path / "corpus", documents=12)
    (root / "Ben" / "2b.txt").write_bytes((root / "Ben" / "2.txt").read_bytes())
    (root / "Ada" / "deep").mkdir()
    (root / "Ada" / "1.txt").rename(root / "Ada" / "deep" / "1.txt")
    (root / "Cyd" / "empty.txt").write_text("")
    corpus = load_corpus(root)
    found = split(corpus, TrainingOptions(base_model="m", recipe="classic", validation_split=0.25, seed=3))
    by_text = {(root / document.path).read_bytes(): i for i, document in enumerate(corpus.documents)}
    keras = import_keras()
    for subset, own in zip(("training", "validation"), found, strict=True):
        dataset = keras.utils.text_dataset_from_directory(
            str(root), batch_size=None, seed=3, validation_split=0.25, subset=subset, verbose=False
        )
        assert set(own) <= {by_text[text] for text, _ in dataset.as_numpy_iterator() if text}
    with (root / "Ada" / "huge.txt").open("wb") as stream:
        stream.truncate(2**40)
    training, validation = split(load_corpus(root), TrainingOptions(base_model="m", recipe="classic"))
    assert sorted(training + validation) == list(range(36))


def texts(numbers: tuple[int, ...], length: int = 30) -> LabelledTexts:
    pairs = [(author, number) for author, count in enumerate(numbers) for number in range(count)]
    labels = np.array([author for author, _ in pairs])
    return LabelledTexts([f"{a} {n} ".ljust(length, "x") for a, n in pairs], labels, [f"{a}/{n}.txt" for a, n in pairs])


WHOLE, TENTHS = SampleLength(1000, 10_000), SampleLength(100, 150)


def test_what_is_held_out_can_be_held_out_block_by_block():
    documents = texts((10, 5, 2, 1))
    (whole,), how = hold_out(documents, 0.4, WHOLE)
    blocks, _ = hold_out(documents, 0.4, WHOLE, 4)
    assert how == "last by file name"
    last = ["0/6.txt", "0/7.txt", "0/8.txt", "0/9.txt", "1/3.txt", "1/4.txt"]
    assert whole[1].paths == [*last, "2/1.txt"]
    # Of an author with few documents, each is held out once.
    assert sorted(path for _, held in blocks for path in held.paths) == [*last, "2/0.txt", "2/1.txt"]
    for training, held in blocks:
        assert sorted(training.paths + held.paths) == sorted(documents.paths)
        assert set(training.labels) == {0, 1, 2, 3}
    assert blocks[3][1].paths == ["0/9.txt"]


@given(st.lists(st.integers(1, 7), min_size=2, max_size=4), st.sampled_from([1, 4]))
def test_no_document_has_samples_on_both_sides_unless_it_is_its_authors_only_one(numbers, blocks):
    pairs, _ = hold_out(texts(tuple(numbers), length=1000), 0.4, TENTHS, blocks)
    assert pairs
    for training, held in pairs:
        assert len(held) % 10 == 0 or 1 in numbers
        for path in set(training.paths) & set(held.paths):
            assert numbers[int(path[0])] == 1
    assert len(pairs[0][0]) + len(pairs[0][1]) == 10 * sum(numbers)


def test_an_author_with_one_long_document_has_its_end_held_out():
    for blocks in (1, 4):
        pairs, _ = hold_out(texts((1, 5), length=1000), 0.4, TENTHS, blocks)
        training, held = pairs[0]
        novel = [text for text, label in zip(held.texts, held.labels, strict=True) if label == 0]
        assert len(novel) == 4 and len("".join(novel)) == 400
        assert (training.labels == 0).sum() == 6
        assert all((held.labels == 1).all() for _, held in pairs[1:])


def test_nothing_is_held_out_of_single_short_documents():
    assert hold_out(texts((1, 1)), 0.4, WHOLE)[0] == []
