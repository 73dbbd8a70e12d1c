"""What peers do with the libraries they are made of; the libraries themselves are stand-ins."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def part(monkeypatch):
    """Import a module of bench/, which is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "bench", raising=False)
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.fixture
def prepared(part, bundle, tmp_path):
    """A prepared model of which there is only what has to be read before the graph."""
    (tmp_path / "hf").mkdir()
    shutil.copyfile(bundle.path / "tokenizer.json", tmp_path / "hf" / "tokenizer.json")
    return part("peer").Prepared(tmp_path)


@pytest.fixture
def openvino(monkeypatch):
    """A stand-in for OpenVINO that keeps the hints it was given."""
    given: list[dict] = []

    class Core:
        def compile_model(self, path, device, hints):
            given.append(hints)
            return SimpleNamespace(create_infer_request=object, inputs=[])

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    return given


def test_a_peer_reads_its_tokenizer_once_when_it_loads(part, prepared, openvino):
    peer = part("peers.openvino.worker").make()
    peer.load(prepared, {"precision": "f32"}, 1, 1)
    (prepared.huggingface / "tokenizer.json").unlink()
    short, long = peer.tokenize(["the loom", "the loom " * 1000])
    assert 0 < len(short) < 10
    assert len(long) == 512
