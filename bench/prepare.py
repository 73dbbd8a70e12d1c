"""One set of weights for all systems: ``python -m bench.prepare``, run in the Keras environment.

Takes a training run (`authorid.training.Run`) or makes a random model of MiniLM's sizes, and writes a `Prepared`
directory: Keras weights, the same numbers in Hugging Face layout, our bundle, and golden logits computed by Keras.
Every worker compares itself with those when it has loaded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.workloads import generated_text

if TYPE_CHECKING:
    from authorid.export import OnnxGraph

GOLDEN = 16
CALIBRATION = 32, 150
"""Texts that INT8 is calibrated on, with random and with trained weights, where it is not exported from a run."""

MINILM: dict[str, Any] = {
    "family": "bert",
    "vocabulary_size": 30522,
    "num_layers": 6,
    "num_heads": 12,
    "hidden_dim": 384,
    "intermediate_dim": 1536,
    "max_sequence_length": 512,
    "num_segments": 2,
    "dropout": 0.1,
}
"""The sizes of MiniLM-L6-H384, of which a random model is made where there is no run."""

RANDOM_AUTHORS = 50
WINDOW = 128


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the directory given by ``--out``."""
    parser = argparse.ArgumentParser(prog="python -m bench.prepare", description=__doc__)
    parser.add_argument("--run", type=Path, help="training run to take the weights from; default: random weights")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of a random model; default: one word, one token")
    parser.add_argument("--corpus", type=Path, help="training corpus of --run, for the calibration of INT8")
    parser.add_argument("--bundle", type=Path, help="a bundle that was exported from --run, to be used as it is")
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args(arguments)
    staging = Path(tempfile.mkdtemp(prefix=".prepare-", dir=wanted.out.parent))
    try:
        if wanted.run is not None:
            _from_run(wanted.run, wanted.corpus, wanted.bundle, staging)
        else:
            _random(wanted.tokenizer, staging)
        shutil.rmtree(wanted.out, ignore_errors=True)
        staging.rename(wanted.out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _from_run(path: Path, corpus: Path | None, bundle: Path | None, out: Path) -> None:
    from authorid.bundle.manifest import load_bundle
    from authorid.errors import AuthoridError
    from authorid.export import ExportOptions, export_model
    from authorid.training import Run

    run = Run.load(path)
    if run.features is not None:
        raise AuthoridError(
            f"{path}: made by the recipe probe, whose head the other systems do not have; train with --recipe windows"
        )
    model = _without_funnel(run.keras_model(), run.geometry, run.pooling, run.hidden_activation)
    (out / "hf").mkdir()
    shutil.copyfile(run.path / "tokenizer.json", out / "hf" / "tokenizer.json")
    shape = _Shape(run.geometry.to_json(), list(run.authors), run.window, run.pooling, run.hidden_activation)
    _write(out, model, shape)
    if bundle is not None:
        shutil.copytree(bundle, out / "bundle")
    else:
        options = ExportOptions(quantize=True, openvino=True, corpus=corpus, verify_documents=100, force=True)
        export_model(path, out / "bundle", options)
    ours = load_bundle(out / "bundle")
    if ours.authors != run.authors or ours.window.length != run.window:
        raise AuthoridError(f"{ours.path}: has other authors or windows than {path}")
    if ours.provenance.get("funnel", False):
        texts = _some_texts(corpus or Path(run.record["corpus"]["path"]))
        _write_bundle(out / "plain", model, shape, texts)


def _some_texts(corpus: Path) -> list[str]:
    """Documents for the calibration of INT8, drawn from all of the corpus."""
    from authorid.training import load_corpus

    documents = load_corpus(corpus).documents
    chosen = np.random.default_rng(0).permutation(len(documents))[: CALIBRATION[1]]
    return [documents[index].text for index in chosen]


def _without_funnel(model: Any, geometry: Any, pooling: Any, hidden: str | None) -> Any:
    """A classifier of the same weights that computes all tokens, as the peers' do; the model itself if it does."""
    from authorid.training import build_classifier
    from authorid.training.encoder.funnel import FUNNEL

    trained = {layer.name: layer for layer in model.layers}
    if FUNNEL not in trained:
        return model
    encoder = trained[FUNNEL].encoder
    trained[encoder.name] = encoder
    plain = build_classifier(geometry, int(model.output_shape[-1]), pooling, hidden)
    for layer in (*plain.get_layer("backbone").layers, *plain.layers):
        if layer.name in trained:
            layer.set_weights(trained[layer.name].get_weights())
    return plain


def _random(tokenizer: Path | None, out: Path) -> None:
    import keras

    from authorid.training import Geometry, build_classifier

    keras.utils.set_random_seed(7)
    authors = [f"author-{index:02d}" for index in range(RANDOM_AUTHORS)]
    sizes = Geometry.from_json(MINILM)
    model = build_classifier(sizes, len(authors), funnel=True)
    plain = _without_funnel(model, sizes, "first", None)
    (out / "hf").mkdir()
    if tokenizer is not None:
        shutil.copyfile(tokenizer, out / "hf" / "tokenizer.json")
    else:
        _plain_tokenizer().save(str(out / "hf" / "tokenizer.json"))
    shape = _Shape(MINILM, authors, WINDOW, "first", None)
    _write(out, plain, shape)
    texts = [generated_text(300, 1000 + index) for index in range(CALIBRATION[0])]
    for name, classifier in (("bundle", model), ("plain", plain)):
        _write_bundle(out / name, classifier, shape, texts)


def _plain_tokenizer() -> Any:
    """A WordPiece tokenizer of the generated corpus' own words, for a machine without any model at hand."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = sorted({word for seed in range(200) for word in generated_text(600, seed).lower().split()})
    pieces = [*(chr(code) for code in range(33, 127)), *(f"##{chr(code)}" for code in range(97, 123))]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([*special, *pieces, *words]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


@dataclass(frozen=True)
class _Shape:
    """What a model is, but for its weights: sizes, authors, window length, pooling, activation of the head."""

    geometry: dict[str, Any]
    authors: list[str]
    window: int
    pooling: str
    hidden_activation: str | None


def _write(out: Path, model: Any, shape: _Shape) -> None:
    """Everything that the peers load."""
    from authorid.export import from_keras
    from authorid.training.runs import predict_windows

    (out / "model.json").write_text(json.dumps(asdict(shape), indent=1) + "\n", "utf-8")
    model.save_weights(str(out / "keras.weights.h5"))
    _write_huggingface(out / "hf", from_keras(model), shape)
    rng = np.random.default_rng(11)
    lengths = rng.integers(shape.window // 2, shape.window + 1, GOLDEN).astype(np.int32)
    words = shape.geometry["vocabulary_size"]
    rows = [rng.integers(min(999, words // 2), words, length, dtype=np.int32) for length in lengths]
    logits = np.concatenate(predict_windows(model, [[row] for row in rows], len(shape.authors)))
    np.savez(out / "golden.npz", ids=np.concatenate(rows), lengths=lengths, logits=logits)


def _write_huggingface(out: Path, weights: Any, shape: _Shape) -> None:
    """config.json, tokenizer_config.json and model.safetensors; the head is read by `bench.peers.head`."""
    from safetensors.numpy import save_file

    (out / "config.json").write_text(json.dumps(_config(weights, shape), indent=1) + "\n", "utf-8")
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer) + "\n", "utf-8")
    family = shape.geometry["family"]
    tensors = {name: np.ascontiguousarray(value) for name, value in _tensors(weights, family)}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def _config(weights: Any, shape: _Shape) -> dict[str, Any]:
    """config.json of a BERT or DistilBERT classifier."""
    geometry, authors = shape.geometry, shape.authors
    activation = {"tanh": "gelu_pytorch_tanh", "erf": "gelu"}[weights.gelu]
    if geometry["family"] == "bert":
        sizes = {
            "architectures": ["BertForSequenceClassification"],
            "model_type": "bert",
            "hidden_size": geometry["hidden_dim"],
            "num_hidden_layers": geometry["num_layers"],
            "num_attention_heads": geometry["num_heads"],
            "intermediate_size": geometry["intermediate_dim"],
            "max_position_embeddings": geometry["max_sequence_length"],
            "type_vocab_size": 2,
            "hidden_act": activation,
            "layer_norm_eps": weights.epsilon,
        }
    else:
        sizes = {
            "architectures": ["DistilBertForSequenceClassification"],
            "model_type": "distilbert",
            "dim": geometry["hidden_dim"],
            "n_layers": geometry["num_layers"],
            "n_heads": geometry["num_heads"],
            "hidden_dim": geometry["intermediate_dim"],
            "max_position_embeddings": geometry["max_sequence_length"],
            "activation": activation,
        }
    return {
        **sizes,
        "vocab_size": geometry["vocabulary_size"],
        "pad_token_id": 0,
        "dtype": "float32",
        "id2label": {str(index): author for index, author in enumerate(authors)},
        "label2id": {author: index for index, author in enumerate(authors)},
        "authorid_head": {"pooling": shape.pooling, "hidden_activation": shape.hidden_activation},
    }


_NAMES = {
    "bert": {
        "layer": "bert.encoder.layer.{}",
        "norm": "LayerNorm",
        "q": "attention.self.query",
        "k": "attention.self.key",
        "v": "attention.self.value",
        "attention_output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "ffn_inner": "intermediate.dense",
        "ffn_output": "output.dense",
        "ffn_norm": "output.LayerNorm",
    },
    "distilbert": {
        "layer": "distilbert.transformer.layer.{}",
        "norm": "LayerNorm",
        "q": "attention.q_lin",
        "k": "attention.k_lin",
        "v": "attention.v_lin",
        "attention_output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "ffn_inner": "ffn.lin1",
        "ffn_output": "ffn.lin2",
        "ffn_norm": "output_layer_norm",
    },
}
"""Our names of a layer's parts -> transformers'."""


def _tensors(weights: Any, family: str) -> list[tuple[str, Any]]:
    """``(name, array)`` in transformers' names and its [outputs, inputs] order."""
    names = _NAMES[family]
    table = f"{family}.embeddings"
    found: list[tuple[str, Any]] = [
        (f"{table}.word_embeddings.weight", weights.token_embedding),
        (f"{table}.position_embeddings.weight", weights.position_embedding),
    ]
    if family == "bert":  # our position table already holds segment row 0
        found.append((f"{table}.token_type_embeddings.weight", np.zeros((2, weights.width), np.float32)))

    def norm(name: str, part: Any) -> None:
        found.extend([(f"{name}.weight", part.gamma), (f"{name}.bias", part.beta)])

    def dense(name: str, part: Any) -> None:
        found.extend([(f"{name}.weight", part.kernel.T), (f"{name}.bias", part.bias)])

    norm(f"{table}.LayerNorm", weights.embedding_norm)
    for index, layer in enumerate(weights.layers):
        prefix = names["layer"].format(index)
        for part in ("q", "k", "v", "attention_output", "ffn_inner", "ffn_output"):
            dense(f"{prefix}.{names[part]}", getattr(layer, part))
        for part in ("attention_norm", "ffn_norm"):
            norm(f"{prefix}.{names[part]}", getattr(layer, part))
    if weights.head.hidden is not None:
        dense("head_hidden", weights.head.hidden)
    dense("classifier", weights.head.logits)
    return found


def _write_bundle(path: Path, model: Any, shape: _Shape, texts: Sequence[str]) -> None:
    """A bundle at `path`: emitted graphs, INT8 calibrated on `texts`, no n-grams."""
    from authorid.bundle.decision import Decision
    from authorid.bundle.manifest import Bundle, WindowSpec
    from authorid.bundle.save import write_bundle
    from authorid.encoder.windows import Windower
    from authorid.export import calibrate, emit, from_keras, share_weights

    source = path.parent / "hf"
    weights = from_keras(model)
    windower = Windower.from_file(source / "tokenizer.json", shape.window)
    windows = [window.ids for ids in windower.token_ids(texts) for window in windower.windows(ids)]
    found = calibrate(weights, windows)
    graphs = {"fp32": emit(weights), "int8": emit(found.weights, "int8", found.ranges)}
    golden = _golden(graphs, windows[:2])
    graphs["openvino-fp32"] = emit(weights, dialect="openvino")
    graphs["openvino-int8"] = emit(found.weights, "int8", found.ranges, dialect="openvino")
    shared, tensors = share_weights(graphs, "model.onnx.data")
    draft = Bundle(
        path=path,
        model_type=shape.geometry["family"],
        authors=tuple(shape.authors),
        window=WindowSpec(shape.window, shape.window - 2),
        pooling=shape.pooling,
        decision=Decision(),
        graphs={key: f"{key}.onnx" for key in shared},
        golden=golden,
        provenance={"name": "for measuring speed", "funnel": weights.halved is not None},
    )
    files: dict[str, bytes | str | Path] = {
        "config.json": (source / "config.json").read_text("utf-8"),
        "tokenizer.json": source / "tokenizer.json",
        "README.md": "# A model for measuring speed\n",
        "model.onnx.data": tensors,
        **{f"{key}.onnx": graph for key, graph in shared.items()},
    }
    write_bundle(draft, files)


def _golden(graphs: Mapping[str, OnnxGraph], windows: Sequence[Any]) -> tuple[Any, ...]:
    """Golden inputs of a bundle: `windows` of token ids and the logits that each graph gives them."""
    from authorid.bundle.manifest import Golden
    from authorid.export.graph.graph_runner import GraphRunner

    runners = {precision: GraphRunner(graph) for precision, graph in graphs.items()}
    return tuple(
        Golden(
            tuple(int(i) for i in ids),
            {precision: tuple(float(x) for x in runner.logits([ids])[0]) for precision, runner in runners.items()},
        )
        for ids in windows
    )


if __name__ == "__main__":
    main()
