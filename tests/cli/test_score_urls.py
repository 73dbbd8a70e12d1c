"""``authorid score`` with URLs, against moto's S3 on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import command, environment, run
from remote import client_environment, moto_server, needs_moto, needs_stores, stores_at

pytestmark = [
    needs_stores,
    needs_moto,
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

Score = Callable[..., tuple[int, str, str]]
TEXTS = {
    "ada.txt": "the engine and the loom of a number",
    "b/ben.txt": "the river and the boat",
    "b.txt": "an oar to the boat",
    "c/cyd.txt": "profit of the market",
    "empty.txt": "",
    "t.jsonl": '{"text": "the market and a share"}\n{"text": "the river"}\n{"text": ""}\n',
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as url, stores_at(url):
        yield url


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, and a state directory for this test."""
    monkeypatch.setenv("AUTHORID_STATE", str(tmp_path / "state"))
    return Bucket(endpoint, f"test-{os.urandom(4).hex()}")


class Bucket:
    """A bucket, reached without the code that is tested."""

    def __init__(self, endpoint: str, name: str) -> None:
        import boto3

        self.name = name
        self.url = f"s3://{name}"
        self.client: Any = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def names(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


def fill(bucket: Bucket, directory: Path, texts: dict[str, str] = TEXTS) -> None:
    """The same files in the bucket, below ``in/``, and in the directory."""
    for name, text in texts.items():
        bucket.put(f"in/{name}", text.encode())
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_bucket_gives_the_bytes_of_a_directory(score: Score, bucket: Bucket, tmp_path, form):
    local = tmp_path / "in"
    fill(bucket, local)
    assert score(local, "--out", tmp_path / f"local.{form}")[0] == 3
    assert (
        score(f"{bucket.url}/in", "--out", f"{bucket.url}/results/out.{form}", "--stats", tmp_path / "s.json")[0] == 3
    )
    wanted = (tmp_path / f"local.{form}").read_bytes().replace(str(local).encode(), f"{bucket.url}/in".encode())
    assert bucket.get(f"results/out.{form}") == wanted
    assert not [path for path in (tmp_path / "state").rglob("results*")]


def test_parquet_goes_out_and_comes_in(score: Score, bucket: Bucket, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    fill(bucket, tmp_path / "in")
    assert score(f"{bucket.url}/in", "--out", f"{bucket.url}/in/out.parquet")[0] == 3
    (tmp_path / "out.parquet").write_bytes(bucket.get("in/out.parquet"))
    paths = parquet.read_table(tmp_path / "out.parquet").column("path").to_pylist()
    assert paths[:2] == [f"{bucket.url}/in/ada.txt", f"{bucket.url}/in/b/ben.txt"]
    assert not any("out.parquet" in path for path in paths)
    # The results of the run are no input of the next one either.
    assert score(f"{bucket.url}/in", "--out", f"{bucket.url}/in/out.parquet", "--force")[0] == 3
    (tmp_path / "again.parquet").write_bytes(bucket.get("in/out.parquet"))
    assert parquet.read_table(tmp_path / "again.parquet").column("path").to_pylist() == paths


def test_what_is_at_the_url_is_replaced_only_by_force(score: Score, bucket: Bucket):
    bucket.put("in/a.txt", b"the river and the boat")
    out = f"{bucket.url}/out.csv"
    assert score(f"{bucket.url}/in/a.txt", "--out", out)[0] == 0
    first = bucket.get("out.csv")
    code, _, message = score(f"{bucket.url}/in/a.txt", "--out", out)
    assert (code, "already exists; pass --force" in message) == (1, True)
    code, _, message = score(f"{bucket.url}/in/a.txt", "--out", out, "--resume")
    assert (code, "is complete" in message) == (0, True)
    bucket.put("in/a.txt", b"the market")
    assert score(f"{bucket.url}/in/a.txt", "--out", out, "--force")[0] == 0
    assert bucket.get("out.csv") != first


def test_an_upload_that_fails_is_made_up_by_resume(score: Score, bucket: Bucket, monkeypatch, tmp_path):
    from authorid.inputs.stores.retries import StoreError
    from authorid.inputs.stores.s3_store import S3Store

    bucket.put("in/a.txt", b"the river and the boat")
    arguments = (f"{bucket.url}/in/", "--out", f"{bucket.url}/out.csv")

    def fail(*_: object, **__: object) -> None:
        raise StoreError("the server answered HTTP 403, access denied", transient=False)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "upload", fail)
        code, _, message = score(*arguments)
    assert code == 1
    assert "cannot write there: the server answered HTTP 403" in message
    assert "the same command with --resume uploads them" in message
    assert score(*arguments)[0] == 1  # they are not lost by a run that starts over without being told to
    assert "in/a.txt" in bucket.names()
    assert "out.csv" not in bucket.names()
    assert score(*arguments, "--resume")[0] == 0
    assert b"scored" in bucket.get("out.csv")


def test_results_that_appear_meanwhile_are_not_replaced(score: Score, bucket: Bucket, monkeypatch):
    """Two machines have no lock in common."""
    from authorid.outputs.file_output import FileOutput

    bucket.put("in/a.txt", b"the river and the boat")
    finish = FileOutput.finish

    def finish_late(output: FileOutput) -> None:
        finish(output)
        bucket.put("out.csv", b"from another machine")

    monkeypatch.setattr(FileOutput, "finish", finish_late)
    code, _, message = score(f"{bucket.url}/in/", "--out", f"{bucket.url}/out.csv")
    assert code == 1
    assert "has appeared since this run began" in message
    assert bucket.get("out.csv") == b"from another machine"


def test_large_results_are_uploaded_in_parts(score: Score, bucket: Bucket, monkeypatch):
    from authorid.inputs.stores import s3_store

    monkeypatch.setattr(s3_store, "_UPLOAD_PART", 5 << 20)  # the least that S3 takes
    text = "x" * 500_000
    for number in range(2):
        bucket.put(f"in/{number}.txt", b"the river")
    target = s3_store.S3Store.upload
    sizes: list[int] = []

    def upload(store: s3_store.S3Store, source: Path, url: str, *, replace: bool) -> None:
        source.write_bytes(text.encode() * 24)
        sizes.append(source.stat().st_size)
        target(store, source, url, replace=replace)

    monkeypatch.setattr(s3_store.S3Store, "upload", upload)
    assert score(f"{bucket.url}/in/", "--out", f"{bucket.url}/out.csv")[0] == 0
    assert sizes == [12_000_000]
    assert bucket.get("out.csv") == text.encode() * 24
    assert "-3" in bucket.client.head_object(Bucket=bucket.name, Key="out.csv")["ETag"]
    assert not bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")


def test_killed_and_resumed_the_bytes_are_the_same_and_nothing_is_read_twice(
    bucket: Bucket, endpoint, bundle, tmp_path
):
    texts = {f"{number:03}.txt": f"the river and boat {number}" for number in range(60)}
    fill(bucket, tmp_path / "in", texts)
    env = {**environment(tmp_path), **client_environment(endpoint), "AUTHORID_STATE": str(tmp_path / "state")}
    whole = run("score", tmp_path / "in", "--model", bundle.path, "--out", tmp_path / "local.csv", env=env)
    assert whole.returncode == 0, whole.stderr
    arguments = ["score", f"{bucket.url}/in/", "--model", bundle.path, "--out", f"{bucket.url}/out.csv"]
    slow = """
import time
from authorid.inputs.stores.store import Store
finish = Store.finish_read
def finish_read(store, started):
    time.sleep(0.03)
    return finish(store, started)
Store.finish_read = finish_read
"""
    with subprocess.Popen(command(*arguments, prelude=slow), env=env, stderr=subprocess.PIPE) as killed:
        journal = next(_wait_for(tmp_path / "state", "results.journal"))
        while journal.read_bytes().count(b"\n") < 10:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
    assert "out.csv" not in bucket.names()
    counted = """
import atexit, sys
from authorid.inputs.stores.store import Store
start, reads = Store.start_read, []
def start_read(store, *arguments):
    reads.append(arguments)
    return start(store, *arguments)
Store.start_read = start_read
atexit.register(lambda: sys.stderr.write(f"{len(reads)} objects were read"))
"""
    again = run(*arguments, "--resume", prelude=counted, env=env)
    assert again.returncode == 0, again.stderr
    kept = int(again.stderr.partition("resumed: ")[2].partition(" ")[0])
    assert kept >= 9
    assert f"{len(texts) - kept} objects were read" in again.stderr
    wanted = (tmp_path / "local.csv").read_bytes().replace(str(tmp_path / "in").encode(), f"{bucket.url}/in".encode())
    assert bucket.get("out.csv") == wanted


def _wait_for(directory: Path, name: str) -> Iterator[Path]:
    for _ in range(1500):
        yield from directory.rglob(name)
        time.sleep(0.02)
    raise AssertionError(f"no {name} has appeared")


def test_a_changed_object_is_scored_again_on_resume(score: Score, bucket: Bucket):
    for name in ("a", "b", "c"):
        bucket.put(f"in/{name}.txt", b"the river and the boat")
    bucket.put("in/d.txt", b"\0\1\2\3")
    arguments = (f"{bucket.url}/in/", "--out", f"{bucket.url}/out.csv")
    assert score(*arguments, "--fail-fast")[0] == 1
    bucket.put("in/b.txt", b"profit of the market")
    bucket.put("in/d.txt", b"the engine")
    code, _, message = score(*arguments, "--resume")
    assert (code, "resumed: 2 rows kept, 1 documents changed" in message) == (0, True), message
    rows = bucket.get("out.csv").decode().splitlines()[1:]
    assert [row.split(",")[3] for row in rows] == ["Ben", "Cyd", "Ben", "Ada"]


# Errors are one line ------------------------------------------------------------------------------------------------


def one_line(message: str) -> str:
    lines = [line for line in message.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, message
    return lines[0]


def test_nothing_there(score: Score, bucket: Bucket):
    code, _, message = score(f"{bucket.url}/none/")
    assert (code, one_line(message)) == (2, f"error: {bucket.url}/none/: no such object, and none below it")
    assert score("s3://no-such-bucket-at-all/x")[0] == 2


def test_an_endpoint_that_is_down(score: Score, monkeypatch):
    with stores_at("http://127.0.0.1:9"):
        code, _, message = score("s3://letters/in/")
    assert code == 1
    assert one_line(message).startswith("error: s3://letters/in/: cannot be listed: Could not connect to the endpoint")


def test_a_bucket_for_the_results_that_is_not_there(score: Score, bucket: Bucket):
    bucket.put("in/a.txt", b"the river")
    code, _, message = score(f"{bucket.url}/in/", "--out", "s3://no-such-bucket-at-all/out.csv")
    assert (code, one_line(message)) == (
        1,
        "error: s3://no-such-bucket-at-all/out.csv: cannot write there: no such bucket",
    )


@pytest.mark.parametrize("out", ["https://host/out.csv", "s3://letters/out.csv/"])
def test_urls_that_no_results_can_go_to(score: Score, bucket: Bucket, out):
    bucket.put("in/a.txt", b"the river")
    code, _, message = score(f"{bucket.url}/in/", "--out", out, "--format", "csv")
    assert code == 1
    assert one_line(message).startswith(f"error: {out}: ")


def test_passwords_are_shown_nowhere(score: Score, tmp_path):
    url = "https://me:hunter2@127.0.0.1:9/a.txt?sig=hunter3"
    code, out, message = score(url, tmp_path, "--out", tmp_path / "out.csv", "--verbose", "--fail-fast")
    assert code == 1
    assert "hunter" not in out + message + (tmp_path / "out.csv.journal").read_text()
    assert "https://127.0.0.1:9/a.txt?sig=***" in message


# Without URLs -------------------------------------------------------------------------------------------------------


def test_a_local_run_imports_nothing_of_this(bundle, tmp_path):
    (tmp_path / "a.txt").write_text("the river")
    listed = "import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))"
    done = run("score", tmp_path / "a.txt", "--model", bundle.path, prelude=listed, env=environment(tmp_path))
    assert done.returncode == 0
    assert not {"fsspec", "aiohttp", "s3fs", "authorid.inputs.stores", "authorid.outputs.url_target"} & {
        *done.stderr.split()
    }


@pytest.mark.parametrize(
    ("url", "package", "install"),
    [
        ("s3://letters/", "s3fs", "pip install 'authorid-toolkit[remote]'"),
        ("https://host/a.txt", "fsspec", "pip install 'authorid-toolkit[remote]'"),
        ("gs://letters/", "gcsfs", "pip install 'authorid-toolkit[remote]' gcsfs"),
        ("az://letters/", "adlfs", "pip install 'authorid-toolkit[remote]' adlfs"),
    ],
)
def test_a_package_that_is_missing(score: Score, monkeypatch, url, package, install):
    from authorid.inputs.stores import open_store

    monkeypatch.setattr(open_store, "_stores", {})
    monkeypatch.setitem(sys.modules, package, None)
    code, _, message = score(url)
    assert code == 1
    assert one_line(message).endswith(f"needs {package!r}, which is not installed: {install}")


# Listings -----------------------------------------------------------------------------------------------------------


def test_a_listing_is_made_once_and_saves_every_request_but_the_reads(score: Score, bundle, tmp_path, monkeypatch):
    from object_server import ObjectServer

    texts = {f"in/{number:02}.txt": f"the river and boat {number}".encode() for number in range(30)}
    table = b'{"text": "the market and a share"}\n{"text": "the river"}\n'
    server = ObjectServer({**texts, "in/t.jsonl": table})
    with stores_at(server.url):
        listing = tmp_path / "listing.parquet"
        env = {**environment(tmp_path), **client_environment(server.url)}
        listed = run("list", "s3://letters/in/", "--out", listing, env=env)
        assert (listed.returncode, "31 files" in listed.stderr) == (0, True), listed.stderr
        assert score("s3://letters/in/", "--out", tmp_path / "whole.csv")[0] == 0
        server.requests.clear()
        assert score("--listing", listing, "--out", tmp_path / "listed.csv")[0] == 0
        assert (server.count("list"), server.requests["head", "in/00.txt"]) == (0, 0)
        assert sum(number for (kind, key), number in server.requests.items() if key.endswith(".txt")) == 30
        assert (tmp_path / "listed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
        for shard in ("1/3", "2/3", "3/3"):
            assert score("--listing", listing, "--shard", shard, "--out", tmp_path / "parts")[0] == 0
    server.shutdown()
    server.server_close()
    parts = sorted((tmp_path / "parts").iterdir())
    assert run("merge", *parts, "--out", tmp_path / "merged.csv").returncode == 0
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
