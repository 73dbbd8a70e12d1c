"""Documents in stores: which are found, how they are read, and what becomes of faults, on a local server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import object_server
import pytest
from object_server import ObjectServer
from remote import needs_stores, stores_at

from authorid.errors import AuthoridError
from authorid.inputs.discovery import DiscoveredFile, walk
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.read_ahead import read_ahead
from authorid.inputs.reading import read_documents
from authorid.scoring.run_inputs import read_files

pytestmark = [
    needs_stores,
    # Clients are left to the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

QUICK = ReadOptions(timeout=0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    """The only place where S3 is. One client serves all tests: to make one takes long."""
    server = ObjectServer()
    with stores_at(server.url):
        yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def serve(server: ObjectServer) -> Callable[..., ObjectServer]:
    """Makes the server serve these objects."""

    def begin(objects: dict[str, bytes], **options: Any) -> ObjectServer:
        server.begin(objects, **options)
        return server

    return begin


def texts(*urls: str, options: ReadOptions = ReadOptions()) -> dict[str, str]:
    """The text of each document, or the reason why there is none, by the path."""
    found: dict[str, str] = {}
    for item in read_documents(urls, options):
        assert str(item.ref) not in found
        found[str(item.ref)] = item.text if isinstance(item, Document) else f"FAILED {item.reason}"
    return found


def test_a_prefix_is_a_directory_in_walk_order_page_by_page(serve):
    keys = ["old/x.txt", "l/a.txt", "l/a/x.txt", "l/a-b/y.txt", "letters.txt", "l/.git/x", "l/.h.txt", "l/dir/", "l/"]
    server = serve({key: b"" if key.endswith("/") else key.encode() for key in keys}, page=2)
    assert list(texts("s3://letters/l")) == [
        "s3://letters/l/a/x.txt",
        "s3://letters/l/a-b/y.txt",
        "s3://letters/l/a.txt",
    ]
    assert texts("s3://letters/l/")["s3://letters/l/a.txt"] == "l/a.txt"
    assert texts("s3://letters/letters.txt") == {"s3://letters/letters.txt": "letters.txt"}
    assert server.count("list") > 4
    assert len(texts("s3://letters", options=ReadOptions(hidden=True))) == 7


def test_globs_and_ignore_rules_hold(serve):
    serve({f"{name}": b"text" for name in ("a/x.txt", "a/y.md", "b/x.txt", "b/keep/x.txt")})
    options = ReadOptions(include=("*.txt",), exclude=("b/x*",), ignore=("a/",))
    assert list(texts("s3://letters/", options=options)) == ["s3://letters/b/keep/x.txt"]
    skipped = ReadOptions(skip=frozenset({"s3://letters/a/x.txt", "s3://letters/b/x.txt"}))
    assert list(texts("s3://letters/", options=skipped)) == ["s3://letters/a/y.md", "s3://letters/b/keep/x.txt"]


HOSTILE = [
    "../up.txt",
    "..",
    "a\nb.txt",
    "/lead.txt",
    "a//b.txt",
    "end/",
    "q?versionId=3",
    "p%20%ff",
    "\u202eevil",
    "#",
    "é",
]


def test_keys_may_be_anything(serve):
    serve({key: f"the text of {key.encode('unicode_escape').decode()}".encode() for key in HOSTILE})
    found = texts("s3://letters/", options=ReadOptions(hidden=True))
    assert found == {f"s3://letters/{key}": f"the text of {key.encode('unicode_escape').decode()}" for key in HOSTILE}


def test_the_listing_is_enough_no_object_is_asked_for_its_size(serve):
    server = serve({f"{number}.txt": b"text" for number in range(5)} | {"large.txt": b"x" * 2000})
    found = texts("s3://letters/", options=ReadOptions(max_bytes=1000))
    assert found["s3://letters/large.txt"] == "FAILED larger than 1000 bytes (see --max-bytes)"
    assert len(found) == 6
    assert (server.count("list"), server.count("head"), server.count("get")) == (1, 0, 5)


def test_an_object_is_read_as_it_is_now(serve):
    server = serve({"a.txt": b"short", "b.txt": b"listed", "c.txt": b"gone soon"})
    walked = walk(["s3://letters/"])
    first = next(walked)
    server.objects["b.txt"] = b"longer than it was when it was listed"
    del server.objects["c.txt"]
    read = [item.text if isinstance(item, Document) else item.reason for item in read_documents([])]
    for file in (first, *walked):
        read += [item.text if isinstance(item, Document) else item.reason for item in _read(file)]
    assert read == ["short", "longer than it was when it was listed", "no such object"]


def _read(file: DiscoveredFile) -> list[Document | Failure]:
    from authorid.inputs.reading import read_file

    return list(read_file(file))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (object_server.status(500), "the server answered HTTP 500"),
        (object_server.status(403, "AccessDenied"), "the server answered HTTP 403, access denied"),
        (object_server.half, "the answer ended early, or is not what its header announced"),
        (object_server.drip, "no complete answer within 0.5 s (see --timeout)"),
        (object_server.endless, "larger than 1000000 bytes (see --max-bytes)"),
    ],
)
def test_a_bad_object_is_one_failed_row(serve, fault, reason):
    server = serve({"a.txt": b"fine", "b.txt": b"bad" * 100, "c.txt": b"fine too"})
    server.faults["b.txt"] = fault
    found = texts("s3://letters/", options=replace(QUICK, max_bytes=1_000_000))
    assert found == {
        "s3://letters/a.txt": "fine",
        "s3://letters/b.txt": f"FAILED {reason}",
        "s3://letters/c.txt": "fine too",
    }
    tries = server.requests["get", "b.txt"]
    assert tries == (1 if "403" in reason or "larger" in reason else 4)


def test_a_busy_server_is_asked_again(serve):
    server = serve({"a.txt": b"fine"})
    server.faults["a.txt"] = object_server.busy(3)
    assert texts("s3://letters/") == {"s3://letters/a.txt": "fine"}
    assert server.requests["get", "a.txt"] == 4


def test_many_bad_objects_in_a_row_do_not_end_the_run(serve):
    server = serve({f"{number:02}.txt": b"text" for number in range(12)})
    server.faults.update({f"{number:02}.txt": object_server.status(500) for number in range(10)})
    assert [text for text in texts("s3://letters/").values() if not text.startswith("FAILED")] == ["text", "text"]


def test_a_store_that_is_down_ends_the_run_with_one_line(serve):
    server = serve({f"{number:02}.txt": b"text" for number in range(10)})
    for name in ("", *server.objects):
        server.faults[name] = object_server.status(503, "ServiceUnavailable")
    with pytest.raises(AuthoridError, match=r"s3://letters/: cannot be listed: the server answered HTTP 503"):
        texts("s3://letters/")
    del server.faults[""]
    files = walk(["s3://letters/"])
    first = next(files)
    server.faults[""] = object_server.status(503, "ServiceUnavailable")
    with pytest.raises(AuthoridError, match="s3://letters/: the store does not answer any more"):
        for file in (first, *files):
            _read(file)


def test_a_listing_that_breaks_off_ends_the_run(serve):
    server = serve({f"{number:02}.txt": b"text" for number in range(10)}, page=4)
    files = walk(["s3://letters/"])
    next(files)
    server.faults[""] = object_server.status(500)
    with pytest.raises(AuthoridError, match="cannot be listed"):
        list(files)


def test_what_is_not_there_is_a_failed_row(serve):
    serve({"a.txt": b"text"})
    assert texts("s3://letters/a.txt", "s3://letters/none", "s3://other/x", "s3://", "s3:///a") == {
        "s3://letters/a.txt": "text",
        "s3://letters/none": "FAILED no such object, and none below it",
        "s3://other/x": "FAILED no such object",
        "s3://": "FAILED this URL names no bucket or server",
        "s3:///a": "FAILED this URL names no bucket or server",
    }


# Many at a time -----------------------------------------------------------------------------------------------------


def test_small_objects_are_read_many_at_a_time_and_in_order(serve):
    server = serve({f"{number:03}.txt": f"text {number}".encode() for number in range(300)}, latency=0.02)
    read = [item.text for item in read_files(["s3://letters/"], ReadOptions(), None)]
    assert read == [f"text {number}" for number in range(300)]
    assert 16 <= server.busiest <= 66


def test_objects_that_nobody_reads_are_not_requested(serve):
    """A resumed run keeps the rows of objects whose versions are the same."""
    server = serve({f"{number:03}.txt": b"text" for number in range(300)})
    read = [file for file, _ in read_ahead(walk(["s3://letters/"]), ReadOptions())]
    assert len(read) == 300
    assert server.count("get") == 0


def test_a_reader_that_stops_leaves_no_thread(serve):
    server = serve({f"{number:05}.txt": b"text" for number in range(3000)}, page=10)
    documents = read_files(["s3://letters/"], ReadOptions(), None)
    next(documents)
    documents.close()
    for thread in threading.enumerate():
        if thread.name == "authorid-list":
            thread.join(5)
            assert not thread.is_alive()
    assert server.count("get") < 200


# Tables -------------------------------------------------------------------------------------------------------------


def parquet_table(rows: int, group: int) -> bytes:
    import io

    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    filler = [hashlib.sha256(str(number).encode()).hexdigest() * 20 for number in range(rows)]
    table = pyarrow.table({"text": [f"text {number}" for number in range(rows)], "filler": filler})
    parquet.write_table(table, stream, row_group_size=group, compression="none", use_dictionary=False)
    return stream.getvalue()


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_large_parquet_table_is_read_in_parts(serve, scheme):
    data = parquet_table(4000, 500)
    server = serve({"t.parquet": data})
    url = "s3://letters/t.parquet" if scheme == "s3" else f"{server.url}/letters/t.parquet"
    found = texts(url, options=ReadOptions(text_column="text", max_bytes=100_000))
    assert list(found.values()) == [f"text {number}" for number in range(4000)]
    assert server.sent < len(data) / 3


def test_a_table_that_changes_while_it_is_read_fails(serve):
    server = serve({"t.jsonl": b'{"text": "one more line of text"}\n' * 20_000})
    read = read_documents(["s3://letters/t.jsonl"])
    next(read)
    server.objects["t.jsonl"] = b'{"text": "another"}\n' * 30_000
    *_, last = read
    assert isinstance(last, Failure)
    assert last.reason == "changed while it was read"


@pytest.mark.parametrize("ranges", [True, False])
def test_tables_of_web_servers(serve, ranges):
    server = serve({"t.csv": b"text\none\ntwo\n", "e.csv": b""})
    server.ranges = ranges
    url = f"{server.url}/letters/t.csv"
    assert texts(url) == {f"{url}#1": "one", f"{url}#2": "two"}
    assert list(texts(f"{server.url}/letters/e.csv").values()) == ["FAILED empty file"]


# The web ------------------------------------------------------------------------------------------------------------


def test_web_pages(serve):
    server = serve({"a.txt": b"text", "page": b"<!doctype html><html><body><p>The text</p></body></html>"})
    base = f"{server.url}/letters"
    assert texts(f"{base}/a.txt", f"{base}/page", f"{base}/none") == {
        f"{base}/a.txt": "text",
        f"{base}/page": "The text\n",
        f"{base}/none": "FAILED no such object",
    }
    assert server.requests["get", "a.txt"] == 1


def test_a_server_that_is_not_there_is_a_failed_row_of_each_document(server):
    (reason,) = texts("http://127.0.0.1:9/a.txt").values()
    assert reason.startswith("FAILED Cannot connect to host 127.0.0.1:9")


def test_secrets_are_in_no_row(serve):
    server = serve({"a.txt": b"text"})
    host = server.url.removeprefix("http://")
    found = texts(f"http://me:pass@{host}/letters/a.txt", f"http://me:pass@{host}/letters/none?sig=abc")
    assert found == {
        f"http://{host}/letters/a.txt": "text",
        f"http://{host}/letters/none?sig=***": "FAILED no such object",
    }


# Other stores -------------------------------------------------------------------------------------------------------


def test_the_memory_of_this_process_and_local_files_by_their_urls(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("b/a.txt", "b/a/x.txt", "b/a-b/y.txt", "b/.h.txt"):
        memory.pipe(f"/{name}", name.encode())
    try:
        assert list(texts("memory://b").values()) == ["b/a/x.txt", "b/a-b/y.txt", "b/a.txt"]
        assert texts("memory://b/a.txt", "memory://none")["memory://none"] == "FAILED no such object"
    finally:
        memory.rm("/b", recursive=True)
    (tmp_path / "a b.txt").write_text("text")
    assert texts(f"file://{tmp_path}/a%20b.txt") == {f"{tmp_path}/a b.txt": "text"}


def test_an_empty_object_of_a_store_that_knows_no_empty_range():
    """Azure answers HTTP 416."""
    from authorid.inputs.stores.fsspec_store import FsspecStore

    class AzureError(Exception):
        status_code = 416

    class FileSystem:
        async_impl = False

        def _strip_protocol(self, url: str) -> str:
            return url.partition("://")[2]

        def cat_file(self, path: str, start: int, end: int) -> bytes:
            raise AzureError(path)

    store = FsspecStore(FileSystem(), "az://letters/")
    assert store.finish_read(store.start_read("az://letters/empty.txt", 10, None)) == b""
