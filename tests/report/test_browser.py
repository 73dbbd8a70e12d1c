"""The report in a real browser: clicks, filters, keys, a phone, the dark, and what must not run."""

from __future__ import annotations

import time

import pytest
from click.testing import CliRunner
from fusion_bundle import make_fusion_bundle
from report_pages import HOSTILE, record, write_report
from tiny import make_bundle, prose

from authorid.cli.app import app

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a run over texts by three authors, a binary file and a text that is like no other."""
    root = tmp_path_factory.mktemp("report")
    bundle = make_fusion_bundle(root)
    documents = root / "documents"
    documents.mkdir()
    for number in range(30):
        author = ("Ada", "Ben", "Cyd")[number % 3]
        (documents / f"{author}-{number:02}.txt").write_text(prose(author, 30 + 5 * number, seed=number))
    (documents / "binary.txt").write_bytes(bytes(range(256)) * 20)
    report = root / "report.html"
    arguments = ["score", documents, "--model", bundle.path, "--report", report, "--quiet"]
    assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 3
    return report


def open_page(browser, path):
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"


def find(browser, selector):
    return browser.find_element("css selector", selector)


def column(browser, number):
    """The texts of a column of the table, top down."""
    script = (
        "return [...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[arguments[0]].textContent)"
    )
    return browser.execute_script(script, number)


def press(browser, *keys):
    from selenium.webdriver import ActionChains

    chain = ActionChains(browser)
    for key in keys:
        chain.send_keys(key)
    chain.perform()


def choose(browser, selector, text):
    from selenium.webdriver.support.ui import Select

    Select(find(browser, selector)).select_by_visible_text(text)


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within five seconds"
        time.sleep(0.02)


def test_the_summary_counts_every_document(browser, page):
    open_page(browser, page)
    figures = dict(
        zip(
            *(
                [one.text.splitlines()[0] for one in browser.find_elements("css selector", f"#summary {tag}")]
                for tag in ("dt", "dd")
            ),
            strict=True,
        )
    )
    assert figures["documents"] == "31"
    assert figures["failed"].split()[0] == "1"
    assert int(figures["scored"].split()[0]) + int(figures["unknown"].split()[0]) == 30


def test_pages_of_the_table(browser, page):
    open_page(browser, page)
    assert len(column(browser, 0)) == 25
    assert not find(browser, "#previous").is_enabled()
    find(browser, "#next").click()
    assert len(column(browser, 0)) == 6
    assert find(browser, "#page").text == "Page 2 of 2"
    assert not find(browser, "#next").is_enabled()


def test_filters_narrow_the_table_and_clear_widens_it(browser, page):
    open_page(browser, page)
    find(browser, "#search").send_keys("BEN-1")
    assert find(browser, "#count").text.startswith("4 of 31 documents")
    assert column(browser, 0) == ["Ben-10.txt", "Ben-13.txt", "Ben-16.txt", "Ben-19.txt"]
    find(browser, "#filters button[type=reset]").click()
    wait_for(lambda: find(browser, "#count").text.startswith("31 of 31"))
    choose(browser, "#status", "failed")
    assert column(browser, 0) == ["binary.txt"]
    choose(browser, "#status", "scored")
    choose(browser, "#author", "Cyd")
    assert set(column(browser, 2)) == {"Cyd"}
    choose(browser, "#least", "below 50 %")
    assert all(float(text.split()[0]) < 50 for text in column(browser, 3))


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_the_order(browser, page):
    open_page(browser, page)
    choose(browser, "#status", "scored")
    heading = find(browser, "#table th:nth-child(4) button")
    heading.click()
    shares = [float(text.split()[0]) for text in column(browser, 3)]
    assert shares == sorted(shares, reverse=True)
    assert find(browser, "#table th:nth-child(4)").get_attribute("aria-sort") == "descending"
    heading.click()
    shares = [float(text.split()[0]) for text in column(browser, 3)]
    assert shares == sorted(shares)
    find(browser, "#table th:nth-child(1) button").click()
    assert column(browser, 0) == sorted(column(browser, 0))
    assert len(browser.find_elements("css selector", "[aria-sort]")) == 1


def test_a_click_on_a_row_shows_the_evidence(browser, page):
    open_page(browser, page)
    find(browser, "#search").send_keys("Ada-27")
    find(browser, "#table tbody tr td:nth-child(4)").click()
    dialog = find(browser, "#details")
    assert dialog.is_displayed()
    assert find(browser, "#details-title").text.endswith("documents/Ada-27.txt")
    assert "Why Ada rather than" in dialog.text
    marked = {mark.text for mark in browser.find_elements("css selector", ".text mark.for-3, .text mark.for-2")}
    assert {"engine", "number", "loom"} & {word for text in marked for word in text.split()}
    assert "Strongest n-grams" in dialog.text
    find(browser, "#close").click()
    assert not dialog.is_displayed()


def test_a_failed_document_says_why(browser, page):
    open_page(browser, page)
    find(browser, "#reasons button").click()
    wait_for(lambda: column(browser, 0) == ["binary.txt"])
    find(browser, "#table .open").click()
    assert find(browser, "#details-body").text.startswith("failed")
    assert column(browser, 5)[0] in find(browser, "#details-body").text


def test_a_click_on_an_author_shows_their_documents(browser, page):
    open_page(browser, page)
    bar = find(browser, "#authors button")
    author, found = bar.text.splitlines()
    bar.click()
    wait_for(lambda: find(browser, "#count").text.startswith(f"{found} of 31"))
    assert set(column(browser, 2)) == {author}


def test_map_and_tree_show_all_authors_and_documents(browser, page):
    open_page(browser, page)
    assert len(browser.find_elements("css selector", "#map circle.author")) == 3
    assert len(browser.find_elements("css selector", "#map circle.document")) == 30
    assert sorted(text.text for text in browser.find_elements("css selector", "#tree text")) == ["Ada", "Ben", "Cyd"]
    assert len(browser.find_elements("css selector", "#tree path")) == 2


def test_everything_works_with_keys_alone(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the documents"
    press(browser, Keys.ENTER, Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("id") == "search"
    press(browser, "Cyd-2")
    for _ in range(20):
        press(browser, Keys.TAB)
        if browser.switch_to.active_element.get_attribute("class") == "open":
            break
    opener = browser.switch_to.active_element
    assert opener.text.startswith("Cyd-2")
    press(browser, Keys.ENTER)
    assert find(browser, "#details").is_displayed()
    press(browser, Keys.ESCAPE)
    assert not find(browser, "#details").is_displayed()
    assert browser.switch_to.active_element == opener


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(browser, page, axe, scheme, opened, width):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    open_page(browser, page)
    if opened:
        find(browser, "#table .open").click()
    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    problems = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found["violations"]]
    assert problems == []
    assert len(found["passes"]) > 20


def test_the_dark_page_is_dark(browser, page):
    colours = {}
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        open_page(browser, page)
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        colours[scheme] = sum(int(part) for part in colour[4:-1].split(","))
    assert colours["dark"] < 150 < 600 < colours["light"]


def test_a_phone_shows_all_without_scrolling_sideways(browser, page):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    )
    open_page(browser, page)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert (
        browser.execute_script(
            "const box = document.querySelector('.scroll'); return box.scrollWidth - box.clientWidth"
        )
        == 0
    )
    find(browser, "#table .open").click()
    assert browser.execute_script("return document.getElementById('details').scrollWidth") <= 390


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_that_a_name_or_a_reason_contains_runs(browser, tmp_path, name):
    authors = ("Ada", name, "Cyd")
    records = [record(name, author=1, authors=authors), record(f"{name}2", "failed", error=name)]
    open_page(browser, write_report(tmp_path / "r.html", records, authors, name=name))
    find(browser, "#table .open").click()
    assert browser.title == "Who wrote what: report of authorid"
    assert (
        browser.find_elements(
            "css selector", "img, main script, dialog script, body > script:not([id]):not(:last-of-type)"
        )
        == []
    )
    assert len(browser.find_elements("css selector", "script")) == 4


def test_nothing_that_a_document_or_its_path_contains_runs(browser, page, tmp_path):
    text = "the engine </script><script>document.title='hacked'</script> <img src=x onerror=alert(1)> number loom " * 3
    name = "a<img src=x onerror=alert(1)>\x1b[2J.txt"
    (tmp_path / name).write_text(text)
    model = page.parent / "bundle"
    arguments = ["score", str(tmp_path / name), "--model", str(model), "--report", str(tmp_path / "r.html"), "--quiet"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    open_page(browser, tmp_path / "r.html")
    find(browser, "#table .open").click()
    assert "<img src=x onerror=alert(1)> number loom" in find(browser, "#details .text").text
    assert find(browser, "#details-title").text.endswith("a<img src=x onerror=alert(1)>\\x1b[2J.txt")
    assert browser.title == "Who wrote what: report of authorid"
    assert browser.find_elements("css selector", "img") == []
    assert len(browser.find_elements("css selector", "script")) == 4


def test_the_policy_stops_a_script_that_somebody_adds(browser, page):
    open_page(browser, page)
    browser.execute_script(
        "const added = document.createElement('script'); added.textContent = \"document.title = 'hacked'\";"
        "document.body.append(added);"
    )
    assert browser.title == "Who wrote what: report of authorid"
    (entry,) = browser.get_log("browser")
    assert "Content Security Policy" in entry["message"]


def test_twenty_thousand_rows_answer_within_three_seconds(browser, tmp_path):
    authors = tuple(f"Author {i}" for i in range(50))
    records = (
        record(
            f"/srv/archive/letters/collection-{i % 97:03}/letter-{i:06}.txt",
            "scored" if i % 5 else "unknown",
            i % 50,
            0.3 + i % 70 / 100,
            authors=authors,
        )
        for i in range(20_000)
    )
    page = write_report(tmp_path / "r.html", records, authors)
    started = time.monotonic()
    open_page(browser, page)
    find(browser, "#search").send_keys("letter-019999")
    assert column(browser, 0) == ["collection-017/letter-019999.txt"]
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("rule", ["sigmoid", "identity"])
def test_labels_and_values_are_shown(browser, tmp_path, rule):
    bundle = make_bundle(tmp_path / "model", classes="labels", rule=rule, rest=-1.0)
    (tmp_path / "a.txt").write_text(prose("Ada", 40, seed=1))
    (tmp_path / "b.txt").write_text(prose("Ben", 40, seed=2))
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    arguments = ["score", *paths, "--model", bundle.path, "--report", tmp_path / "r.html", "--quiet"]
    assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 0
    open_page(browser, tmp_path / "r.html")
    assert column(browser, 2) == ["Ada", "Ben"]
    assert all(text.endswith("%") == (rule == "sigmoid") for text in column(browser, 3))
    find(browser, "#table .open").click()
    assert "Ada" in find(browser, "#details .answer").text
