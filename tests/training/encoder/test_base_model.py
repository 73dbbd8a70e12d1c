"""Base models: what is taken from a directory, what its digest covers, and what is refused before Keras is loaded."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import FAMILIES, HIDDEN, tokenizer, vocabulary, write_checkpoint, write_corpus

from authorid.training.encoder.base_model import read_base_model
from authorid.training.encoder.model_directory import BaseModelError

pytestmark = pytest.mark.train

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def change_config(path: Path, *, without: tuple[str, ...] = (), **changes: object) -> None:
    config = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in without}))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", [{}, {"prefix": False}, {"shards": 3}])
def test_every_layout_has_the_same_tensors(tmp_path, family, layout):
    one = read_base_model(write_checkpoint(tmp_path / "one", family)).tensors
    other = read_base_model(write_checkpoint(tmp_path / "other", family, **layout)).tensors
    assert list(one) == list(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_weights_of_the_first_bert_have_other_names_for_norms(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = write_checkpoint(tmp_path / "old", "bert")
    expected = read_base_model(path).tensors
    expected = {name: np.array(tensor) for name, tensor in expected.items()}
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = load_file(path / "model.safetensors")
    for new, old in names.items():
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, path / "model.safetensors")
    found = read_base_model(path).tensors
    assert all(np.array_equal(found[name], tensor) for name, tensor in expected.items())


def test_the_digest_covers_every_file_that_is_used_and_no_other(tmp_path):
    def digest(name: str = "", content: bytes = b"", **layout: object) -> str:
        path = tmp_path / str(next(numbers))
        write_checkpoint(path, "bert", **layout)
        if name:
            file = path / name
            file.write_bytes((file.read_bytes() if file.exists() else b"") + content)
        return read_base_model(path).sha256()

    numbers = itertools.count()
    for layout, used, unused in (
        ({}, ["config.json", "tokenizer.json"], ["tokenizer_config.json", "README.md", "other.safetensors"]),
        ({"vocab_only": True}, ["config.json", "vocab.txt", "tokenizer_config.json"], ["README.md"]),
        ({"shards": 2}, ["model.safetensors.index.json", "tokenizer.json"], ["model-00003-of-00003.safetensors"]),
    ):
        before = digest(**layout)
        assert digest(**layout) == before
        for name in used:
            assert digest(name, b"\n", **layout) != before
        for name in unused:
            assert digest(name, b"\n", **layout) == before
        assert digest(seed=1, **layout) != before
    files = read_base_model(tmp_path / "0").directory.files
    assert set(files) == {"config.json", "model.safetensors", "tokenizer.json"}


def test_every_shard_is_in_the_digest(tmp_path):
    path = write_checkpoint(tmp_path / "shards", "distilbert", shards=3)
    before = read_base_model(path).sha256()
    for shard in path.glob("*.safetensors"):
        content = shard.read_bytes()
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert read_base_model(path).sha256() != before
        shard.write_bytes(content)
    assert read_base_model(path).sha256() == before


TEXTS = [
    "The river is a Boat of reed, xyz",
    "Ünïcödé déjà vu: ÉCOLE, naïve Straße — İstanbul Ça",
    "我住在河边 and 漢字かな交じり文 カタカナ 한국어",
    "emoji 🚣🏽‍♀️ and 👩‍👩‍👧, zero\u200bwidth, soft\u00adhyphen, no\u00a0break, \u3000wide",
    "w" * 100 + " " + "w" * 101 + " e\u0301tude e\u0301\u0302",
    "[CLS] river [SEP] [MASK] [UNK] don't 3.14 \t\r\n tab\x00\ufffd control\x07",
    "",
]


@pytest.mark.filterwarnings("ignore")
def test_a_tokenizer_from_vocab_txt_gives_the_ids_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    words = [*vocabulary(), "Boat", "E", "É", "é", "ü", "école", "ecole", "住", "河", "漢", "字", "##字", "##住", "🚣"]
    words += ["##é", "##É", "W", "##w", "istanbul", "İ", "ç", "c", "##a", "한국어", "我住在河边", "河边", "\u0301"]
    write_checkpoint(tmp_path / "base", "bert", vocab_only=True)
    (tmp_path / "base" / "vocab.txt").write_text("\n".join(dict.fromkeys(words)) + "\n", "utf-8")
    sizes = {"vocab_size": len(dict.fromkeys(words))}
    (tmp_path / "base" / "model.safetensors").write_bytes(_weights(tmp_path / "base", **sizes))
    change_config(tmp_path / "base", **sizes)
    for lowercase, accents, chinese in itertools.product((True, False), (True, False, None), (True, False)):
        settings = {"do_lower_case": lowercase, "strip_accents": accents, "tokenize_chinese_chars": chinese}
        (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(settings))
        theirs = transformers.BertTokenizerFast.from_pretrained(str(tmp_path / "base"))
        ours = read_base_model(tmp_path / "base").tokenizer
        for text in TEXTS:
            assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text, add_special_tokens=False)
        # The same settings under their other names, in the other file.
        (tmp_path / "base" / "tokenizer_config.json").unlink()
        renamed = {"lowercase": lowercase, "strip_accents": accents, "handle_chinese_chars": chinese}
        change_config(tmp_path / "base", **renamed)
        again = read_base_model(tmp_path / "base").tokenizer
        assert again.to_str() == ours.to_str()


def _weights(path: Path, vocab_size: int) -> bytes:
    from safetensors.numpy import load_file, save

    tensors = load_file(path / "model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    return save(tensors | {name: np.zeros((vocab_size, HIDDEN), np.float32)})


def test_a_vocabulary_alone_follows_the_defaults_of_bert(tmp_path):
    path = write_checkpoint(tmp_path / "old", "distilbert", vocab_only=True)
    (path / "tokenizer_config.json").unlink()
    built, reference = read_base_model(path).tokenizer, tokenizer()
    reference.no_padding()
    reference.no_truncation()
    assert built.get_vocab_size() == len(vocabulary())
    assert (
        built.encode(TEXTS[0], add_special_tokens=False).ids == reference.encode(TEXTS[0], add_special_tokens=False).ids
    )


def _only(path: Path, name: str) -> None:
    (path / "model.safetensors").rename(path / name)


def _overwrite(name: str, content: bytes):
    return lambda path: (path / name).write_bytes(content)


def _delete(name: str):
    return lambda path: (path / name).unlink()


def _truncate(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


Damage = tuple[Callable[[Path], object], str]

BROKEN: dict[str, Damage] = {
    "an LFS pointer as weights": (
        _overwrite("model.safetensors", POINTER),
        r"model\.safetensors: is a Git LFS pointer.* git lfs pull",
    ),
    "an LFS pointer as tokenizer": (_overwrite("tokenizer.json", POINTER), r"tokenizer\.json: is a Git LFS pointer"),
    "an LFS pointer as config": (_overwrite("config.json", POINTER), r"config\.json: is a Git LFS pointer"),
    "no model_type": (lambda path: change_config(path, without=("model_type",)), "has no model_type; add it"),
    "another family": (lambda path: change_config(path, model_type="gpt2"), "model_type 'gpt2' is not supported; use"),
    "a family that is no string": (
        lambda path: change_config(path, model_type=["bert"]),
        "model_type .* not supported",
    ),
    "another activation": (lambda path: change_config(path, hidden_act="relu"), "hidden_act 'relu' is not supported"),
    "no size": (lambda path: change_config(path, without=("vocab_size",)), "vocab_size must be a whole number"),
    "more layers": (lambda path: change_config(path, num_hidden_layers=10**9), "no tensor 'bert.encoder.layer.2"),
    "other sizes": (lambda path: change_config(path, vocab_size=10**12), "but config.json says"),
    "heads that do not divide": (lambda path: change_config(path, num_attention_heads=5), "a multiple of"),
    "no config": (_delete("config.json"), r"no config\.json; a base model is a directory"),
    "a torn config": (_overwrite("config.json", b"{"), "config.json: not readable JSON"),
    "a deep config": (_overwrite("config.json", b"[" * 100_000), "config.json: not readable JSON"),
    "a list as config": (_overwrite("config.json", b"[]"), "config.json: not a JSON object"),
    "pickled weights": (
        lambda path: _only(path, "pytorch_model.bin"),
        r"only pytorch_model\.bin; convert .*from_pretrained",
    ),
    "weights of Keras": (lambda path: _only(path, "tf_model.h5"), r"only tf_model\.h5; convert .*from_tf=True"),
    "weights of flax": (lambda path: _only(path, "flax_model.msgpack"), r"only flax_model\.msgpack; .*from_flax=True"),
    "no weights": (_delete("model.safetensors"), r"no model\.safetensors; download the weights"),
    "cut weights": (_truncate, r"model\.safetensors: not a readable safetensors file .*download it again"),
    "empty weights": (_overwrite("model.safetensors", b""), "not a readable safetensors file"),
    "no tokenizer": (_delete("tokenizer.json"), r"no tokenizer\.json and no vocab\.txt; download"),
    "a torn tokenizer": (_overwrite("tokenizer.json", b"{"), r"tokenizer\.json: the tokenizer cannot be read"),
}

BROKEN_SHARDS = {
    "a missing shard": (
        _delete("model-00002-of-00002.safetensors"),
        "model-00002-of-00002.safetensors', which is not there",
    ),
    "a shard outside": (
        _overwrite("model.safetensors.index.json", b'{"weight_map": {"x": "../a.safetensors"}}'),
        "names '../a.safetensors', which is not there",
    ),
    "no weight map": (
        _overwrite("model.safetensors.index.json", b'{"weight_map": [1]}'),
        "no weight_map of file names",
    ),
    "a shard as pointer": (_overwrite("model-00001-of-00002.safetensors", POINTER), "is a Git LFS pointer"),
}

BROKEN_VOCABULARIES = {
    "an LFS pointer as vocabulary": (_overwrite("vocab.txt", POINTER), r"vocab\.txt: is a Git LFS pointer"),
    "another vocabulary": (_overwrite("vocab.txt", b"a\nb\n"), "not a vocabulary of BERT"),
    "a vocabulary in Latin-1": (_overwrite("vocab.txt", b"[UNK]\n\xe9\n"), "tokenizer cannot be read"),
    "a setting that is no bool": (
        _overwrite("tokenizer_config.json", b'{"strip_accents": "no"}'),
        "strip_accents must be",
    ),
}

_TRAIN = """
import json, sys
from pathlib import Path
from authorid.errors import AuthoridError
from authorid.training.encoder.train import train
from authorid.training.recipes import TrainingOptions
corpus, *bases = map(Path, sys.argv[1:])
messages = {}
for base in bases:
    try:
        train(corpus, corpus.parent / "run", TrainingOptions(base_model=str(base), window=16))
    except AuthoridError as error:
        messages[base.name] = f"{type(error).__name__}: {error}"
loaded = sorted({"tensorflow", "keras", "keras_hub"} & set(sys.modules))
print(json.dumps({"messages": messages, "loaded": loaded}))
"""


def test_every_unusable_base_model_has_its_own_line_before_tensorflow_is_loaded(tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    expected = {}
    for kinds, layout in ((BROKEN, {}), (BROKEN_SHARDS, {"shards": 2}), (BROKEN_VOCABULARIES, {"vocab_only": True})):
        for number, (damage, message) in enumerate(kinds.values(), len(expected)):
            path = write_checkpoint(tmp_path / f"base{number}", "bert", **layout)
            damage(path)
            expected[path] = message
    for path, message in expected.items():
        with pytest.raises(BaseModelError, match=message) as caught:
            read_base_model(path)
        assert "\n" not in str(caught.value)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_TRAIN), corpus, *expected], capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["loaded"] == []
    assert list(answer["messages"]) == [path.name for path in expected]
    assert all(message.startswith("BaseModelError: ") for message in answer["messages"].values())
