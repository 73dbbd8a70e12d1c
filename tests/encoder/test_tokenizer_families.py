"""Byte-level BPE, Unigram and WordPiece: templates are read from the file, and pieces give the tokens of the whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from authorid.encoder import windows
from authorid.encoder.tokenizer_file import read_tokenizer
from authorid.encoder.windows import Windower
from authorid.errors import BundleCorruptError

LETTERS = "abcdefghijklmnopqrstuvwxyzABÉé1234"


def byte_level_bpe() -> Tokenizer:
    """As RoBERTa has it."""
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    merges = [("Ġ", "a"), ("Ġ", "Ġ"), ("a", "b"), ("Ġa", "b"), ("c", "d"), ("ĠĠ", "ĠĠ"), ("Ċ", "Ċ")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    made.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return made


def unigram(*, splits_first: bool) -> Tokenizer:
    """As XLM-RoBERTa has it; without `splits_first`, as DeBERTa has it."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0), ("▁a", -2.0), ("ab", -2.5)]
    made = Tokenizer(models.Unigram([*pieces, *((letter, -5.0) for letter in LETTERS)], 3, False))
    space = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space]) if splits_first else space
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return made


def wordpiece() -> Tokenizer:
    """A cased BERT with other names for its special tokens."""
    words = ["<pad>", "<unk>", "<start>", "<end>", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    made = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("<end>", 3), ("<start>", 2))
    return made


MAKERS = {
    "bpe": byte_level_bpe,
    "unigram": lambda: unigram(splits_first=False),
    "unigram of words": lambda: unigram(splits_first=True),
    "wordpiece": wordpiece,
}

PARTS = [*"ab cd\n\t  é.<1", "\u3000", "\u200b", "\xa0", " ab ", "\ufb01", "<mask>"]
texts = st.lists(st.sampled_from(PARTS), max_size=120).map("".join)


@pytest.fixture(params=MAKERS)
def tokenizer(request, tmp_path) -> Tokenizer:
    """Written to a file and read as a bundle's is."""
    path = tmp_path / "tokenizer.json"
    path.write_text(MAKERS[request.param]().to_str())
    return read_tokenizer(path)


def test_special_tokens_are_those_of_the_file(tokenizer):
    windower = Windower(tokenizer, 8)
    (window,) = windower.windows(windower.token_ids(["ab a"])[0])
    assert window.ids.tolist() == tokenizer.encode("ab a").ids
    assert windower.special_tokens == 2


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("truncate", [False, True])
@given(text=texts)
def test_tokenizing_in_parts_gives_the_tokens_of_the_whole(make, truncate, text):
    tokenizer = make()
    whole = tokenizer.encode(text, add_special_tokens=False).ids
    windower = Windower(tokenizer, 8, truncate=truncate)
    windower._part = 12
    (ids,) = windower.token_ids([text])
    if truncate:
        assert ids[:6].tolist() == whole[:6]
    else:
        assert ids.tolist() == whole


def test_a_truncating_windower_reads_no_further_than_its_window(tokenizer, monkeypatch):
    monkeypatch.setattr(windows, "_PART", 1000)
    windower = Windower(tokenizer, 16, truncate=True)
    lengths = [len(ids) for ids in windower.token_ids(["ab cd " * 10_000, "a", "ab cd " * 10_000])]
    assert lengths[1] == 1
    assert 14 <= lengths[0] == lengths[2] < 2_000
    assert [len(windower.windows(ids)) for ids in windower.token_ids(["ab cd " * 10_000, ""])] == [1, 0]


@pytest.mark.parametrize(("before", "after"), [("<s>", ""), ("", "</s>"), ("<s> <s>", "</s>")])
def test_templates_of_any_length(before, after):
    tokenizer = byte_level_bpe()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}".strip(), pair="$A $B", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    windower = Windower(tokenizer, 10)
    special = len(before.split()) + len(after.split())
    (ids,) = windower.token_ids(["abcd" * 40])
    found = windower.windows(ids)
    assert windower.special_tokens == special
    assert max(len(window.ids) for window in found) <= 10
    assert sum(len(window.ids) - special for window in found) >= len(ids)
    assert np.array_equal(found[0].ids[:1], [0] if before else ids[:1])


def test_a_template_that_no_window_can_follow_is_refused():
    tokenizer = byte_level_bpe()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s>:1 $A:1 </s>:1", pair="$A $B", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    with pytest.raises(BundleCorruptError, match="template"):
        Windower(tokenizer, 8)
    tokenizer = byte_level_bpe()
    tokenizer.post_processor = None
    with pytest.raises(BundleCorruptError, match=r"\[CLS\]"):
        Windower(tokenizer, 8)


def test_all_of_these_tokenizers_are_accepted_as_files(tokenizer, tmp_path):
    record = json.loads(tokenizer.to_str())
    (tmp_path / "again.json").write_text(json.dumps(record))
    assert read_tokenizer(tmp_path / "again.json").get_vocab_size() == tokenizer.get_vocab_size()
