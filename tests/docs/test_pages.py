"""The pages: links lead somewhere, words are standard, the whole is short, and the README says what is true."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

import authorid
from authorid import Scorer
from authorid.models import default_bundle

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FOR_USERS = [
    ROOT / "README.md",
    DOCS / "index.md",
    *sorted(page for room in ("guide", "reference", "explanation") for page in (DOCS / room).glob("*.md")),
]
ALL = [*FOR_USERS, *ROOT.glob("*.md"), *(DOCS / "research").glob("*.md"), *(ROOT / "models").glob("*.md")]
PRIVATE = (
    r"strangers?|famil\w+ity|standing|experts|sure|told|says?|intake|patience|company|findings|shift|weigh(?:s|ed|ing)?|"
    r"adds? up|rounding to inputs|races?|referee|contestants?|settings|budget|edges|advance"
)
"""Words that only this project would understand. "Row" (of a results file), "report" and "measure" are standard."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", FOR_USERS, ids=name)
def test_no_private_word(page):
    assert not re.findall(rf"(?<![\w-])(?:{PRIVATE})(?![\w-])", page.read_text("utf-8"), re.IGNORECASE)


def test_guide_reference_and_explanation_are_short():
    words = [word for page in FOR_USERS[2:] for word in page.read_text("utf-8").split()]
    assert len(words) < 15_500


def anchors(page: Path) -> set[str]:
    """What links can point at in a page: its headings, in lower case, words joined by hyphens."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(set(ALL)), ids=name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}#{anchor}"


def test_pages_that_the_code_names_exist():
    for home in ("authorid", "export", "bench", "tests"):
        for file in (ROOT / home).rglob("*.py"):
            for page in re.findall(r"\bdocs/[\w/-]+\.md", file.read_text("utf-8")):
                assert (ROOT / page).is_file(), f"{file} names {page}"


def test_every_page_is_in_the_navigation():
    navigation = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(navigation) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_every_package_is_in_the_list_of_folders():
    table = set(
        re.findall(r"^- `([a-z/]+)/`: ", (DOCS / "explanation" / "how-it-works.md").read_text("utf-8"), re.MULTILINE)
    )
    packages = {f"authorid/{file.parent.name}" for file in (ROOT / "authorid").glob("*/__init__.py")}
    packages -= {"authorid/export", "authorid/models"}  # links
    assert packages | {"export", "models", "bench", "tests"} <= table
    assert all((ROOT / row).is_dir() or (ROOT / f"{row}.py").is_file() for row in table)


def test_every_extra_for_users_is_in_the_readme():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert listed == extras - {"test", "docs", "dev"}


def test_ci_runs_the_readmes_commands():
    """The script finds each block by a text that only this block has."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for text in ("authorid score examples", "pytest"):
        assert re.search(rf'readme "?{text}"? ', script)
        assert [block for block in blocks if text in block and "pip install" in block] == [
            block for block in blocks if text in block
        ]
        assert sum(text in block for block in blocks) == 1


def test_the_readme_shows_what_the_embedded_model_answers():
    page = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"\|([\w-]+\.txt) *\| (\w+) *\| (\w+) *\| +([\d.]+)% *\| (\S+) *\| +([\d.]+)%\|", page)
    scored = {Path(row.path).name: row for row in Scorer.load(default_bundle()).score([str(ROOT / "examples")])}
    assert {document for document, *_ in rows} == set(scored)
    for document, status, author, share, second, its_share in rows:
        found = scored[document]
        assert (found.status, [who for who, _ in found.ranking[:2]]) == (status, [author, second])
        shares = [100 * probability for _, probability in found.ranking[:2]]
        assert shares == pytest.approx([float(share), float(its_share)], abs=0.2)


def test_one_statement_about_the_test_corpus():
    """The card of the models and the notebook must not contradict each other about C50test."""
    statement = "rules for unknown authors were compared on it more than ten times"
    for page in (ROOT / "models" / "README.md", DOCS / "research" / "accuracy.md"):
        text = " ".join(page.read_text("utf-8").split())
        assert statement in text
        assert "used for nothing else" not in text


def test_the_version_is_the_same_everywhere():
    version = authorid.__version__
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8") or version == "0.1.0"


def test_the_table_of_encodings_is_the_measured_one():
    measured = (ROOT / "bench" / "results" / "encodings.md").read_text("utf-8")
    page = (DOCS / "explanation" / "encodings.md").read_text("utf-8")
    assert measured.split("\n\n")[-1].strip() in page
    (total,) = re.findall(r"^\| all \| \| (\d+) \| (\d+) \| (\d+) \| \d+ \| (\d+) \|$", measured, re.MULTILINE)
    for number in total:
        assert f"{int(number):,}" in page


def test_the_tables_and_the_plot_of_accuracy_are_the_measured_ones():
    results = ROOT / "bench" / "results"
    _, _, *tables = (results / "accuracy.md").read_text("utf-8").strip().split("\n\n")
    page = (DOCS / "explanation" / "accuracy.md").read_text("utf-8")
    assert len(tables) == 2
    for table in tables:
        assert table in page
    assert (DOCS / "explanation" / "accuracy.svg").read_bytes() == (results / "accuracy.svg").read_bytes()


def test_the_table_of_conditions_is_the_measured_one():
    results = ROOT / "bench" / "results"
    sys.path.insert(0, str(ROOT))
    try:
        from bench.condition_report import condition_table
    finally:
        sys.path.remove(str(ROOT))
    table = (results / "conditions.md").read_text("utf-8")
    assert table == condition_table(json.loads((results / "conditions.json").read_text("utf-8")))
    assert table.strip() in (DOCS / "explanation" / "accuracy.md").read_text("utf-8")
