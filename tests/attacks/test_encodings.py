"""The same text has the same author in any encoding, declared or detected, and with any line ending."""

from __future__ import annotations

import json
import unicodedata

import pytest
from tiny import prose

from authorid import Scorer
from authorid.inputs.documents import ReadOptions

ENCODINGS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
    *("latin-1", "cp1252", "iso8859-15", "mac_roman", "cp850", "cp437", "cp1250"),
)
TEXT = "\n".join(f"{line} é á ü ö" for line in prose("Ben", 300, seed=3).split(" . "))

OTHER_LANGUAGES = {
    "russian": ("Вчера вечером мы пошли к реке, чтобы посмотреть на лодки. ", ("cp1251", "koi8-r", "iso8859-5")),
    "polish": (
        "Zażółć gęślą jaźń. Wczoraj wieczorem poszliśmy nad rzekę, żeby zobaczyć łódki i pięć żab. Świeży chleb. ",
        ("cp1250", "iso8859-2"),
    ),
    "greek": ("Χθες το βράδυ πήγαμε στο ποτάμι για να δούμε τις βάρκες. ", ("cp1253", "iso8859-7")),  # noqa: RUF001
    "japanese": ("昨日の夕方、私たちは船を見るために川へ行きました。", ("shift_jis", "euc_jp")),
    "chinese": ("昨天晚上我们去河边看船。老磨坊主说今年春天会来得很早。", ("gb18030", "gbk")),
    "french": ("L'été dernier, à Genève, où nous avons mangé des crêpes près de la forêt. ", ("cp1252", "cp850")),
}


@pytest.fixture(scope="module")
def scorer(bundle):
    return Scorer(bundle)


def answer(scorer, path, **options):
    (row,) = scorer.score([path], ReadOptions(**options))
    assert row.status == "scored", row.error
    return row


@pytest.fixture(scope="module")
def expected(scorer, tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text(TEXT, "utf-8")
    return answer(scorer, path)


@pytest.mark.promise("encodings")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_declared_encoding_gives_exactly_the_same_answer(scorer, expected, tmp_path, encoding):
    (tmp_path / "text").write_bytes(TEXT.encode(encoding))
    assert answer(scorer, tmp_path / "text", encoding=encoding).ranking == expected.ranking


@pytest.mark.promise("encodings")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_detected_encoding_gives_the_same_author_and_is_recorded(scorer, expected, tmp_path, encoding):
    (tmp_path / "text").write_bytes(TEXT.encode(encoding))
    row = answer(scorer, tmp_path / "text")
    assert row.author == expected.author
    assert row.probability == pytest.approx(expected.probability, abs=0.02)
    assert row.encoding


@pytest.mark.promise("encodings")
@pytest.mark.parametrize(("language", "encoding"), [(name, e) for name, (_, es) in OTHER_LANGUAGES.items() for e in es])
def test_detection_decodes_texts_in_other_languages_correctly(language, encoding):
    from authorid.inputs.decoding import decode

    text = OTHER_LANGUAGES[language][0] * 5
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.promise("normal-forms", "encodings")
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\u2028"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_line_endings_and_normal_forms_change_nothing(scorer, expected, tmp_path, ending, form):
    text = unicodedata.normalize(form, TEXT).replace("\n", ending)
    (tmp_path / "text").write_bytes(text.encode("utf-8"))
    assert answer(scorer, tmp_path / "text").ranking == expected.ranking


@pytest.mark.promise("encodings")
@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if not e.startswith("utf-32")])
def test_a_page_in_the_encoding_that_it_declares_has_exactly_the_same_answer(scorer, tmp_path, encoding):
    pytest.importorskip("lxml")
    page = "<!DOCTYPE html><html><head><meta charset='{}'></head><body><p>{}</p></body></html>"
    (tmp_path / "page.html").write_bytes(page.format(encoding, TEXT).encode(encoding))
    (tmp_path / "plain.html").write_text(page.format("utf-8", TEXT), "utf-8")
    assert answer(scorer, tmp_path / "page.html").ranking == answer(scorer, tmp_path / "plain.html").ranking


@pytest.mark.promise("encodings")
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if not e.endswith(("-le", "-be"))])
def test_a_table_in_a_declared_encoding_has_exactly_the_same_answer(scorer, expected, tmp_path, encoding, suffix):
    row = json.dumps({"text": TEXT}, ensure_ascii=False) if suffix == ".jsonl" else f'text\r\n"{TEXT}"'
    (tmp_path / f"t{suffix}").write_bytes(f"{row}\r\n".encode(encoding))
    assert answer(scorer, tmp_path / f"t{suffix}", encoding=encoding).ranking == expected.ranking
