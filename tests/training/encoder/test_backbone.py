from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from checkpoints import FAMILIES, HIDDEN, POSITIONS, vocabulary, write_checkpoint

from authorid.bundle.safetensors import read_tensors
from authorid.training import BaseModelError, build_classifier, load_backbone
from authorid.training.encoder.base_model import read_base_model
from authorid.training.encoder.classifier import FAMILIES as CLASSES
from authorid.training.encoder.classifier import Geometry, build_backbone
from authorid.training.encoder.examples import inputs

pytestmark = pytest.mark.train

IDS = [np.array([2, 20, 30, 61, 70, 3], np.int32), np.array([2, 64, 3], np.int32)]


def states(backbone) -> np.ndarray:
    """Hidden states [2, 6, HIDDEN] of two short rows, the padding of the second one zeroed."""
    named = inputs(IDS, 6, segments="segment_ids" in backbone.input)
    output = backbone(named, training=False)
    output = np.asarray(output["sequence_output"] if isinstance(output, dict) else output)
    return output * named["padding_mask"][:, :, None]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", [{"prefix": False}, {"shards": 2}, {"prefix": False, "shards": 2}])
def test_every_layout_loads_the_same_encoder(tmp_path, bases, family, layout):
    other = load_backbone(str(write_checkpoint(tmp_path / "other", family, **layout)))
    assert np.array_equal(states(load_backbone(str(bases[family]))), states(other))


def test_a_bert_without_pooler_loads(tmp_path, bases):
    path = write_checkpoint(tmp_path / "bare", "bert", pooler=False)
    assert np.array_equal(states(load_backbone(str(path))), states(load_backbone(str(bases["bert"]))))


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_agree_with_transformers(bases, family):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(str(bases[family])).eval()
    named = inputs(IDS, 6, segments=False)
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(named["token_ids"], dtype=torch.long),
            attention_mask=torch.tensor(named["padding_mask"], dtype=torch.long),
        ).last_hidden_state.numpy()
    ours = states(load_backbone(str(bases[family])))
    assert np.abs(ours - theirs * named["padding_mask"][:, :, None]).max() <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_geometry_survives_json_and_rebuilds_the_model(bases, family):
    backbone = load_backbone(str(bases[family]))
    geometry = read_base_model(bases[family]).geometry
    assert geometry.family == family
    assert (geometry.hidden_dim, geometry.max_sequence_length) == (HIDDEN, POSITIONS)
    again = Geometry.from_json(json.loads(json.dumps(geometry.to_json())))
    for pooling, head in (("mean", None), ("first", "relu")):
        model = build_classifier(backbone, 3, pooling, head)
        rebuilt = build_classifier(again, 3, pooling, head)
        rebuilt.set_weights(model.get_weights())
        named = inputs(IDS, 6, segments=family == "bert")
        logits = np.asarray(model(named, training=False))
        assert logits.shape == (2, 3)
        assert logits.dtype == np.float32
        assert np.array_equal(logits, np.asarray(rebuilt(named, training=False)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("funnel", [False, True])
def test_padding_does_not_change_logits(bases, family, pooling, funnel):
    model = build_classifier(load_backbone(str(bases[family])), 3, pooling, funnel=funnel)
    short, long = (
        np.asarray(model(inputs(IDS[1:], width, segments=family == "bert"), training=False)) for width in (3, 9)
    )
    assert np.abs(short - long).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_funnel_leaves_out_tokens_that_are_asked_once_more(family):
    segments = 2 if family == "bert" else 0
    backbone = build_backbone(Geometry(family, len(vocabulary()), 6, 2, HIDDEN, 64, POSITIONS, segments))
    funnel = build_classifier(backbone, 3, funnel=True)
    named = inputs(IDS[:1], 6, segments=family == "bert")
    layers = [backbone.get_layer(f"transformer_layer_{index}") for index in range(6)]
    before = type(funnel)(backbone.input, layers[1].output)(named, training=False)
    # What attention gives one token does not depend on who else asks; after that nobody sees the others.
    states = layers[2](before)[:, ::2]
    for layer in layers[3:]:
        states = layer(states)
    kernel, bias = funnel.get_layer("logits").get_weights()
    expected = np.asarray(states)[:, 0] @ kernel + bias
    assert np.asarray(funnel(named, training=False)) == pytest.approx(expected, abs=1e-5)


def test_mean_pooling_is_the_mean_over_tokens(bases):
    backbone = load_backbone(str(bases["distilbert"]))
    model = build_classifier(backbone, 3, "mean")
    hidden = states(backbone)
    kernel, bias = model.get_layer("logits").get_weights()
    lengths = np.array([[6], [3]])
    expected = hidden.sum(axis=1) / lengths @ kernel + bias
    assert np.asarray(model(inputs(IDS, 6, segments=False), training=False)) == pytest.approx(expected, abs=1e-5)


def test_a_bert_head_starts_from_the_pretrained_pooler(bases):
    backbone = load_backbone(str(bases["bert"]))
    model = build_classifier(backbone, 3, "first", "tanh")
    kernel, _ = backbone.get_layer("pooled_dense").get_weights()
    assert np.array_equal(model.get_layer("head_hidden").get_weights()[0], kernel)


def test_keys_of_keras_hub_in_config_json_change_nothing(tmp_path, bases):
    path = write_checkpoint(tmp_path / "sly", "bert")
    other = write_checkpoint(tmp_path / "other", "bert", seed=1)
    load_backbone(str(other)).save_to_preset(str(tmp_path / "preset"))
    preset = json.loads((tmp_path / "preset" / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(json.loads((path / "config.json").read_text()) | preset))
    shutil.copy(tmp_path / "preset" / "model.weights.h5", path)
    assert np.array_equal(states(load_backbone(str(path))), states(load_backbone(str(bases["bert"]))))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_weights_are_those_that_keras_hub_loads(tmp_path, family, precision):
    import keras_hub
    import ml_dtypes
    from safetensors.numpy import save_file

    path = write_checkpoint(tmp_path / "model", family)
    file = path / "model.safetensors"
    tensors = {name: np.array(tensor) for name, tensor in read_tensors(file.read_bytes())[0].items()}
    kind = np.dtype(ml_dtypes.bfloat16 if precision == "bfloat16" else precision)
    save_file({name: tensor.astype(kind) for name, tensor in tensors.items()}, file)
    theirs = getattr(keras_hub.models, CLASSES[family]).from_preset(str(path))
    ours = load_backbone(str(path))
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.array_equal(own, other)


def test_a_hub_id_without_network_says_so(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def offline(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(BaseModelError, match=r"could not be fetched.*no route to host"):
        load_backbone("hf://someone/some-model")
