"""The page as a file: what it holds, how large it is, and that nothing in it runs but its own script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from report_pages import HOSTILE, data, record, write_report

from authorid.outputs import atomic
from authorid.report.page import compact_json


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, text):
        if self.found and self.found[-1][0] in ("script", "style"):
            tag, attrs = self.found[-1]
            self.texts.append((tag, attrs, text))

    def handle_endtag(self, tag):
        self.found.append((f"/{tag}", {}))


def test_every_document_has_a_row_with_its_answer(tmp_path):
    records = [
        record("a.txt", author=1, probability=0.8, known_author_score=0.25, coverage=0.5, windows=3),
        record("b.txt", "unknown", author=2, probability=0.4),
        record("c.txt", "failed", error="line 3: bad\nbytes"),
    ]
    page = write_report(tmp_path / "r.html", records)
    assert data(page, "rows") == [
        ["a.txt", 0, [1, 0.8, 0, 0.1, 2, 0.1], 0.25, 0.5, 3, "", "ngrams", None],
        ["b.txt", 1, [2, 0.4, 0, 0.3, 1, 0.3], None, None, 0, "probability below the threshold", "ngrams", None],
        ["c.txt", 2, [], None, None, 0, "line 3: bad bytes", "", None],
    ]
    about = data(page, "about")
    assert about["authors"] == ["Ada", "Ben", "Cyd"]
    assert [about["statistics"][name] for name in ("documents", "scored", "unknown", "failed")] == [3, 1, 1, 1]


def test_the_policy_allows_the_own_script_and_style_and_nothing_else(tmp_path):
    elements = Elements(write_report(tmp_path / "r.html", [record("a.txt")]).read_text("utf-8"))
    (policy,) = [
        attrs["content"] for tag, attrs in elements.found if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    (script,) = [text for tag, attrs, text in elements.texts if tag == "script" and not attrs]
    (style,) = [text for tag, _, text in elements.texts if tag == "style"]
    assert rules == {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_asks_nothing_of_a_network_and_has_no_html_from_data(tmp_path):
    text = write_report(tmp_path / "r.html", [record("a.txt")]).read_text("utf-8")
    elements = Elements(text)
    assert not [attrs for _, attrs in elements.found if {"src", "href", "action", "style"} & set(attrs) - {"href"}]
    assert [attrs["href"] for _, attrs in elements.found if "href" in attrs] == ["#documents"]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)",
        text,
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_inside_the_data(tmp_path, name):
    plain = write_report(tmp_path / "plain.html", [record("a"), record("b", "failed")])
    records = [record(name, authors=("Ada", name, "Cyd"), author=1), record("b", "failed", error=name)]
    page = write_report(tmp_path / "r.html", records, ("Ada", name, "Cyd"), name=name)
    assert Elements(page.read_text("utf-8")).found == Elements(plain.read_text("utf-8")).found
    shown = [data(page, "about")["authors"][1], data(page, "rows")[0][0], data(page, "about")["model"]]
    assert len(set(shown)) == 1
    assert shown[0].isprintable()
    assert data(page, "rows")[1][6].isprintable()


def test_json_cannot_end_its_element_and_reads_back():
    value = {"a": "</script><!--", "b": ["&amp;\u2028\u2029>é"]}
    encoded = compact_json(value)
    assert not set(encoded.decode()) & set("<>&\u2028\u2029")
    assert json.loads(encoded) == value


def test_twenty_thousand_rows_take_less_than_15_mb(tmp_path):
    authors = tuple(f"Author number {i}" for i in range(50))
    records = (
        record(
            f"/srv/archive/letters/1890/collection-{i % 97:03}/letter-{i:06}.txt",
            "scored" if i % 5 else "unknown",
            i % 50,
            0.3 + i % 70 / 100,
            authors=authors,
            known_author_score=0.123,
            coverage=0.987,
        )
        for i in range(20_000)
    )
    page = write_report(tmp_path / "r.html", records, authors)
    assert page.stat().st_size < 15e6
    assert len(data(page, "rows")) == 20_000


def test_a_failure_leaves_the_old_page_and_nothing_beside_it(tmp_path, monkeypatch):
    page = write_report(tmp_path / "r.html", [record("a.txt")])
    before = page.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "sync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(page, [record("b.txt")])
    assert page.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / ".r.html.tmp").write_text("half")
    write_report(tmp_path / "r.html", [record("a.txt")])
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
