"""Hostile numbers: whatever a number in the files of a small model says, scoring ends soon and in little memory."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from authorid.bundle.decision import Decision, KnownAuthorRule
from authorid.bundle.manifest import MANIFEST, NGRAMS, Bundle, Golden, WindowSpec, load_bundle
from authorid.bundle.safetensors import read_tensors
from authorid.bundle.save import write_bundle
from authorid.errors import BundleCorruptError
from authorid.ngrams.features import FeatureExtractor, View
from authorid.ngrams.model import NgramModel
from authorid.ngrams.words import word_hashes

VIEWS = (View("bytes", "byte", (4,)), View("words", "word", (1, 2), keep=1))
MODEL = NgramModel(
    extractor=FeatureExtractor(VIEWS, word_hashes("the of"), 10),
    bounds=(0, 2, 3),
    buckets=np.array([5, 9, 7], np.uint32),
    idf=np.ones(3, np.float32),
    shared=np.zeros(3, np.uint8),
    scale=np.ones(3, np.float32),
    weights=np.ones((3, 2), np.int8),
    bias=np.zeros(2, np.float32),
)
RULE = KnownAuthorRule((0.0, 0.0), (1.0, 1.0), (1.0, 1.0), (0,), 1.0, 1.0, 0.0)
GOLDEN = Golden((2, 3), {"int8": (0.0, 1.0)})
HOSTILE = (-1, 0, 1, 24, 32, 63, 255, 1 << 16, (1 << 31) - 1, 1 << 32, 10**9, 1 << 63, 10**300, 1e308, 0.5)

_MEGABYTES = 1 << 20

# Scores a short text with each of the models, in so much memory more than the libraries take; prints how long it took.
_SCORE = """
import json, resource, sys, time
from authorid.errors import AuthoridError
from authorid.scoring.scorer import Scorer
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
for model in sys.argv[2:]:
    start = time.process_time()
    try:
        [row] = Scorer.load(model, effort="fast").score_texts(["The boat of the river. " * 40])
        answer = row.status if row.error is None else f"failed: {row.error}"
    except AuthoridError as error:
        answer = type(error).__name__
    except MemoryError:
        answer = "MemoryError"
    print(json.dumps([model, answer, time.process_time() - start]), flush=True)
