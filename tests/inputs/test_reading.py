from __future__ import annotations

import hashlib

from authorid.inputs import readers
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.readers import READERS, reader_for
from authorid.inputs.readers.text import TextReader
from authorid.inputs.reading import file_sha256, read_documents, read_file


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("the river\n")


def test_every_text_file_gives_one_item(tmp_path):
    touch(tmp_path, "a", "c")
    (tmp_path / "b").write_bytes(b"\0\1\2")
    items = list(read_documents([tmp_path, tmp_path / "none"]))
    assert [type(item) for item in items] == [Document, Failure, Document, Failure]
    assert items[0].sha256 == hashlib.sha256(b"the river\n").hexdigest()


def test_the_digest_of_a_file_is_that_of_its_document(tmp_path):
    touch(tmp_path, "a")
    file = DiscoveredFile(str(tmp_path / "a"))
    assert [file_sha256(file)] == [document.sha256 for document in read_file(file)]
    assert file_sha256(DiscoveredFile(str(tmp_path / "none"))) is None
    assert file_sha256(DiscoveredFile("x", "a problem")) is None


def test_the_size_limit_applies_before_and_while_reading(tmp_path):
    (tmp_path / "big").write_bytes(b"a" * 100)
    (item,) = read_file(DiscoveredFile(str(tmp_path / "big")), ReadOptions(max_bytes=99))
    assert "larger than 99 bytes" in item.reason
    (item,) = read_file(DiscoveredFile(str(tmp_path / "big")), ReadOptions(max_bytes=100))
    assert item.encoding == "utf-8"


def test_every_reader_claims_lower_case_suffixes_that_no_other_claims():
    suffixes = [suffix for reader in READERS for suffix in reader.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
    assert len({reader.name for reader in READERS}) == len(READERS)


def test_files_without_a_known_suffix_are_read_as_plain_text():
    for path in ("a.txt", "A.TXT", "a", "a.unknown", "/b.c/.hidden", "42.", "\udcff"):
        assert isinstance(reader_for(path), TextReader)


class LinesReader:
    """One document for each line; a file that begins with ! is not of this format."""

    name = "lines"
    suffixes = (".lines",)
    streams = False

    def read(self, content, options):
        for number, line in enumerate(content.data(options.max_bytes).decode().splitlines(), 1):
            yield Document(DocumentRef(content.ref.source, str(number)), line, "utf-8", "")
            if line == "!":
                raise ValueError("broken off")


def test_a_reader_may_give_several_documents_and_fail_in_between(tmp_path, monkeypatch):
    monkeypatch.setitem(readers._BY_SUFFIX, ".lines", LinesReader())
    (tmp_path / "a.lines").write_text("one\n!\nthree\n")
    items = list(read_documents([tmp_path]))
    source = str(tmp_path / "a.lines")
    assert [str(item.ref) for item in items] == [f"{source}#1", f"{source}#2", source]
    assert items[2] == Failure(DocumentRef(source), "broken off")
