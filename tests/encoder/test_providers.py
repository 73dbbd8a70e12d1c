"""Inference backends: which are available, which one is chosen, and whether it gives right logits here."""

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
from recording import RecordingReporter
from tiny import make_bundle, make_graph, make_tokenizer

from authorid import EngineOptions, Scorer
from authorid.bundle.manifest import MANIFEST
from authorid.cli.app import app
from authorid.encoder import providers, selftest
from authorid.encoder.cache import read_entry, write_entry
from authorid.encoder.engine import Engine, tuning_key
from authorid.encoder.session import GraphSession
from authorid.encoder.tuning import tune
from authorid.errors import BundleLacksError, EngineError, MissingExtraError
from authorid.inputs.documents import ReadOptions
from authorid.machine import available_cores, cpu_flags, cpu_name
from authorid.outputs import run_fingerprint
from authorid.scoring.stats import versions

OPENVINO = EngineOptions(provider="openvino")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def both(tmp_path):
    """A bundle with a graph for each provider."""
    return make_bundle(tmp_path / "both", openvino=make_graph(make_tokenizer()))


@pytest.fixture
def wrong(tmp_path):
    """A bundle whose graph for OpenVINO gives wrong logits."""
    model = onnx.load_from_string(make_graph(make_tokenizer()))
    table = model.graph.initializer[0]
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table)[:, ::-1].copy(), table.name))
    return make_bundle(tmp_path / "wrong", openvino=model.SerializeToString())


@pytest.fixture
def missing(monkeypatch):
    """A machine without OpenVINO's plug-in."""
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)


