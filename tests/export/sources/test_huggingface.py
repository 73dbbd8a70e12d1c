"""Fine-tuned classifiers in Hugging Face layout: their logits, their labels, how they read, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import zipfile
from collections import OrderedDict
from types import ModuleType

import numpy as np
import pytest
from huggingface_models import (
    FAMILIES,
    LABELS,
    POSITIONS,
    WORDS,
    config_of,
    logits,
    tensors_of,
    tokenizer_of,
    wordpiece,
    write_classifier,
    write_tokenizer,
)

from authorid import Scorer
from authorid.encoder.engine_options import EngineOptions
from authorid.errors import AuthoridError, BundleError
from authorid.export import ExportOptions, emit, export_model, open_source
from authorid.export.graph.graph_runner import GraphRunner
from authorid.export.sources.huggingface import HuggingFaceDirectory
from authorid.export.sources.torch_pickle import read_pickled_tensors

pytestmark = pytest.mark.train

each = pytest.mark.parametrize("family", FAMILIES)

LENGTHS = (3, 4, 17, POSITIONS - 1, POSITIONS)


def softmax(values):
    shares = np.exp(values - values.max())
    return shares / shares.sum()


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(5)
    return [" ".join(rng.choice(WORDS, length)) for length in (1, 2, 5, 9, 14, 30, 60)]


@pytest.fixture(scope="module")
def documents(tmp_path_factory, texts):
    """Documents to calibrate on; some of them have more tokens than a model reads."""
    path = tmp_path_factory.mktemp("documents")
    rng = np.random.default_rng(6)
    for number in range(40):
        (path / f"{number}.txt").write_text(" ".join(rng.choice(WORDS, rng.integers(2, 60))))
    return path


@each
@pytest.mark.parametrize("changes", [{}, {"shards": 3, "labels": ("one", "two")}, {"tanh": True}], ids=range(3))
def test_graphs_compute_what_the_family_is_defined_to(family, changes, tmp_path):
    """Windows alone, two at a time and in padded batches; in our graphs and in the reference."""
    given = dict(changes)
    labels = given.pop("labels", LABELS)
    if given.pop("tanh", False):
        given["activation" if family == "distilbert" else "hidden_act"] = "gelu_new"
        given |= {} if family == "distilbert" else {"layer_norm_eps": 1e-3}
    path = write_classifier(tmp_path / family, family, labels=labels, **given)
    config = json.loads((path / "config.json").read_text())
    tensors = tensors_of(config)
    rng = np.random.default_rng(1)
    windows = [rng.integers(4, config["vocab_size"], length, dtype=np.int32) for length in LENGTHS for _ in range(2)]
    expected = np.stack([logits(config, tensors, ids.tolist()) for ids in windows])
    source = open_source(path)
    assert isinstance(source, HuggingFaceDirectory)
    weights = source.weights()
    padded = GraphRunner(emit(weights, padding=True))
    reference = source.reference(windows)
    for computed in (
        GraphRunner(emit(weights)).logits(windows),
        padded.logits(windows),
        padded.padded_logits(windows),
        GraphRunner(reference.graph).logits(windows),
        reference.logits,
    ):
        np.testing.assert_allclose(computed, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_pairs_of_texts_can_be_told_apart_in_the_graph_for_other_tools(family, tmp_path):
    path = write_classifier(tmp_path / family, family)
    config = json.loads((path / "config.json").read_text())
    ids, kinds = np.arange(5, 25)[None], (np.arange(20) > 12).astype(np.int64)[None]
    session = GraphRunner(emit(open_source(path).weights(), padding=True))._session
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": kinds}
    expected = logits(config, tensors_of(config), ids[0].tolist(), kinds[0])
    np.testing.assert_allclose(session.run(None, feeds)[0][0], expected, atol=1e-4, rtol=0)


@each
def test_a_bundle_answers_as_the_tokenizer_and_the_model_of_the_directory(family, tmp_path, texts, documents):
    path = write_classifier(tmp_path / family, family)
    options = ExportOptions(quantize=True, corpus=documents, force=True)
    bundle = export_model(path, tmp_path / "bundle", options).bundle
    assert (bundle.model_type, bundle.authors, bundle.classes) == (family, LABELS, "labels")
    assert (bundle.window.length, bundle.window.truncate) == (POSITIONS, True)
    config = json.loads((path / "config.json").read_text())
    tokenizer, tensors = tokenizer_of(family), tensors_of(config)
    tokenizer.enable_truncation(POSITIONS)
    scored = list(Scorer.load(bundle.path, EngineOptions(precision="fp32")).score_texts(texts))
    for text, row in zip(texts, scored, strict=True):
        expected = softmax(logits(config, tensors, tokenizer.encode(text).ids))
        assert dict(row.ranking) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-4)
    assert max(row.tokens for row in scored) == POSITIONS
    int8 = list(Scorer.load(bundle.path).score_texts(texts))
    assert [row.status for row in int8] == ["scored"] * len(texts)


def test_windows_read_the_whole_document_and_logits_are_averaged(tmp_path, texts):
    path = write_classifier(tmp_path / "bert", "bert")
    options = ExportOptions(windows=True, max_length=16)
    bundle = export_model(path, tmp_path / "bundle", options).bundle
    assert (bundle.window.length, bundle.window.truncate) == (16, False)
    scorer = Scorer.load(bundle.path)
    (row,) = scorer.score_texts(texts[-1:])
    config = json.loads((path / "config.json").read_text())
    windows = scorer._cascade.encoder.windower.windows(scorer._cascade.encoder.windower.token_ids(texts[-1:])[0])
    assert row.windows == len(windows) > 2
    mean = np.mean([logits(config, tensors_of(config), window.ids.tolist()) for window in windows], axis=0)
    assert dict(row.ranking) == pytest.approx(dict(zip(LABELS, softmax(mean), strict=True)), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "labels", "expected"),
    [
        ({"problem_type": "multi_label_classification"}, LABELS, lambda x: 1 / (1 + np.exp(-x))),
        ({"problem_type": "regression"}, ("stars",), lambda x: x),
        ({"problem_type": None}, ("relevant",), lambda x: 1 / (1 + np.exp(-x))),
        ({"problem_type": "single_label_classification"}, LABELS, softmax),
    ],
)
def test_what_the_logits_mean_follows_from_the_problem_type(changes, labels, expected, tmp_path, texts):
    """As transformers' pipeline has it."""
    path = write_classifier(tmp_path / "roberta", "roberta", labels=labels, **changes)
    bundle = export_model(path, tmp_path / "bundle").bundle
    config = json.loads((path / "config.json").read_text())
    (row,) = Scorer.load(bundle.path).score_texts(texts[3:4])
    computed = expected(logits(config, tensors_of(config), tokenizer_of("roberta").encode(texts[3]).ids))
    assert dict(row.ranking) == pytest.approx(dict(zip(labels, computed, strict=True)), abs=1e-4)


