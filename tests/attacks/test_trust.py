"""An untrusted bundle cannot run code or read other files, and scoring never uses the network."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from command import command, environment, run
from hypothesis import given
from hypothesis import strategies as st
from json_records import list_file, write_record
from onnx import TensorProto, helper, numpy_helper
from tiny import AUTHORS, make_bundle, make_graph, make_tokenizer, prose

from authorid import Scorer
from authorid.bundle.manifest import load_bundle
from authorid.bundle.onnx_scan import external_files
from authorid.errors import AuthoridError, BundleCorruptError


def outside(location, *, inside_subgraph=False, in_attribute=False):
    """The tiny graph with one tensor that is stored in the file `location`."""
    model = onnx.load_from_string(make_graph(make_tokenizer()))
    tensor = TensorProto(name="stolen", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    if in_attribute:
        model.graph.node.append(helper.make_node("Constant", [], ["stolen"], value=tensor))
    elif inside_subgraph:
        body = helper.make_graph([helper.make_node("Identity", ["stolen"], ["out"])], "body", [], [], [tensor])
        body.output.append(helper.make_tensor_value_info("out", TensorProto.FLOAT, [1]))
        condition = numpy_helper.from_array(np.array(True), "condition")
        model.graph.initializer.append(condition)
        model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=body, else_branch=body))
    else:
        model.graph.initializer.append(tensor)
    return model.SerializeToString()


@pytest.mark.promise("no-outside-files")
@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "sub/../../secret", "weights.bin", ""])
@pytest.mark.parametrize("where", [{}, {"inside_subgraph": True}, {"in_attribute": True}])
def test_a_graph_that_points_outside_its_bundle_is_refused(tmp_path, location, where):
    with pytest.raises(BundleCorruptError, match="refers to a file outside its bundle"):
        make_bundle(tmp_path / "b", graph=outside(location, **where))


def test_a_location_that_is_not_utf8_is_refused(tmp_path):
    """We would check another name than the one that onnxruntime opens."""
    decoy = outside("config.jsonX").replace(b"config.jsonX", b"config.json\xff")
    assert decoy != outside("config.jsonX")
    with pytest.raises(BundleCorruptError, match="damaged"):
        make_bundle(tmp_path / "b", graph=decoy)


def test_tensors_in_a_file_of_the_bundle_are_found_and_allowed(tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(outside("config.json"))
    assert list(external_files(path)) == ["config.json"]
    assert make_bundle(tmp_path / "b", graph=outside("config.json")).graphs


@pytest.mark.promise("no-code")
def test_compiled_blobs_are_refused(tmp_path):
    model = onnx.load_from_string(make_graph(make_tokenizer()))
    node = helper.make_node("EPContext", [], [], domain="com.microsoft", ep_cache_context="/tmp/evil.so", embed_mode=0)
    model.graph.node.append(node)
    with pytest.raises(BundleCorruptError, match="compiled blob"):
        make_bundle(tmp_path / "b", graph=model.SerializeToString())


def varint(number):
    digits = b""
    while number >= 0x80:
        digits += bytes([number & 0x7F | 0x80])
        number >>= 7
    return digits + bytes([number])


@pytest.mark.promise("no-outside-files")
def test_a_tag_that_is_another_field_for_protobuf_is_refused(tmp_path):
    """protobuf ignores the bits of a tag beyond 32; onnxruntime would then read the file that the tensor names."""
    tensor = TensorProto(name="stolen", data_type=TensorProto.UINT8, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    pair = tensor.external_data[0].SerializeToString()
    plain = varint(13 << 3 | 2) + varint(len(pair)) + pair
    hidden = tensor.SerializeToString().replace(plain, varint(1 << 32 | 13 << 3 | 2) + plain[1:])
    assert hidden != tensor.SerializeToString()
    assert TensorProto.FromString(tensor.SerializeToString()).external_data
    graph = b"\x2a" + varint(len(hidden)) + hidden
    (tmp_path / "g.onnx").write_bytes(b"\x3a" + varint(len(graph)) + graph)
    with pytest.raises(BundleCorruptError, match="damaged"):
        list(external_files(tmp_path / "g.onnx"))


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_graph_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("graph") / "g.onnx"
    path.write_bytes(data)
    with contextlib.suppress(BundleCorruptError):
        assert all(isinstance(name, str) for name in external_files(path))


def test_a_graph_that_is_nested_too_deeply_is_refused(tmp_path):
    def message(field, body):
        size, length = len(body), b""
        while size >= 0x80:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        return bytes([field << 3 | 2]) + length + bytes([size]) + body

    body = b""
    for _ in range(5000):
        body = message(1, message(5, message(6, body)))  # a node's attribute holds a graph
    (tmp_path / "g.onnx").write_bytes(message(7, body))
    with pytest.raises(BundleCorruptError, match="damaged"):
        list(external_files(tmp_path / "g.onnx"))


class Bomb:
    def __reduce__(self):
        return (sys.exit, (99,))


@pytest.mark.promise("no-code")
@pytest.mark.parametrize("name", ["weights.pkl", "model.pt", "MODEL.PTH", "hook.py", "op.so", "model.keras"])
def test_files_that_can_carry_code_are_refused(tmp_path, name):
    bundle = make_bundle(tmp_path / "b")
    (bundle.path / name).write_bytes(pickle.dumps(Bomb()))
    list_file(bundle.path / "authorid.json", name)
    with pytest.raises(BundleCorruptError, match="can carry code"):
        load_bundle(bundle.path)


@pytest.mark.promise("no-code")
def test_unlisted_pickles_in_a_bundle_are_never_opened(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    for name in ("tokenizer.pkl", "model.onnx.pkl", "__init__.py"):
        (bundle.path / name).write_bytes(pickle.dumps(Bomb()))
    (row,) = Scorer.load(bundle.path).score_texts(["the river"])
    assert row.author == "Ben"


@pytest.mark.promise("no-outside-files")
def test_a_manifest_that_is_a_link_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    (bundle.path / "authorid.json").rename(tmp_path / "elsewhere")
    (bundle.path / "authorid.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleCorruptError, match="is a link"):
        load_bundle(bundle.path)


NUMBERS = [float("nan"), float("inf"), -1, 0, 1e-320, 10**30, 10**400, True]
HOSTILE = [*NUMBERS, None, "", "x", "n" * 300, [], {}, "../../etc/passwd", "\ud800"]


def paths_in(record, path=()):
    """The path of every value in a JSON record, as a tuple of keys."""
    yield path
    for key in record if isinstance(record, dict) else range(len(record)) if isinstance(record, list) else ():
        yield from paths_in(record[key], (*path, key))


@pytest.mark.promise("hostile-manifest")
@pytest.mark.parametrize("name", ["authorid.json", "config.json"])
def test_a_hostile_value_anywhere_in_the_json_is_refused_or_harmless(tmp_path, name):
    root = make_bundle(tmp_path / "b").path
    record = json.loads((root / name).read_text())
    for path in paths_in(record):
        for value in HOSTILE:
            changed = holder = {"": json.loads(json.dumps(record))}
            for key in ("", *path)[:-1]:
                holder = holder[key]
            holder[("", *path)[-1]] = value
            write_record(root / name, changed[""])
            if name != "authorid.json":
                list_file(root / "authorid.json", name)
            with contextlib.suppress(AuthoridError):
                scorer = Scorer.load(root)
                json.dumps(scorer.describe(), allow_nan=False)
                for row in scorer.score_texts(["the river and the boat"]):
                    assert row.status == "failed" or 0 <= row.probability <= 1, (path, value)


@pytest.mark.promise("hostile-manifest")
@pytest.mark.parametrize("name", ["authorid.json", "config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "", "null", "\xff", '{"format":' + "1" * 5000 + "}"]
)
def test_invalid_or_deeply_nested_json_is_refused(tmp_path, name, text):
    root = make_bundle(tmp_path / "b").path
    data = text.encode("latin-1")
    (root / name).write_bytes(data)
    if name != "authorid.json":
        list_file(root / "authorid.json", name)
    with pytest.raises(BundleCorruptError):
        Scorer.load(root)


def test_a_tokenizer_that_makes_the_tokenizers_library_panic_is_refused(tmp_path):
    root = make_bundle(tmp_path / "b").path
    tokenizer = json.loads((root / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AQ=="}
    data = json.dumps(tokenizer).encode()
    (root / "tokenizer.json").write_bytes(data)
    list_file(root / "authorid.json", "tokenizer.json")
    with pytest.raises(BundleCorruptError, match="tokenizer"):
        Scorer.load(root)


@pytest.mark.promise("digests")
@pytest.mark.parametrize("position", range(0, 1000, 50))
@pytest.mark.parametrize("name", ["model_int8.onnx", "tokenizer.json", "config.json"])
def test_one_changed_byte_is_detected(bundle, tmp_path, name, position):
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    content = bytearray((copy / name).read_bytes())
    content[position % len(content)] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(AuthoridError, match="SHA-256"):
        load_bundle(copy)


@pytest.mark.promise("no-code")
def test_an_ort_file_instead_of_an_onnx_graph_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    text = (bundle.path / "authorid.json").read_text().replace("model_int8.onnx", "model_int8.ort")
    (bundle.path / "model_int8.onnx").rename(bundle.path / "model_int8.ort")
    write_record(bundle.path / "authorid.json", json.loads(text))
    assert json.loads(text)["graphs"] == {"int8": "model_int8.ort"}
    with pytest.raises(BundleCorruptError, match=r"must be an \.onnx file"):
        load_bundle(bundle.path)


@pytest.mark.promise("no-network")
def test_scoring_works_with_sockets_forbidden(bundle, tmp_path):
    for number in range(9):
        path = tmp_path / "docs" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(prose(AUTHORS[number % 3], 40, number))
    forbid = (
        "import sys\n"
        "def watch(event, arguments):\n"
        "    if event.startswith(('socket.', 'urllib.', 'http.', 'ftplib.', 'smtplib.', 'pickle.')):\n"
        "        print('FORBIDDEN', event, file=sys.stderr); sys.stderr.flush()\n"
        "        import os; os._exit(77)\n"
        "sys.addaudithook(watch)\n"
    )
    assert run(prelude=forbid + "import socket; socket.socket()").returncode == 77
    done = run(
        *("score", tmp_path / "docs", "--model", bundle.path, "--out", tmp_path / "out.csv"),
        prelude=forbid,
        env=environment(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 10


@pytest.mark.promise("no-network")
@pytest.mark.parametrize("first", ["", "import onnxruntime"])
def test_onnxruntime_keeps_no_device_id_and_reports_nothing(bundle, tmp_path, first):
    """Its telemetry is native code, unseen by audit hooks. It starts with files in the user's cache directory."""
    (tmp_path / "a.txt").write_text(prose("Ada", 40))
    home = {**environment(tmp_path), "HOME": str(tmp_path / "home")}
    home.pop("ORT_DISABLE_TELEMETRY", None)
    see = "import authorid, os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n" + first
    done = run("score", tmp_path / "a.txt", "--model", bundle.path, "--out", "-", prelude=see, env=home)
    assert done.returncode == 0, done.stderr
    left = [path.name for directory in ("cache", "home") for path in (tmp_path / directory).glob("*")]
    assert not [name for name in left if name != "authorid"]


@pytest.mark.promise("no-network")
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_system_call_of_the_network_is_made(bundle, tmp_path):
    (tmp_path / "a.txt").write_text(prose("Ada", 40))
    log = tmp_path / "calls"
    traced = command("score", tmp_path / "a.txt", "--model", bundle.path, "--out", "-")
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=%network", "-o", log, *traced],
        capture_output=True,
        timeout=120,
        env=environment(tmp_path),
    )
    if done.returncode != 0 and b"ptrace" in done.stderr:
        pytest.skip("may not trace here")
    assert done.returncode == 0
    calls = log.read_text()
    assert "socket(" not in calls
    assert "connect(" not in calls
