"""Who runs the graph: what is installed, what runs here, what is right here."""

from __future__ import annotations

import dataclasses
import json
import sys
import types

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from tiny import make_bundle, make_graph, make_tokenizer

from authorid import EngineOptions, Scorer
from authorid.cli.app import app
from authorid.encoder import providers
from authorid.encoder.cache import recall, remember
from authorid.encoder.engine import Engine, tuning_key
from authorid.encoder.tuning import tune
from authorid.errors import BundleLacksError, EngineError, MissingExtraError
from authorid.inputs.documents import ReadOptions
from authorid.machine import available_cores, cpu_flags, cpu_name
from authorid.outputs import run_settings

OPENVINO = EngineOptions(provider="openvino")


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def both(tmp_path):
    """A bundle with a graph for each provider."""
    return make_bundle(tmp_path / "both", openvino=make_graph(make_tokenizer()))


@pytest.fixture
def wrong(tmp_path):
    """A bundle whose second graph answers as if OpenVINO's kernels were broken."""
    model = onnx.load_from_string(make_graph(make_tokenizer()))
    table = model.graph.initializer[0]
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table)[:, ::-1].copy(), table.name))
    return make_bundle(tmp_path / "wrong", openvino=model.SerializeToString())


@pytest.fixture
def missing(monkeypatch):
    """A machine without the plug-in."""
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)


@pytest.fixture
def plugin(monkeypatch):
    """A plug-in whose device is onnxruntime's own CPU provider, so that all but the kernels is as with OpenVINO's.

    Gives a record: what was registered, and with which options sessions were opened.
    """
    record = types.SimpleNamespace(name="CPUExecutionProvider", registered=[], options=[])
    module = types.ModuleType("onnxruntime_ep_openvino")
    module.get_library_path = lambda: "/plugin.so"
    module.get_ep_name = lambda: record.name
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(providers, "version", lambda package: "1.0")

    class Options(onnxruntime.SessionOptions):
        def add_provider_for_devices(self, devices, options):
            assert len(devices) == 1
            record.options.append(json.loads(options["load_config"])["CPU"])

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    monkeypatch.setattr(
        onnxruntime, "register_execution_provider_library", lambda name, path: record.registered.append(path)
    )
    return record


@pytest.fixture
def amx(monkeypatch):
    monkeypatch.setattr(providers, "cpu_flags", lambda: frozenset(("amx_tile", "amx_int8", "amx_bf16", "avx2")))


@pytest.fixture
def no_amx(monkeypatch):
    monkeypatch.setattr(providers, "cpu_flags", lambda: frozenset(("avx2",)))


def test_without_the_extra_the_message_has_the_line_to_install_it(both, missing, amx):
    with pytest.raises(MissingExtraError, match=r"pip install 'authorid-toolkit\[openvino\]'"):
        Engine(both, OPENVINO)
    engine = Engine(both)
    assert (engine.provider, engine.notices) == ("cpu", [])


def test_a_processor_that_the_plugin_leaves_alone_is_named(both, plugin, amx):
    plugin.name = "DevicelessExecutionProvider"
    for _ in range(2):
        with pytest.raises(EngineError, match="offers no device on this processor") as caught:
            Engine(both, OPENVINO)
        assert cpu_name() in str(caught.value)
    assert plugin.registered == ["/plugin.so"]  # onnxruntime refuses a second time
    engine = Engine(both)
    assert (engine.provider, engine.notices) == ("cpu", [])


def test_a_plugin_that_cannot_be_loaded_is_a_clear_error(both, plugin, amx, monkeypatch):
    def refuse(name, path):
        raise RuntimeError("libtbb.so.12: cannot open shared object file\nstack")

    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", refuse)
    with pytest.raises(EngineError, match=r"^onnxruntime cannot load OpenVINO's plug-in: libtbb.*file$"):
        Engine(both, OPENVINO)
    assert Engine(both).provider == "cpu"


