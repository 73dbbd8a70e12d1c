"""Fine-tuned classifiers of all families, with random weights, as transformers writes them; and what they compute.

The names and shapes of the tensors are those of transformers' modules, written down here once more; `logits` is the
forward pass in plain numpy, on the tensors as they are stored.
"""

from __future__ import annotations

import json
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ("river", "boat", "oar", "market", "share", "profit", "the", "of", "and", "a", ".", ",")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LABELS = ("good", "bad", "ugly")
POSITIONS = 48
"""Tokens that the models read."""

BERT_SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 56}

FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {**BERT_SIZES, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12},
    "distilbert": {"n_layers": 2, "n_heads": 4, "dim": 32, "hidden_dim": 56, "activation": "gelu"},
    "roberta": {**BERT_SIZES, "type_vocab_size": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-5},
    "xlm-roberta": {**BERT_SIZES, "type_vocab_size": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-5},
    "camembert": {**BERT_SIZES, "type_vocab_size": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-5},
    "electra": {
        **BERT_SIZES, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "embedding_size": 16,
    },
}  # fmt: skip
"""``model_type`` -> what config.json says about the encoder."""

CLASSES = {
    "bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert", "electra": "Electra",
}  # fmt: skip

PREFIX = {"xlm-roberta": "roberta", "camembert": "roberta"}
COUNTED_FROM_PADDING = ("roberta", "xlm-roberta", "camembert")


def wordpiece(*, template: bool = True) -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    if template:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return made


def byte_level() -> Tokenizer:
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    merges = [("Ġ", "a"), ("t", "h"), ("th", "e"), ("o", "f"), ("o", "a")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    made.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    return made


def unigram() -> Tokenizer:
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [*((f"▁{word}", -4.0) for word in WORDS), *((letter, -6.0) for letter in LETTERS)]
    made = Tokenizer(models.Unigram(pieces, 3, False))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    return made


TOKENIZERS = {"roberta": byte_level, "xlm-roberta": unigram, "camembert": unigram}
BERT_TOKENS = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
ROBERTA_TOKENS = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}


def config_of(family: str, labels: tuple[str, ...] = LABELS, **changes: Any) -> dict[str, Any]:
    """config.json of a classifier."""
    counted = family in COUNTED_FROM_PADDING
    return {
        "architectures": [f"{CLASSES[family]}ForSequenceClassification"],
        "model_type": family,
        "vocab_size": tokenizer_of(family).get_vocab_size(),
        "max_position_embeddings": POSITIONS + (2 if counted else 0),
        "pad_token_id": 1 if counted else 0,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        **FAMILIES[family],
        **changes,
    }


def tokenizer_of(family: str) -> Tokenizer:
    return TOKENIZERS.get(family, wordpiece)()


