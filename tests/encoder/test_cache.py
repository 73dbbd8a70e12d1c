from __future__ import annotations

import pytest

from authorid import Scorer
from authorid.encoder.cache import cache_directory, read_entry, write_entry


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))


def test_an_unwritable_cache_is_not_an_error(bundle, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("not a directory")
    monkeypatch.setenv("AUTHORID_CACHE", str(file))
    assert write_entry("kind", "key", {"a": 1}) is False
    assert read_entry("kind", "key") is None
    assert [row.author for row in Scorer(bundle).score_texts(["engine"])] == ["Ada"]


def test_a_damaged_entry_is_ignored():
    write_entry("kind", "key", {"a": 1})
    assert read_entry("kind", "key") == {"a": 1}
    (cache_directory() / "kind-key.json").write_text("{")
    assert read_entry("kind", "key") is None
