"""A tiny but real model: an ONNX graph that recognizes three authors by their words, and a WordPiece tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from authorid.bundle.decision import Decision, Rule
from authorid.bundle.manifest import Bundle, Classes, Golden, WindowSpec
from authorid.bundle.save import write_bundle
from authorid.ngrams.model import load_ngram_model

AUTHORS = ("Ada", "Ben", "Cyd")
WORDS = {
    "Ada": ("engine", "number", "loom"),
    "Ben": ("river", "boat", "oar"),
    "Cyd": ("market", "share", "profit"),
}
COMMON = ("the", "of", "and", "a", "to", "in", ".", ",")


def make_tokenizer() -> Tokenizer:
    words = [word for author in AUTHORS for word in WORDS[author]]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *COMMON]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # Real checkpoints carry such settings; scoring must ignore them.
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    return tokenizer


def make_graph(tokenizer: Tokenizer, *, emitted: bool = True, authors: int = len(AUTHORS), rest: float = 0.0) -> bytes:
    """An ONNX graph: every token has a score for each author, and the logits of a window are their means.

    A word of an author has 8 for that author, every other token has `rest`.
    """
    table = np.full((tokenizer.get_vocab_size(), authors), rest, dtype=np.float32)
    for column, author in enumerate(AUTHORS[:authors]):
        for word in WORDS[author]:
            table[tokenizer.token_to_id(word), column] = 8.0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["scores"]),
        helper.make_node("ReduceMean", ["scores", "axis"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT32, ["batch", "tokens"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", authors])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if emitted:
        helper.set_model_props(model, {"authorid.dialect": "onnxruntime-cpu"})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def make_bundle(
    path: Path,
    *,
    window: int = 16,
    emitted: bool = True,
    graph: bytes | None = None,
    threshold: float = 0.0,
    openvino: bytes | None = None,
    overwrite: bool = False,
    names: tuple[str, ...] = AUTHORS,
    classes: Classes = "authors",
    rule: Rule = "mean-log-softmax",
    rest: float = 0.0,
) -> Bundle:
    """Write a bundle at `path` for three authors, or for other classes with as many names.

    `openvino` is its INT8 graph for that provider; `rest` is explained at `make_graph`.
    """
    tokenizer = make_tokenizer()
    golden_ids = [tokenizer.token_to_id(word) for word in ("[CLS]", "engine", "the", "[SEP]")]
    labels = {str(i): name for i, name in enumerate(names)}
    config = {"model_type": "bert", "id2label": labels, "label2id": {v: int(k) for k, v in labels.items()}}
    draft = Bundle(
        path=path,
        model_type="bert",
        authors=names,
        window=WindowSpec(window, window - 2),
        pooling="mean",
        decision=Decision(rule, unknown_threshold=threshold),
        graphs={"int8": "model_int8.onnx"} | ({"openvino-int8": "openvino.onnx"} if openvino else {}),
        golden=(Golden(tuple(golden_ids), {"int8": (2.0 + 0.75 * rest, rest, rest)[: len(names)]}),),
        provenance={"name": "tiny"},
        classes=classes,
    )
    files = {
        "config.json": json.dumps(config),
        "tokenizer.json": tokenizer.to_str(),
        "README.md": "# tiny\n",
        "model_int8.onnx": graph or make_graph(tokenizer, emitted=emitted, authors=len(names), rest=rest),
        **({"openvino.onnx": openvino} if openvino else {}),
    }
    return write_bundle(draft, files, overwrite=overwrite, check=load_ngram_model)


def prose(author: str, words: int, seed: int = 0) -> str:
    """Reproducible prose in the style of one of the three authors."""
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice([*WORDS[author], *COMMON], size=words)) + "\n"
