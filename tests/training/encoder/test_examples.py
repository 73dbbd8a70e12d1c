from __future__ import annotations

import numpy as np
import pytest
from checkpoints import tokenizer

from authorid.encoder.windows import Windower
from authorid.training import TrainingOptions, prepare_batched
from authorid.training.encoder.examples import Examples, document_scores


def examples(options: TrainingOptions, lengths=(200, 40, 5, 77, 0), segments=False) -> Examples:
    rng = np.random.default_rng(0)
    windower = Windower(tokenizer(), options.window, options.stride, truncate=options.truncate)
    tokens = [rng.integers(5, 80, length).astype(np.int32) for length in lengths]
    return Examples(tokens, range(len(lengths)), windower, options, segments=segments)


def options(**given) -> TrainingOptions:
    return TrainingOptions(
        **{"base_model": "m", "recipe": "windows", "batch": 4, "window": 32, "topic_dropout": 0.0, **given}
    )


def test_an_epoch_contains_every_token_once_and_fills_the_last_batch():
    made = examples(options())
    batches = list(made.epoch(0))
    assert len(batches) == made.steps
    assert {batch.inputs["token_ids"].shape for batch in batches} == {(4, 32)}
    ids = np.concatenate([batch.inputs["token_ids"] for batch in batches])[: made.windows]
    mask = np.concatenate([batch.inputs["padding_mask"] for batch in batches])[: made.windows]
    assert mask.sum() == 200 + 40 + 5 + 77 + 2 * made.windows
    assert (ids[mask == 0] == 0).all()


def test_epochs_differ_and_are_reproducible():
    made = examples(options(topic_dropout=1.0), segments=True)

    def ids(epoch: int):
        return np.concatenate([batch.inputs["token_ids"].ravel() for batch in made.epoch(epoch)])

    assert (ids(0) == ids(0)).all()
    assert (ids(0) != ids(1)).any()
    assert not next(made.epoch(0)).inputs["segment_ids"].any()


def test_topic_dropout_keeps_common_and_special_tokens(monkeypatch):
    monkeypatch.setattr("authorid.training.encoder.examples.COMMON_TOKENS", 3)
    rare, common = 9, 7
    windower = Windower(tokenizer(), 32)
    tokens = [np.array([common] * 20 + [rare] + [6, 6, 8, 8] * 2, dtype=np.int32)] * 50
    made = Examples(tokens, [0] * 50, windower, options(topic_dropout=1.0), segments=False)
    ids = np.concatenate([batch.inputs["token_ids"] for batch in made.epoch(0)])
    mask = windower.tokenizer.token_to_id("[MASK]")
    assert (ids == common).sum() == 20 * len(ids)
    assert (ids[:, 0] == windower.tokenizer.token_to_id("[CLS]")).all()
    lost = 1 - (ids == rare).sum() / len(ids)
    assert 0.2 < lost < 0.8
    assert (ids == mask).sum() == len(ids) - (ids == rare).sum()


def test_truncating_recipes_take_the_first_window_padded_to_the_longest():
    made = examples(options(recipe="classic", batch=2))
    assert made.windows == 4  # the empty document has none
    widths = {batch.inputs["token_ids"].shape[1] for batch in made.epoch(0)}
    assert max(widths) == 32


def test_prepare_batched_truncates_like_the_tokenizer():
    texts = ["the river " * 30, "a boat", "market share of the loom"]
    windower = Windower(tokenizer(), 16, truncate=True)
    batches = list(prepare_batched(texts, [1, 1, 0], windower, batch=2, segments=True))
    assert [labels.tolist() for _, labels in batches] == [[1, 1], [0]]
    reference = tokenizer()
    first, sep = reference.token_to_id("[CLS]"), reference.token_to_id("[SEP]")
    reference.no_padding()
    reference.enable_truncation(14)
    for row, text in zip(batches[0][0]["token_ids"], texts, strict=False):
        expected = [first, *reference.encode(text, add_special_tokens=False).ids, sep]
        assert row[: len(expected)].tolist() == expected
        assert not row[len(expected) :].any()
    assert set(batches[0][0]) == {"token_ids", "padding_mask", "segment_ids"}


def test_document_scores_average_windows():
    logits = [np.array([[2.0, 0.0], [0.0, 2.0]]), np.zeros((0, 2)), np.array([[1000.0, 0.0]])]
    scores = document_scores(logits, 2)
    assert scores[0, 0] == pytest.approx(scores[0, 1])
    assert scores[1].tolist() == pytest.approx([-np.log(2)] * 2)
    assert scores[2].tolist() == pytest.approx([0.0, -1000.0])
