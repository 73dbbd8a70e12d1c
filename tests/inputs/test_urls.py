"""Which paths are URLs, and what of them is shown."""

from __future__ import annotations

import pytest

from authorid.inputs.urls import is_url, local_path, name_in, original_url, shown_path, without_secrets


@pytest.mark.parametrize(
    "path", ["s3://b/k", "S3://b", "gs://b/k", "az://c/b", "https://h/x", "http://h", "memory://x"]
)
def test_urls(path):
    assert is_url(path)


@pytest.mark.parametrize("path", ["letters", "./s3://b", "s3:/b", "/s3://b", "ftp://x", "s3", "-", "", "x s3://b"])
def test_local_paths(path):
    assert not is_url(path)
    assert shown_path(path) == path


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pass@host/x.txt", "https://host/x.txt"),
        ("https://token@host/x.txt", "https://host/x.txt"),
        ("s3://KEY:SECRET@bucket/x", "s3://bucket/x"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("https://h/x?id=3&X-Amz-Signature=abc&sig=d%2F", "https://h/x?id=3&X-Amz-Signature=***&sig=***"),
        ("https://h/x?access_token=abc", "https://h/x?access_token=***"),
        ("s3://bucket/me:you@x", "s3://bucket/me:you@x"),
        ("s3://bucket/x?token=a", "s3://bucket/x?token=a"),
        ("HTTPS://me:p@ss@host/x", "HTTPS://host/x"),
    ],
)
def test_secrets_are_not_shown(url, shown):
    assert shown_path(url) == shown
    assert original_url(shown) == url


def test_messages_of_other_libraries_are_without_secrets():
    assert without_secrets("at https://me:pass@host/x: no") == "at https://host/x: no"
    assert without_secrets("at https://h/?sig=a%2Fb&x=1 : no") == "at https://h/?sig=***&x=1 : no"


def test_the_ending_of_a_web_page_is_that_of_its_path():
    assert name_in("https://host/a/table%20one.csv?version=3.txt#top") == "/a/table one.csv"
    assert name_in("s3://bucket/a?b.csv") == "s3://bucket/a?b.csv"
    assert name_in("https://host/%ff%fe.txt").endswith(".txt")


def test_file_urls_are_local_paths():
    assert local_path("file:///a%20b/%C3%A9") == "/a b/é"
    assert local_path("file:///%ff") == "/\udcff"
    assert local_path("file://host/x") == "file://host/x"