@pytest.fixture
def plugin(monkeypatch):
    """A substitute for OpenVINO's plug-in, whose device is onnxruntime's own CPU provider.

    Returns a record of the libraries that were registered and the options with which sessions were opened.
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


def test_without_the_extra_the_message_has_the_install_command(both, missing, amx):
    with pytest.raises(MissingExtraError, match=r"pip install 'authorid-toolkit\[openvino\]'"):
        Engine(both, OPENVINO)
    engine = Engine(both)
    assert (engine.provider, engine.notices) == ("cpu", [])


def test_an_unsupported_processor_is_named(both, plugin, amx):
    plugin.name = "DevicelessExecutionProvider"
    for _ in range(2):
        with pytest.raises(EngineError, match="offers no device on this processor") as caught:
            Engine(both, OPENVINO)
        assert cpu_name() in str(caught.value)
    assert plugin.registered == ["/plugin.so"]  # only once: onnxruntime refuses a second time
    engine = Engine(both)
    assert (engine.provider, engine.notices) == ("cpu", [])


def test_a_plugin_that_cannot_be_loaded_is_a_clear_error(both, plugin, amx, monkeypatch):
    def refuse(name, path):
        raise RuntimeError("libtbb.so.12: cannot open shared object file\nstack")

    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", refuse)
    with pytest.raises(EngineError, match=r"^onnxruntime cannot load OpenVINO's plug-in: libtbb.*file$"):
        Engine(both, OPENVINO)
    assert Engine(both).provider == "cpu"


def test_openvino_runs_batches_on_several_threads(both, plugin, amx):
    engine = Engine(both, EngineOptions(workers=3, threads=2, batch_tokens=512, provider="openvino"))
    assert (engine.provider, engine.workers, engine.threads, engine.batch_tokens) == ("openvino", 3, 2, 512)
    config = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": "6",
        "NUM_STREAMS": "3",
        "CPU_RUNTIME_CACHE_CAPACITY": "300",
    }
    alone = config | {"INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
    assert plugin.options == [config, alone]  # the second session is the reference: one window, one thread


def test_kernels_that_differ_on_two_threads_get_one_thread(both, plugin, amx, monkeypatch):
    opened = []
    session = onnxruntime.InferenceSession

    class Drifting:
        """Adds a small error when it has more than one thread."""

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
    assert engine.batch_tokens > 1
    assert opened == [2, 1, 1]


def test_kernels_that_differ_in_batches_get_single_windows(both, plugin, amx, monkeypatch):
    run, calls = GraphSession.run, []

    def drifting(self, ids):
        calls.append(len(ids))
        return run(self, ids) + np.float32(1e-6) * (self.provider == "openvino" and len(ids) > 2)

    monkeypatch.setattr(GraphSession, "run", drifting)
    assert Engine(both, OPENVINO).batch_tokens == 1
    assert max(calls) > 2
    calls.clear()
    assert Engine(both, OPENVINO).batch_tokens == 1  # now from the cache
    assert not calls
    assert Engine(both, EngineOptions(provider="cpu")).batch_tokens > 1
    rows = list(Scorer(both, OPENVINO).score_texts(["the engine of the loom", "river boat oar"] * 3))
    assert [row.author for row in rows] == ["Ada", "Ben"] * 3
    assert set(calls) == {1}


def test_bfloat16_is_used_only_with_amx(both, plugin, no_amx):
    Engine(both, OPENVINO)
    assert plugin.options[0]["INFERENCE_PRECISION_HINT"] == "f32"


def test_auto_means_cpu_unless_tuning_chose_another_provider(both, plugin, amx):
    assert Engine(both).provider == "cpu"
    write_entry("fastest", tuning_key(both, "int8"), {"provider": "openvino"})
    assert Engine(both).provider == "openvino"


def test_a_bundle_without_a_graph_for_openvino_is_refused_only_when_openvino_is_requested(bundle, plugin, amx):
    with pytest.raises(
        BundleLacksError, match=r"no graph for openvino in this bundle; it has int8; authorid export --openvino"
    ):
        Engine(bundle, OPENVINO)
    assert Engine(bundle).provider == "cpu"


def test_wrong_logits_are_an_error_or_with_auto_a_notice(wrong, plugin, amx):
    with pytest.raises(EngineError, match=r"OpenVINO gives wrong logits: they differ by .* try --provider cpu"):
        Engine(wrong, OPENVINO)
    write_entry("fastest", tuning_key(wrong, "int8"), {"provider": "openvino"})
    for _ in range(2):  # the message comes every time
        engine = Engine(wrong)
        assert engine.provider == "cpu"
        (notice,) = engine.notices
        assert "Refusing to score with wrong kernels" in notice
        assert notice.endswith("Using onnxruntime's own kernels instead.")
    assert [row.author for row in Scorer(wrong).score_texts(["engine"])] == ["Ada"]


def test_with_auto_a_graph_that_openvino_cannot_load_is_a_notice(both, plugin, amx, monkeypatch):
    session = onnxruntime.InferenceSession

    def picky(path, *arguments, **keywords):
        if path.endswith("openvino.onnx"):
            raise RuntimeError("no such op\nstack")
        return session(path, *arguments, **keywords)

    monkeypatch.setattr(onnxruntime, "InferenceSession", picky)
    write_entry("fastest", tuning_key(both, "int8"), {"provider": "openvino"})
    engine = Engine(both)
    assert engine.provider == "cpu"
    assert engine.notices[0].endswith("cannot load this graph: no such op. Using onnxruntime's own kernels instead.")


def test_the_self_test_runs_once_for_each_provider_and_version(both, plugin, amx, monkeypatch):
    checks = []
    check = selftest._check_golden_logits
    monkeypatch.setattr(
        selftest,
        "_check_golden_logits",
        lambda session, bundle: checks.append(session.provider) or check(session, bundle),
    )
    for _ in range(2):
        Engine(both, OPENVINO)
        Engine(both, EngineOptions(provider="cpu"))
    assert checks == ["openvino", "cpu"]
    monkeypatch.setattr(providers, "version", lambda package: "1.1")
    Engine(both, OPENVINO)
    Engine(both, EngineOptions(provider="cpu"))
    assert checks == ["openvino", "cpu", "openvino"]


def test_the_engine_uses_the_provider_that_was_fastest_when_tuned(both, plugin, no_amx):
    trials = tune(both, seconds=0.2)
    assert {trial.options.provider for trial in trials} == {"cpu", "openvino"}
    best = trials[0].options
    assert Engine(both).provider == best.provider
    for provider in ("cpu", "openvino"):
        tuned = next(trial.options for trial in trials if trial.options.provider == provider)
        engine = Engine(both, EngineOptions(provider=provider))
        assert (engine.workers, engine.threads) == (tuned.workers, tuned.threads)
        write_entry("fastest", tuning_key(both, "int8"), {"provider": provider})
        assert Engine(both).provider == provider


def test_tuning_one_provider_does_not_change_the_choice_of_provider(both, plugin, no_amx):
    trials = tune(both, provider="openvino", seconds=0.1)
    assert {trial.options.provider for trial in trials} == {"openvino"}
    assert read_entry("fastest", tuning_key(both, "int8")) is None
    assert read_entry("tuning", tuning_key(both, "int8", "openvino"))["threads"] == trials[0].options.threads


def test_tuning_reports_a_provider_that_cannot_be_measured(wrong, both, missing, plugin, monkeypatch):
    reporter = RecordingReporter()
    tune(wrong, seconds=0.1, reporter=reporter)
    without, failing = reporter.infos[:2]
    assert without.startswith("fused not measured: ") and "authorid export --quantize writes them" in without
    assert failing.startswith("openvino not measured: ") and "wrong kernels" in failing
    reporter.infos.clear()
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    tune(both, seconds=0.1, reporter=reporter)
    assert "pip install" in reporter.infos[1]
    assert read_entry("fastest", tuning_key(both, "int8")) is None
    with pytest.raises(MissingExtraError):
        tune(both, provider="openvino", seconds=0.1)


def test_a_tuned_provider_that_is_no_longer_installed_is_ignored(both, missing):
    write_entry("fastest", tuning_key(both, "int8"), {"provider": "openvino"})
    engine = Engine(both)
    assert (engine.provider, engine.notices) == ("cpu", [])


def test_the_provider_is_part_of_the_fingerprint_of_a_run(both, plugin, no_amx):
    def settings(provider):
        scorer = Scorer(both, EngineOptions(provider=provider))
        about = scorer.describe()
        return run_fingerprint(
            ["letters"],
            ReadOptions(),
            manifest=both.path / MANIFEST,
            scorer=about,
            versions=versions(),
            output={"format": "csv"},
        )

    one, other = settings("cpu"), settings("openvino")
    assert one | {"provider": "openvino"} == other


def test_statistics_name_the_provider_and_the_digest_of_the_graph(both, plugin, no_amx):
    about = Scorer(both, OPENVINO).describe()
    assert about["provider"] == "openvino"
    assert about["model_sha256"] == both.files["openvino.onnx"] == both.sha256("int8", "openvino")
    assert Scorer(both).describe()["model_sha256"] == both.files["model_int8.onnx"]


def test_the_commands_say_what_to_install(both, missing, tmp_path):
    (tmp_path / "a.txt").write_text("the engine of the loom")
    arguments = ["--model", str(both.path), "--provider", "openvino"]
    for command in (["score", str(tmp_path / "a.txt"), "--out", "-", *arguments], ["tune", *arguments]):
        failed = CliRunner().invoke(app, command)
        assert "pip install 'authorid-toolkit[openvino]'" in str(failed.exception)


def test_a_missing_provider_is_an_error_even_when_no_encoder_is_needed(both, missing, monkeypatch):
    monkeypatch.setattr("authorid.scoring.scorer.Engine", None)
    with pytest.raises(MissingExtraError):
        Scorer(dataclasses.replace(both, graphs={}), OPENVINO)


def test_an_unknown_provider_is_refused():
    with pytest.raises(ValueError, match="unknown provider 'gpu'; choose one of: auto, cpu, fused, openvino"):
        EngineOptions(provider="gpu")


def test_the_real_plugin_opens_a_session_or_explains_why_not(both):
    """With the extra installed, the engine works on an Intel processor, and gives a clear message elsewhere."""
    pytest.importorskip("onnxruntime_ep_openvino", reason="not installed: onnxruntime-ep-openvino")
    try:
        engine = Engine(both, OPENVINO)
    except EngineError as error:
        assert "offers no device on this processor" in str(error)
        assert Engine(both).provider == "cpu"
    else:
        assert (engine.provider, engine.workers) == ("openvino", available_cores())


def test_cpu_flags_are_a_set_of_words():
    flags = cpu_flags()
    assert isinstance(flags, frozenset)
    assert not flags or all(flag == flag.strip() and flag for flag in flags)