"""


@pytest.fixture
def model(tmp_path) -> Path:
    """A bundle with every number that a bundle with n-grams alone can have."""
    path = tmp_path / "model"
    draft = Bundle(
        path=path,
        model_type="ngrams",
        authors=("Ada", "Ben"),
        window=WindowSpec(8, 4),
        pooling="",
        decision=Decision("fusion", known_author_rule=RULE, false_attribution_thresholds=((0.1, 0.5),)),
        graphs={},
        golden=(GOLDEN,),
        ngrams=NGRAMS,
    )
    config = {"model_type": "ngrams", "id2label": {"0": "Ada", "1": "Ben"}}
    write_bundle(draft, {"config.json": json.dumps(config), NGRAMS: MODEL.to_bytes()})
    return path


def variants(record: Any) -> Iterator[Any]:
    """Copies of a JSON value with one number (or a list's length) replaced by a hostile one."""
    for path, value in _leaves(record, ()):
        hostile = HOSTILE if isinstance(value, int | float) else (value * 1000,)
        for number in hostile:
            changed = copy.deepcopy(record)
            parent = changed
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = number
            yield changed


def _leaves(record: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in items:
        if isinstance(value, int | float | list) and not isinstance(value, bool):
            yield (*path, key), value
        yield from _leaves(value, (*path, key))


def ngram_files() -> Iterator[bytes]:
    """The n-gram file with hostile numbers: in its length, header and metadata, and in the arrays."""
    whole = MODEL.to_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    for number in HOSTILE:
        if isinstance(number, int) and 0 <= number < 1 << 64:
            yield number.to_bytes(8, "little") + whole[8:]
    for changed in variants({name: item for name, item in header.items() if name != "__metadata__"}):
        yield _file({"__metadata__": header["__metadata__"], **changed}, body)
    metadata = header.pop("__metadata__")
    opened = {name: json.loads(text) for name, text in metadata.items()}
    for changed in variants(opened):
        yield _file({"__metadata__": {name: json.dumps(value) for name, value in changed.items()}, **header}, body)
    # Every row of every array set to bytes of one.
    for item in header.values():
        start, stop = item["data_offsets"]
        for at in range(start, stop, max(1, (stop - start) // 3)):
            width = (stop - start) // item["shape"][0]
            damaged = body[:at] + b"\xff" * width + body[at + width :]
            yield _file({"__metadata__": metadata, **header}, damaged[: len(body)])


def _file(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def write(root: Path, model: Path, record: dict[str, Any], files: dict[str, bytes]) -> Path:
    """A copy of `model` at `root` with another manifest and other files, their digests right."""
    root.mkdir(parents=True)
    contents = {name: (model / name).read_bytes() for name in record["files"]} | files
    for name, content in contents.items():
        (root / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (root / MANIFEST).write_text(json.dumps({**record, "files": digests}))
    return root


def score_each(models: list[Path], megabytes: int) -> dict[str, tuple[str, float]]:
    limit = str(megabytes * _MEGABYTES)
    done = subprocess.run(
        [sys.executable, "-c", _SCORE, limit, *map(str, models)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [str(model) for model in models]
    return {Path(name).name: (answer, seconds) for name, answer, seconds in rows}


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_no_number_makes_a_small_model_slow_or_large(model, tmp_path):
    record = json.loads((model / MANIFEST).read_text())
    config = json.loads((model / "config.json").read_text())
    tampered = [write(tmp_path / "whole", model, record, {})]
    for number, changed in enumerate(variants({name: record[name] for name in ("window", "decision", "golden")})):
        tampered.append(write(tmp_path / f"manifest{number}", model, record | changed, {}))
    for number, changed in enumerate({"id2label": {"0": "Ada", str(index): "Ben"}} for index in HOSTILE):
        tampered.append(
            write(tmp_path / f"config{number}", model, record, {"config.json": json.dumps(config | changed).encode()})
        )
    for number, content in enumerate(ngram_files()):
        tampered.append(write(tmp_path / f"ngrams{number}", model, record, {NGRAMS: content}))
    answers = score_each(tampered, 400)
    assert answers["whole"][0] == "scored"
    # A document for which memory does not suffice has failed too, with another reason.
    failed = "failed: the model failed on this document: its answer is not a number"
    assert {answer for answer, _ in answers.values()} <= {"scored", "unknown", "BundleCorruptError", failed}
    assert max(seconds for _, seconds in answers.values()) < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": {"length": 10**9, "stride": 10**8}}, "window length or stride is out of range"),
        ({"window": {"length": 512, "stride": 1}}, "window length or stride is out of range"),
        ({"golden": [asdict(Golden((1,) * (1 << 16) + (1,), {}))]}, "golden window is too long"),
        ({"golden": [asdict(Golden((1 << 31,), {}))]}, "has a token that is out of range"),
        ({"golden": [asdict(GOLDEN)] * 65}, "65 golden windows"),
    ],
)
def test_numbers_beyond_all_models_are_refused(model, change, message):
    record = json.loads((model / MANIFEST).read_text())
    (model / MANIFEST).write_text(json.dumps(record | change))
    with pytest.raises(BundleCorruptError, match=message):
        load_bundle(model)


def test_a_rule_counts_a_view_once(model):
    record = json.loads((model / MANIFEST).read_text())
    record["decision"]["known_author_rule"]["plain_views"] = [0] * 1_000_000
    (model / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(BundleCorruptError, match="the same view twice"):
        load_bundle(model)


@pytest.mark.parametrize("bits", [7, 25, 32, 10**9])
def test_bits_are_bounded(bits):
    with pytest.raises(ValueError, match="between 8 and 24 bits"):
        FeatureExtractor(VIEWS, word_hashes("the of"), bits)


def test_views_and_their_sizes_are_bounded():
    common = word_hashes("the of")
    with pytest.raises(ValueError, match="1 to 32 views"):
        FeatureExtractor([VIEWS[0]] * 33, common, 10)
    with pytest.raises(ValueError, match="at most 64 sizes"):
        FeatureExtractor([View("w", "word", tuple(range(1, 17)))] * 5, common, 10)


def test_authors_times_views_are_bounded():
    authors = (1 << 18) // 2 + 1
    with pytest.raises(ValueError, match="their product may be at most"):
        NgramModel(
            MODEL.extractor,
            (0, 0, 0),
            *(np.zeros(0, kind) for kind in (np.uint32, np.float32, np.uint8, np.float32)),
            np.zeros((0, authors), np.int8),
            np.zeros(authors, np.float32),
        )


@pytest.mark.parametrize("shape", [[1] * 100, [10**4000, 0], [1 << 63]])
def test_shapes_of_no_array_are_refused_at_once(shape):
    with pytest.raises(ValueError, match="no array has"):
        read_tensors(_file({"a": {"dtype": "U8", "shape": shape, "data_offsets": [0, 0]}}, b""))