def test_labels_are_numbered_where_the_configuration_names_none(tmp_path):
    path = write_classifier(tmp_path / "bert", "bert", labels=("a", "b"), id2label=None, label2id=None)
    assert open_source(path).labels == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_int8_of_other_tasks_is_held_to_their_own_bounds(problem_type, tmp_path, documents):
    path = write_classifier(tmp_path / "distilbert", "distilbert", problem_type=problem_type)
    options = ExportOptions(quantize=True, corpus=documents, force=True)
    report = export_model(path, tmp_path / "bundle", options)
    names = [check.name for check in report.checks if check.bound and check.name.startswith("INT8 = float32")]
    what = "same decisions" if problem_type == "multi_label_classification" else "variance explained"
    assert names == [f"INT8 = float32: {what}, 10 documents"]


@pytest.mark.parametrize("allowed", [False, True])
def test_a_hub_id_is_downloaded_and_only_what_is_needed(allowed, tmp_path, monkeypatch):
    import huggingface_hub

    path = write_classifier(tmp_path / "cached", "bert")
    asked = {}

    def download(name, allow_patterns):
        asked[name] = allow_patterns
        return str(path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    for name in ("somebody/reviews", "hf://somebody/letters"):
        assert open_source(name, ExportOptions(allow_pickle=allowed)).labels == LABELS
    assert asked.keys() == {"somebody/reviews", "somebody/letters"}
    assert all(("*.bin" in patterns) is allowed and "*.py" not in patterns for patterns in asked.values())


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_int8_is_calibrated_on_a_column_of_a_table(suffix, tmp_path):
    rng = np.random.default_rng(7)
    rows = [{"id": number, "body": " ".join(rng.choice(WORDS, 20))} for number in range(20)]
    table = tmp_path / f"reviews{suffix}"
    if suffix == ".csv":
        table.write_text("id,body\n" + "".join(f'{row["id"]},"{row["body"]}"\n' for row in rows))
    else:
        table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    path = write_classifier(tmp_path / "bert", "bert")
    options = ExportOptions(quantize=True, corpus=table, text_column="body", force=True)
    bundle = export_model(path, tmp_path / "bundle", options).bundle
    assert bundle.provenance["calibration"]["windows"] == 15
    with pytest.raises(AuthoridError, match="has no column 'text'; there are: id, body"):
        export_model(path, tmp_path / "other", ExportOptions(quantize=True, corpus=table, text_column="text"))


# Tokenizers ------------------------------------------------------------------------------------------------------


def test_a_vocabulary_is_enough_for_a_tokenizer(tmp_path, texts):
    path = write_classifier(tmp_path / "bert", "bert", tokenizer=False)
    (path / "vocab.txt").write_text("\n".join(wordpiece().get_vocab()) + "\n")
    vocabulary = sorted(wordpiece().get_vocab().items(), key=lambda item: item[1])
    (path / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in vocabulary))
    source = open_source(path)
    assert source.window.length == POSITIONS
    windower, expected = source.windower(), wordpiece()
    for text in texts[:4]:
        (window,) = windower.windows(windower.token_ids([text])[0])
        assert window.ids.tolist() == expected.encode(text).ids