def test_openvino_gets_batches_and_threads(both, plugin, amx):
    engine = Engine(both, EngineOptions(workers=3, threads=2, budget=512, provider="openvino"))
    assert (engine.provider, engine.workers, engine.threads, engine.budget) == ("openvino", 3, 2, 512)
    config = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": "6",
        "NUM_STREAMS": "3",
        "CPU_RUNTIME_CACHE_CAPACITY": "300",
    }
    alone = config | {"INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
    assert plugin.options == [config, alone]  # what one thread says is what all must say


def test_kernels_that_answer_otherwise_on_two_threads_get_one(both, plugin, amx, monkeypatch):
    opened = []
    session = onnxruntime.InferenceSession

    class Drifting:
        """Answers a little otherwise where it was given more than one thread."""

        def __init__(self, path, options, **keywords):
            self._session = session(path, options, **keywords)
            self._drift = np.float32(1e-6) * (options.intra_op_num_threads > 1)
            opened.append(options.intra_op_num_threads)

        def __getattr__(self, name):
            return getattr(self._session, name)

        def run(self, *arguments):
            return [self._session.run(*arguments)[0] + self._drift]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Drifting)
    engine = Engine(both, EngineOptions(workers=1, threads=2, provider="openvino"))
    assert (engine.workers, engine.threads) == (1, 1)
    assert engine.budget > 1
    assert opened == [2, 1, 1]


def test_kernels_that_answer_otherwise_in_batches_get_single_windows(both, plugin, amx, monkeypatch):
    run, calls = Engine.run, []

    def drifting(self, ids):
        calls.append(len(ids))
        return run(self, ids) + np.float32(1e-6) * (self.provider == "openvino" and len(ids) > 2)

    monkeypatch.setattr(Engine, "run", drifting)
    assert Engine(both, OPENVINO).budget == 1
    assert max(calls) > 2
    calls.clear()
    assert Engine(both, OPENVINO).budget == 1  # known from now on
    assert not calls
    assert Engine(both, EngineOptions(provider="cpu")).budget > 1
    rows = list(Scorer(both, OPENVINO).score_texts(["the engine of the loom", "river boat oar"] * 3))
    assert [row.author for row in rows] == ["Ada", "Ben"] * 3
    assert set(calls) == {1}


def test_bfloat16_only_where_there_is_amx(both, plugin, no_amx):
    Engine(both, OPENVINO)
    assert plugin.options[0]["INFERENCE_PRECISION_HINT"] == "f32"


def test_auto_is_onnxruntimes_own_where_nothing_was_tuned(both, plugin, amx):
    assert Engine(both).provider == "cpu"
    remember("fastest", tuning_key(both, "int8"), {"provider": "openvino"})
    assert Engine(both).provider == "openvino"


def test_a_bundle_without_a_graph_for_openvino(bundle, plugin, amx):
    with pytest.raises(
        BundleLacksError, match=r"no graph for openvino in this bundle; it has int8; authorid export --openvino"
    ):
        Engine(bundle, OPENVINO)
    assert Engine(bundle).provider == "cpu"


def test_wrong_kernels_are_refused_loudly(wrong, plugin, amx):
    with pytest.raises(EngineError, match=r"OpenVINO gives logits that are off by .* Try --provider cpu"):
        Engine(wrong, OPENVINO)
    remember("fastest", tuning_key(wrong, "int8"), {"provider": "openvino"})
    for _ in range(2):  # every time
        engine = Engine(wrong)
        assert engine.provider == "cpu"
        (notice,) = engine.notices
        assert "refusing to score with wrong kernels" in notice
        assert notice.endswith("Using onnxruntime's own kernels instead.")
    assert [row.author for row in Scorer(wrong).score_texts(["engine"])] == ["Ada"]


def test_a_graph_that_openvino_refuses_is_a_notice_too(both, plugin, amx, monkeypatch):
    session = onnxruntime.InferenceSession

    def picky(path, *arguments, **keywords):
        if path.endswith("openvino.onnx"):
            raise RuntimeError("no such op\nstack")
        return session(path, *arguments, **keywords)

    monkeypatch.setattr(onnxruntime, "InferenceSession", picky)
    remember("fastest", tuning_key(both, "int8"), {"provider": "openvino"})
    engine = Engine(both)
    assert engine.provider == "cpu"
    assert engine.notices[0].endswith("cannot load this graph: no such op. Using onnxruntime's own kernels instead.")


def test_the_self_test_runs_once_for_each_provider_and_version(both, plugin, amx, monkeypatch):
    checks = []
    check = Engine._check_golden
    monkeypatch.setattr(
        Engine, "_check_golden", lambda self, bundle: checks.append(self.provider) or check(self, bundle)
    )
    for _ in range(2):
        Engine(both, OPENVINO)
        Engine(both, EngineOptions(provider="cpu"))
    assert checks == ["openvino", "cpu"]
    monkeypatch.setattr(providers, "version", lambda package: "1.1")
    Engine(both, OPENVINO)
    Engine(both, EngineOptions(provider="cpu"))
    assert checks == ["openvino", "cpu", "openvino"]


