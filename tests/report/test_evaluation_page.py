"""The page of an evaluation, as data and in a browser."""

from __future__ import annotations

import numpy as np
import pytest
from report_pages import HOSTILE, data

from authorid.evaluation.evaluation_report import make_report
from authorid.report.evaluation_page import write_evaluation_page

RANDOM = np.random.default_rng(3)


def write_page(path, authors=("Ada", "Ben", "Cyd"), documents=60):
    truth = np.arange(documents) % len(authors)
    scores = RANDOM.normal(size=(documents, len(authors))) + 1.5 * np.eye(len(authors))[truth]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    ablation = [{"models": "n-grams", "effort": "fast", "accuracy": 0.75, "ece": 0.1, "documents_per_second": 900.0}]
    report = make_report(truth, probabilities, authors, [500 + 40 * i for i in range(documents)], ablation)
    write_evaluation_page(path, report, "tiny")
    return report


def cells(browser, selector):
    """The texts of the cells of a table body, row by row."""
    rows = "[...document.querySelectorAll(arguments[0] + ' tbody tr')]"
    return browser.execute_script(f"return {rows}.map(row => [...row.cells].map(cell => cell.textContent))", selector)


def test_the_page_holds_the_whole_report(tmp_path):
    report = write_page(tmp_path / "e.html")
    assert data(tmp_path / "e.html", "about")["evaluation"] == report.to_json()


def test_the_page_shows_counts_and_figures(browser, tmp_path):
    report = write_page(tmp_path / "e.html")
    browser.get((tmp_path / "e.html").as_uri())
    counts = [[int(cell or 0) for cell in row[1:]] for row in cells(browser, "#confusion")]
    assert counts == report.metrics.confusion.tolist()
    authors = sorted(report.metrics.per_author, key=lambda row: row.f1)
    assert [row[0] for row in cells(browser, "#authors")] == [row.author for row in authors]
    assert [int(row[2]) for row in cells(browser, "#pairs")] == [pair["documents"] for pair in report.pairs]
    assert len(browser.find_elements("css selector", "#reliability circle")) == len(report.reliability)
    assert len(browser.find_elements("css selector", "#risk circle")) == len(report.risk_coverage)
    assert f"{100 * report.metrics.accuracy:.1f} %" in browser.find_element("css selector", "#summary").text


def test_many_authors_have_no_matrix(browser, tmp_path):
    write_page(tmp_path / "e.html", tuple(f"A{i}" for i in range(61)), 122)
    browser.get((tmp_path / "e.html").as_uri())
    assert cells(browser, "#confusion") == []
    assert len(cells(browser, "#authors")) == 61


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_on_the_page_of_an_evaluation(browser, tmp_path, axe, scheme, width):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    write_page(tmp_path / "e.html")
    browser.get((tmp_path / "e.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_runs_on_the_page_of_an_evaluation(browser, tmp_path, name):
    write_page(tmp_path / "e.html", ("Ada", name, "Cyd"))
    browser.get((tmp_path / "e.html").as_uri())
    assert browser.title == "How good the answers are: evaluation by authorid"
    assert browser.find_elements("css selector", "img") == []
    assert len(browser.find_elements("css selector", "script")) == 2