def test_settings_of_the_tokenizers_class_are_applied_as_transformers_does(tmp_path):
    path = write_classifier(tmp_path / "bert", "bert")
    for name, same in (("BertTokenizer", False), ("PreTrainedTokenizerFast", True)):
        write_tokenizer(path, "bert", do_lower_case=False, tokenizer_class=name)
        (ids,) = open_source(path).windower().token_ids(["River"])
        assert (ids.tolist() == wordpiece().encode("river", add_special_tokens=False).ids) is same


def test_a_bundles_tokenizer_makes_the_window_by_itself(tmp_path, texts):
    from tokenizers import Tokenizer

    path = write_classifier(tmp_path / "roberta", "roberta")
    bundle = export_model(path, tmp_path / "bundle").bundle
    tokenizer = Tokenizer.from_file(str(bundle.path / "tokenizer.json"))
    assert tokenizer.encode(texts[2]).ids == tokenizer_of("roberta").encode(texts[2]).ids
    settings = json.loads((bundle.path / "tokenizer_config.json").read_text())
    assert (settings["model_max_length"], settings["pad_token"]) == (POSITIONS, "<pad>")
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]
    assert json.loads((bundle.path / "special_tokens_map.json").read_text())["cls_token"] == "<s>"


# What is refused -------------------------------------------------------------------------------------------------


def edit(**changes):
    def change(path):
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def remove(*names):
    return lambda path: [(path / name).unlink() for name in names]


def headless(path):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if "classifier" not in n}, path / "model.safetensors")