def tensors_of(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors with the names and the order of axes that transformers has."""
    rng = np.random.default_rng(seed)
    family = config["model_type"]
    distil = family == "distilbert"
    width, inner = (config["dim"], config["hidden_dim"]) if distil else (
        config["hidden_size"], config["intermediate_size"])  # fmt: skip
    layers, embedding = config["n_layers" if distil else "num_hidden_layers"], config.get("embedding_size", width)
    made: dict[str, np.ndarray] = {}

    def table(name: str, rows: int) -> None:
        made[f"{name}.weight"] = rng.normal(0, 0.6, (rows, embedding)).astype(np.float32)

    def dense(name: str, outputs: int, inputs: int) -> None:
        made[f"{name}.weight"] = rng.normal(0, 0.35, (outputs, inputs)).astype(np.float32)
        made[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)

    def norm(name: str, size: int = width) -> None:
        made[f"{name}.weight"] = rng.uniform(0.5, 1.5, size).astype(np.float32)
        made[f"{name}.bias"] = rng.normal(0, 0.1, size).astype(np.float32)

    home = PREFIX.get(family, family)
    table(f"{home}.embeddings.word_embeddings", config["vocab_size"])
    table(f"{home}.embeddings.position_embeddings", config["max_position_embeddings"])
    if not distil:
        table(f"{home}.embeddings.token_type_embeddings", config["type_vocab_size"])
    norm(f"{home}.embeddings.LayerNorm", embedding)
    if embedding != width:
        dense(f"{home}.embeddings_project", width, embedding)
    for number in range(layers):
        if distil:
            layer = f"{home}.transformer.layer.{number}"
            squares, wide, narrow = [f"attention.{part}_lin" for part in ("q", "k", "v", "out")], "ffn.lin1", "ffn.lin2"
            norms = ("sa_layer_norm", "output_layer_norm")
        else:
            layer = f"{home}.encoder.layer.{number}"
            squares = [f"attention.self.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
            wide, narrow = "intermediate.dense", "output.dense"
            norms = ("attention.output.LayerNorm", "output.LayerNorm")
        for name in squares:
            dense(f"{layer}.{name}", width, width)
        dense(f"{layer}.{wide}", inner, width)
        dense(f"{layer}.{narrow}", width, inner)
        for name in norms:
            norm(f"{layer}.{name}")
    labels = len(config["id2label"])
    if family == "bert":
        dense("bert.pooler.dense", width, width)
        dense("classifier", labels, width)
    elif distil:
        dense("pre_classifier", width, width)
        dense("classifier", labels, width)
    else:
        dense("classifier.dense", width, width)
        dense("classifier.out_proj", labels, width)
    return made


def write_classifier(
    path: Path,
    family: str,
    *,
    labels: tuple[str, ...] = LABELS,
    seed: int = 0,
    shards: int = 1,
    tokenizer: bool = True,
    **changes: Any,
) -> Path:
    """Write a classifier of `family` at `path`; `changes` are of its config.json, None removes a setting."""
    from safetensors.numpy import save_file

    path.mkdir(parents=True)
    config = {name: value for name, value in config_of(family, labels, **changes).items() if value is not None}
    (path / "config.json").write_text(json.dumps(config))
    sizes = {name: value for name, value in changes.items() if value is not None}
    tensors = tensors_of(config_of(family, labels, **sizes), seed)
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    else:
        places = {name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, name in enumerate(names)}
        for file in set(places.values()):
            save_file({name: tensors[name] for name in names if places[name] == file}, path / file)
        index = {"metadata": {}, "weight_map": places}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    if tokenizer:
        write_tokenizer(path, family)
    return path


def write_tokenizer(path: Path, family: str, **settings: Any) -> None:
    (path / "tokenizer.json").write_text(tokenizer_of(family).to_str())
    tokens = ROBERTA_TOKENS if family in COUNTED_FROM_PADDING else BERT_TOKENS
    names = ["input_ids", *(["token_type_ids"] if family in ("bert", "electra") else []), "attention_mask"]
    common = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, "model_input_names": names}
    record = {**common, **tokens, **settings}
    (path / "tokenizer_config.json").write_text(json.dumps(record))


def logits(config: dict[str, Any], tensors: dict[str, np.ndarray], ids: list[int], types: Any = None) -> np.ndarray:
    """The logits [labels] of one sequence, by the definition of the family."""
    family = config["model_type"]
    home, distil = PREFIX.get(family, family), family == "distilbert"
    exact = config.get("activation" if distil else "hidden_act") == "gelu"
    eps = config.get("layer_norm_eps", 1e-12)
    heads = config["n_heads" if distil else "num_attention_heads"]
    layers = config["n_layers" if distil else "num_hidden_layers"]
    whole = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ whole[f"{name}.weight"].T + whole[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
        return centred / spread * whole[f"{name}.weight"] + whole[f"{name}.bias"]

    first = config["pad_token_id"] + 1 if family in COUNTED_FROM_PADDING else 0
    x = whole[f"{home}.embeddings.word_embeddings.weight"][ids]
    x = x + whole[f"{home}.embeddings.position_embeddings.weight"][first : first + len(ids)]
    if not distil:
        x = (
            x
            + whole[f"{home}.embeddings.token_type_embeddings.weight"][
                np.zeros(len(ids), int) if types is None else types
            ]
        )
    x = norm(x, f"{home}.embeddings.LayerNorm")
    if f"{home}.embeddings_project.weight" in whole:
        x = dense(x, f"{home}.embeddings_project")
    for number in range(layers):
        at = f"{home}.transformer.layer.{number}" if distil else f"{home}.encoder.layer.{number}"
        parts = ("q_lin", "k_lin", "v_lin") if distil else ("self.query", "self.key", "self.value")
        q, k, v = (_by_head(dense(x, f"{at}.attention.{part}"), heads) for part in parts)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (shares / shares.sum(axis=-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        x = x + dense(mixed, f"{at}.attention.{'out_lin' if distil else 'output.dense'}")
        x = norm(x, f"{at}.{'sa_layer_norm' if distil else 'attention.output.LayerNorm'}")
        inner = _gelu(dense(x, f"{at}.{'ffn.lin1' if distil else 'intermediate.dense'}"), exact)
        x = x + dense(inner, f"{at}.{'ffn.lin2' if distil else 'output.dense'}")
        x = norm(x, f"{at}.{'output_layer_norm' if distil else 'output.LayerNorm'}")
    return _head(family, x[0], dense)


def _head(family: str, state: np.ndarray, dense: Any) -> np.ndarray:
    if family == "bert":
        return dense(np.tanh(dense(state, "bert.pooler.dense")), "classifier")
    if family == "distilbert":
        return dense(np.maximum(dense(state, "pre_classifier"), 0), "classifier")
    hidden = dense(state, "classifier.dense")
    return dense(_gelu(hidden, True) if family == "electra" else np.tanh(hidden), "classifier.out_proj")


def _by_head(x: np.ndarray, heads: int) -> np.ndarray:
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def _gelu(x: np.ndarray, exact: bool) -> np.ndarray:
    if exact:
        return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