def test_score_uses_the_provider_that_was_fastest_when_tuned(both, plugin, no_amx):
    trials = tune(both, seconds=0.2)
    assert {trial.options.provider for trial in trials} == {"cpu", "openvino"}
    best = trials[0].options
    assert Engine(both).provider == best.provider
    for provider in ("cpu", "openvino"):
        tuned = next(trial.options for trial in trials if trial.options.provider == provider)
        engine = Engine(both, EngineOptions(provider=provider))
        assert (engine.workers, engine.threads) == (tuned.workers, tuned.threads)
        remember("fastest", tuning_key(both, "int8"), {"provider": provider})
        assert Engine(both).provider == provider


def test_tuning_one_provider_leaves_the_choice_of_provider_alone(both, plugin, no_amx):
    trials = tune(both, provider="openvino", seconds=0.1)
    assert {trial.options.provider for trial in trials} == {"openvino"}
    assert recall("fastest", tuning_key(both, "int8")) is None
    assert recall("tuning", tuning_key(both, "int8", "openvino"))["threads"] == trials[0].options.threads


def test_tuning_says_what_it_could_not_measure(wrong, both, missing, plugin, monkeypatch):
    told = []
    tune(wrong, seconds=0.1, told=told.append)
    assert told[0].startswith("openvino not measured: ") and "wrong kernels" in told[0]
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    tune(both, seconds=0.1, told=told.append)
    assert "pip install" in told[2]
    assert recall("fastest", tuning_key(both, "int8")) is None
    with pytest.raises(MissingExtraError):
        tune(both, provider="openvino", seconds=0.1)


def test_a_note_of_a_provider_that_is_gone_is_passed_over(both, missing):
    remember("fastest", tuning_key(both, "int8"), {"provider": "openvino"})
    engine = Engine(both)
    assert (engine.provider, engine.notices) == ("cpu", [])


def test_results_of_another_provider_are_no_continuation(both, plugin, no_amx):
    def settings(provider):
        scorer = Scorer(both, EngineOptions(provider=provider))
        return run_settings(scorer, ["letters"], ReadOptions(), form="csv", top=5, evidence=False)

    one, other = settings("cpu"), settings("openvino")
    assert one | {"provider": "openvino"} == other


def test_statistics_say_which_provider_and_which_graph_ran(both, plugin, no_amx):
    about = Scorer(both, OPENVINO).describe()
    assert about["provider"] == "openvino"
    assert about["model_sha256"] == both.files["openvino.onnx"] == both.sha256("int8", "openvino")
    assert Scorer(both).describe()["model_sha256"] == both.files["model_int8.onnx"]


def test_the_command_says_what_to_install(both, missing, tmp_path):
    (tmp_path / "a.txt").write_text("the engine of the loom")
    arguments = ["--model", str(both.path), "--provider", "openvino"]
    for command in (["score", str(tmp_path / "a.txt"), "--out", "-", *arguments], ["tune", *arguments]):
        failed = CliRunner().invoke(app, command)
        assert "pip install 'authorid-toolkit[openvino]'" in str(failed.exception)


def test_a_provider_that_is_not_there_is_told_even_where_ngrams_answer_alone(both, missing, monkeypatch):
    monkeypatch.setattr("authorid.scoring.scorer.Engine", None)
    with pytest.raises(MissingExtraError):
        Scorer(dataclasses.replace(both, graphs={}), OPENVINO)


def test_an_unknown_provider_is_refused():
    with pytest.raises(ValueError, match="unknown provider 'gpu'; there are: auto, cpu, openvino"):
        EngineOptions(provider="gpu")


def test_the_real_plugin_opens_a_session_or_says_why_not(both):
    """With the extra installed: scoring where the processor is Intel's, a clear message elsewhere."""
    pytest.importorskip("onnxruntime_ep_openvino", reason="not installed: onnxruntime-ep-openvino")
    try:
        engine = Engine(both, OPENVINO)
    except EngineError as error:
        assert "offers no device on this processor" in str(error)
        assert Engine(both).provider == "cpu"
    else:
        assert (engine.provider, engine.workers) == ("openvino", available_cores())


def test_flags_are_those_of_the_processor():
    flags = cpu_flags()
    assert isinstance(flags, frozenset)
    assert not flags or all(flag == flag.strip() and flag for flag in flags)
