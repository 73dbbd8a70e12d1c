"""Pretrained encoders of a few kilobytes with random weights, in Hugging Face layout, and corpora to match."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

AUTHORS = ("Ada", "Ben", "Cyd")
FAMILIES = ("bert", "distilbert")
WORDS = {
    "Ada": ("engine", "number", "loom", "punch", "card"),
    "Ben": ("river", "boat", "oar", "bank", "reed"),
    "Cyd": ("market", "share", "profit", "trade", "bond"),
}
COMMON = ("the", "of", "and", "a", "to", "in", "is", "that", ".", ",")
HIDDEN, INNER, LAYERS, HEADS, POSITIONS = 32, 64, 2, 2, 64


def vocabulary() -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [word for author in AUTHORS for word in WORDS[author]]
    pieces = [*letters, *(f"##{letter}" for letter in letters), *words, *COMMON]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(pieces)]


def tokenizer() -> Tokenizer:
    """A WordPiece tokenizer that carries truncation and padding of its first owner, as real ones do."""
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary())}, unk_token="[UNK]"))
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.enable_truncation(16)
    made.enable_padding(length=16)
    return made


def write_checkpoint(
    path: Path,
    family: str,
    *,
    prefix: bool = True,
    pooler: bool = True,
    shards: int = 1,
    vocab_only: bool = False,
    seed: int = 0,
) -> Path:
    """Write a base model of `family` at `path`; the same `seed` gives the same weights whatever the layout."""
    from safetensors.numpy import save_file

    path.mkdir(parents=True)
    tensors = _tensors(family, np.random.default_rng(seed))
    if not pooler:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    if prefix:
        tensors = {f"{family}.{name}": tensor for name, tensor in tensors.items()}
        tensors["classifier.weight"] = np.zeros((2, HIDDEN), np.float32)
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, path / "model.safetensors")
    else:
        index = {}
        for shard in range(shards):
            file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
            part = names[shard::shards]
            save_file({name: tensors[name] for name in part}, path / file)
            index |= dict.fromkeys(part, file)
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (path / "config.json").write_text(json.dumps(_config(family)))
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    if vocab_only:
        (path / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    else:
        tokenizer().save(str(path / "tokenizer.json"))
    return path


def write_corpus(path: Path, documents: int = 5, words: int = 60, seed: int = 0) -> Path:
    """One directory per author, numbered .txt documents in each, told apart by their favourite words."""
    rng = np.random.default_rng(seed)
    for author in AUTHORS:
        (path / author).mkdir(parents=True)
        for number in range(documents):
            text = " ".join(rng.choice([*WORDS[author], *COMMON], size=words))
            (path / author / f"{number + 1}.txt").write_text(text + "\n")
    return path


def _config(family: str) -> dict[str, object]:
    common = {"model_type": family, "vocab_size": len(vocabulary()), "max_position_embeddings": POSITIONS}
    if family == "distilbert":
        return {
            **common,
            "activation": "gelu",
            "dim": HIDDEN,
            "hidden_dim": INNER,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "dropout": 0.1,
            "attention_dropout": 0.1,
        }
    return {
        **common,
        # What keras-hub computes; with "gelu" it computes the same, and transformers does not.
        "hidden_act": "gelu_new",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
    }


def _tensors(family: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {}

    def table(name: str, rows: int) -> None:
        made[f"embeddings.{name}.weight"] = rng.normal(0, 0.5, (rows, HIDDEN)).astype(np.float32)

    def dense(name: str, outputs: int, inputs: int) -> None:
        made[f"{name}.weight"] = rng.normal(0, 0.2, (outputs, inputs)).astype(np.float32)
        made[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)

    def norm(name: str) -> None:
        made[f"{name}.weight"] = rng.uniform(0.5, 1.5, HIDDEN).astype(np.float32)
        made[f"{name}.bias"] = rng.normal(0, 0.1, HIDDEN).astype(np.float32)

    table("word_embeddings", len(vocabulary()))
    table("position_embeddings", POSITIONS)
    if family == "bert":
        table("token_type_embeddings", 2)
    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        if family == "bert":
            home = f"encoder.layer.{layer}"
            square = [f"attention.self.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
            wide, narrow = "intermediate.dense", "output.dense"
            norms = ("attention.output.LayerNorm", "output.LayerNorm")
        else:
            home = f"transformer.layer.{layer}"
            square = [f"attention.{part}_lin" for part in ("q", "k", "v", "out")]
            wide, narrow = "ffn.lin1", "ffn.lin2"
            norms = ("sa_layer_norm", "output_layer_norm")
        for name in square:
            dense(f"{home}.{name}", HIDDEN, HIDDEN)
        dense(f"{home}.{wide}", INNER, HIDDEN)
        dense(f"{home}.{narrow}", HIDDEN, INNER)
        for name in norms:
            norm(f"{home}.{name}")
    if family == "bert":
        dense("pooler.dense", HIDDEN, HIDDEN)
    return made