REFUSED = {
    "a model without a head": (edit(architectures=["BertModel"]), "BertModel has no classification head"),
    "a masked language model": (edit(architectures=["BertForMaskedLM"]), "no classification head; fine-tune"),
    "weights without a head": (headless, "has no classification head .*no tensor classifier.weight"),
    "code of its own": (edit(auto_map={"AutoModel": "m.M"}), "code of its own .auto_map., which is never run"),
    "labels that do not match": (
        edit(id2label={"0": "a", "1": "b"}),
        "'classifier' has 3 outputs, but config.json has 2 labels",
    ),
    "labels with a gap": (edit(id2label={"0": "a", "2": "b"}), "must number the labels from 0"),
    "two equal labels": (edit(id2label={"0": "a", "1": "a", "2": "b"}), "two labels in id2label are the same"),
    "a text-to-text model": (edit(architectures=["T5ForConditionalGeneration"], model_type="t5"), "text-to-text model"),
    "an image model": (edit(architectures=["ViTForImageClassification"], model_type="vit"), "an image model"),
    "a model that labels tokens": (edit(architectures=["BertForTokenClassification"]), "labels tokens, not documents"),
    "no tokenizer": (remove("tokenizer.json"), "no tokenizer.json and no vocab.txt"),
    "no weights": (remove("model.safetensors"), "no model.safetensors; download the weights too"),
    "other sizes": (edit(intermediate_size=57), r"intermediate.dense.weight' is \[56, 32\], but config.json"),
    "more layers": (edit(num_hidden_layers=9), "no tensor 'bert.encoder.layer.2"),
    "a broken configuration": (lambda path: (path / "config.json").write_text("{"), "not readable JSON"),
    "an unknown problem": (edit(problem_type="poetry"), "unknown problem_type 'poetry'"),
    "another length": (lambda path: write_tokenizer(path, "bert", model_max_length=4), "at most 4 tokens"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_exported_is_refused_with_one_clear_line(change, message, tmp_path):
    path = write_classifier(tmp_path / "model", "bert")
    change(path)
    with pytest.raises(AuthoridError, match=message) as caught:
        export_model(path, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_a_missing_shard_is_named(tmp_path):
    path = write_classifier(tmp_path / "model", "bert", shards=3)
    (path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(AuthoridError, match=r"names 'model-00002-of-00003.safetensors', which is not there"):
        open_source(path)


def test_int8_without_documents_says_what_is_needed(tmp_path):
    path = write_classifier(tmp_path / "model", "bert")
    with pytest.raises(AuthoridError, match=r"pass --corpus with a directory.*labels are not needed"):
        export_model(path, tmp_path / "bundle", ExportOptions(quantize=True))
    with pytest.raises(AuthoridError, match="nothing at that path"):
        export_model(path, tmp_path / "bundle", ExportOptions(quantize=True, corpus=tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AuthoridError, match="no document that can be read"):
        export_model(path, tmp_path / "bundle", ExportOptions(quantize=True, corpus=tmp_path / "empty"))


def test_a_window_longer_than_the_model_is_refused(tmp_path):
    path = write_classifier(tmp_path / "model", "roberta")
    with pytest.raises(AuthoridError, match=f"at most {POSITIONS} tokens; --max-length 49 is too long"):
        export_model(path, tmp_path / "bundle", ExportOptions(max_length=POSITIONS + 1))


def test_scoring_with_the_directory_itself_names_the_export(tmp_path):
    path = write_classifier(tmp_path / "model", "bert")
    with pytest.raises(BundleError, match=f"authorid export {path} --quantize --corpus DOCUMENTS"):
        Scorer.load(path)


# PyTorch's format ------------------------------------------------------------------------------------------------


def write_pickled(path, tensors, extra=None):
    """A file as ``torch.save`` writes it; the functions that its pickle names only have to exist meanwhile."""
    storages = {}

    class Storage:
        def __init__(self, array):
            self.key, self.array = str(len(storages)), array
            storages[self.key] = array

    def rebuild(*_):
        raise AssertionError("only named")

    class Stored:
        def __init__(self, array):
            self.array = array

        def __reduce__(self):
            strides = tuple(stride // self.array.itemsize for stride in self.array.strides)
            return rebuild, (Storage(self.array), 0, self.array.shape, strides, False, OrderedDict())

    kind = type("FloatStorage", (), {"__module__": "torch"})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            return "storage", kind, value.key, "cpu", value.array.size

    utils, torch = ModuleType("torch._utils"), ModuleType("torch")
    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2, torch.FloatStorage, torch._utils = rebuild, kind, utils
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        with zipfile.ZipFile(path, "w") as archive:
            with archive.open("archive/data.pkl", "w") as stream:
                content = OrderedDict((name, Stored(tensor)) for name, tensor in tensors.items())
                Pickler(stream, 2).dump(content if extra is None else {**content, "extra": extra})
            for key, array in storages.items():
                archive.writestr(f"archive/data/{key}", array.tobytes())
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@pytest.fixture
def pickled(tmp_path):
    """A classifier whose weights are in PyTorch's format alone."""
    path = write_classifier(tmp_path / "pickled", "distilbert")
    (path / "model.safetensors").unlink()
    write_pickled(path / "pytorch_model.bin", tensors_of(config_of("distilbert")))
    return path


def test_a_pickle_is_refused_unless_it_is_allowed(pickled, tmp_path):
    with pytest.raises(AuthoridError, match=r"pytorch_model.bin, which is a pickle.*--allow-pickle"):
        export_model(pickled, tmp_path / "bundle")
    allowed = open_source(pickled, ExportOptions(allow_pickle=True))
    same = open_source(write_classifier(tmp_path / "safe", "distilbert"))
    assert emit(allowed.weights()).to_bytes() == emit(same.weights()).to_bytes()


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/authorid-was-here",)


def test_a_pickle_that_wants_more_than_tensors_is_refused_and_not_run(tmp_path):
    tensors = {"a": np.ones((2, 3), np.float32)}
    write_pickled(tmp_path / "good.bin", tensors)
    np.testing.assert_array_equal(read_pickled_tensors((tmp_path / "good.bin").read_bytes())["a"], tensors["a"])
    write_pickled(tmp_path / "hostile.bin", tensors, extra=Hostile())
    with pytest.raises(ValueError, match=r"wants to use (posix|os)\.system"):
        read_pickled_tensors((tmp_path / "hostile.bin").read_bytes())
    write_pickled(tmp_path / "more.bin", tensors, extra=[1, 2])
    with pytest.raises(ValueError, match="something else than tensors"):
        read_pickled_tensors((tmp_path / "more.bin").read_bytes())
    with pytest.raises(ValueError, match="not a ZIP archive"):
        read_pickled_tensors(pickle.dumps(tensors))


@pytest.mark.parametrize("damage", ["truncated", "no storage", "wrong size"])
def test_a_damaged_checkpoint_is_refused(damage, tmp_path):
    write_pickled(tmp_path / "a.bin", {"a": np.ones((2, 3), np.float32)})
    data = (tmp_path / "a.bin").read_bytes()
    if damage == "truncated":
        data = data[: len(data) // 2]
    else:
        with zipfile.ZipFile(tmp_path / "a.bin") as old, zipfile.ZipFile(tmp_path / "b.bin", "w") as new:
            new.writestr("archive/data.pkl", old.read("archive/data.pkl"))
            if damage == "wrong size":
                new.writestr("archive/data/0", b"1234")
        data = (tmp_path / "b.bin").read_bytes()
    with pytest.raises(ValueError, match=r"."):
        read_pickled_tensors(data)


# Graphs that somebody already has --------------------------------------------------------------------------------


@pytest.fixture
def given(tmp_path):
    """An ONNX file as other exporters write it, with its tokenizer and configuration beside it."""
    path = write_classifier(tmp_path / "source", "distilbert")
    target = tmp_path / "given"
    target.mkdir()
    graph = emit(open_source(path).weights(), padding=True)
    (target / "model.onnx").write_bytes(without_metadata(graph))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(path / name, target / name)
    return target


def without_metadata(graph):

    model = graph.message()
    del model.metadata_props[:]
    return model.SerializeToString()


@pytest.mark.parametrize("named", [True, False])
def test_an_onnx_file_with_its_tokenizer_becomes_a_bundle(named, given, tmp_path, texts, documents):
    source = given / "model.onnx" if named else given
    options = ExportOptions(quantize=True, corpus=documents, force=True)
    report = export_model(source, tmp_path / "bundle", options)
    assert {"fp32", "int8"} == report.bundle.graphs.keys()
    config = json.loads((given / "config.json").read_text())
    scorer = Scorer.load(report.bundle.path, EngineOptions(precision="fp32"))
    assert scorer.engine.batch_tokens == 1, "one window at a time: batches may change its logits"
    for text, row in zip(texts[:4], scorer.score_texts(texts[:4]), strict=True):
        expected = softmax(logits(config, tensors_of(config), tokenizer_of("distilbert").encode(text).ids))
        assert dict(row.ranking) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-4)
    assert all(row.status == "scored" for row in Scorer.load(report.bundle.path).score_texts(texts))


def test_a_graph_that_is_quantized_already_is_taken_as_it_is(given, tmp_path, texts, documents):
    options = ExportOptions(quantize=True, corpus=documents, force=True)
    first = export_model(given, tmp_path / "first", options).bundle
    (given / "model.onnx").write_bytes(first.graph("int8").read_bytes())
    with pytest.raises(AuthoridError, match="quantized already; leave out --quantize"):
        export_model(given, tmp_path / "again", options)
    second = export_model(given, tmp_path / "second").bundle
    assert second.graphs.keys() == {"int8"}
    one, other = (list(Scorer.load(bundle.path).score_texts(texts)) for bundle in (first, second))
    assert [row.ranking for row in one] == [row.ranking for row in other]


def test_an_onnx_file_without_configuration_gets_numbered_labels(given, tmp_path):
    (given / "config.json").unlink()
    assert export_model(given, tmp_path / "bundle").bundle.authors == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_graphs_that_are_no_text_classifiers_are_refused(given, tmp_path):
    import onnx

    model = onnx.load(str(given / "model.onnx"))
    for node in model.graph.node:
        node.input[:] = ["pixels" if name == "input_ids" else name for name in node.input]
    model.graph.input[0].name = "pixels"
    onnx.save(model, str(given / "model.onnx"))
    with pytest.raises(AuthoridError, match="has the inputs pixels, attention_mask; a text classifier has"):
        export_model(given, tmp_path / "bundle")
    (given / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(AuthoridError, match="not an ONNX graph"):
        export_model(given, tmp_path / "bundle")
    shutil.copy(given / "model.onnx", given / "other.onnx")
    (given / "model.onnx").rename(given / "first.onnx")
    with pytest.raises(AuthoridError, match=r"several graphs \(first.onnx, other.onnx\); name one"):
        export_model(given, tmp_path / "bundle")
