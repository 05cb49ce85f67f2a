"""The page of a study: its numbers and passports, what it escapes, and how it behaves in a browser."""

import html
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from browser import Browser, in_browser
from study.pictures import draw_pictures
from study.synthetic import make_cell, make_results, synthetic_results

from gae_hub.study.figures import write_figures
from gae_hub.study.findings import Finding, find_findings
from gae_hub.study.page import write_page
from gae_hub.study.paper_values import PAPER_URL
from gae_hub.study.report import write_report
from gae_hub.study.study_figure import file_name
from gae_hub.study.table import format_entry
from gae_hub.study.tables import build_tables

HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}"
VOID = {"meta", "link", "img", "input", "br", "hr", "image", "use", "path"}


class Page(HTMLParser):
    """Elements of a page, with their attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        element = SimpleNamespace(tag=tag, attributes=dict(attributes), text="", parents=[e for e in self._open])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def find(self, tag, **attributes):
        return [e for e in self.elements if e.tag == tag and attributes.items() <= e.attributes.items()]

    def inside(self, tag, parent):
        return [e for e in self.elements if e.tag == tag and parent in e.parents]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Results of a study, and the page of its report."""
    folder = tmp_path_factory.mktemp("report")
    methods = ["VAE", "beta-VAE", "AAE", "AE"]
    results = synthetic_results(
        datasets=("mnist", "celeba"), num_configurations=3, methods=methods, folder=folder / "study"
    )
    draw_pictures(results)
    return results, write_report(results, folder / "report")


@pytest.fixture(scope="module")
def page(report):
    return Page(report[1].read_text(encoding="utf-8"))


def test_every_table_has_its_numbers_and_passports(report, page):
    results, _ = report
    passports = json.loads(page.find("script", id="passports")[0].text)
    tables = [table for table in build_tables(results) if table.name != "configurations"]
    assert len(tables) > 4
    for table in tables:
        (element,) = page.find("table", id=f"table-{table.name}")
        cells = [cell for cell in page.inside("td", element) if "data-p" in cell.attributes]
        expected = [
            (entry, column)
            for row in table.rows
            for entry, column in zip(row.entries, table.columns, strict=True)
            if entry.value is not None
        ]
        assert [cell.text for cell in cells] == [format_entry(entry, column) for entry, column in expected]
        for cell, (entry, column) in zip(cells, expected, strict=True):
            assert float(cell.attributes["data-v"]) == entry.value
            lines = [passports["lines"][i] for i in passports["entries"][int(cell.attributes["data-p"])]]
            if column.source == "ours":
                assert f"configuration: {entry.configuration}" in lines
                for name in ("extractor", "num_samples"):
                    if name in entry.passport:
                        assert f"{name.replace('_', ' ')}: {entry.passport[name]}" in lines


def test_group_headings_cover_all_columns(page):
    for table in page.find("table"):
        groups = [th for th in page.inside("th", table) if th.attributes.get("class") == "group"]
        numbers = [th for th in page.inside("th", table) if "number" in th.attributes.get("class", "").split()]
        rows = {id(th.parents[-1]): 0 for th in groups}
        for th in groups:
            rows[id(th.parents[-1])] += int(th.attributes["colspan"])
        assert all(total == len(numbers) for total in rows.values())


def test_each_method_has_a_section_with_its_configurations_and_links(report, page):
    results, path = report
    for name in ("VAE", "beta-VAE", "AAE"):
        anchor = file_name("method", name)
        (section,) = page.find("section", id=anchor)
        assert page.inside("h3", section)[0].text == name
        assert len(page.inside("img", section)) == 4 * 4  # four setups
        links = {a.attributes["href"] for a in page.inside("a", section)} - {PAPER_URL}
        cells = [cell for cell in results.cells if cell.method == name]
        folders = {cell.folder for cell in cells if cell.state == "done"}
        assert links and {(path.parent / link).resolve() for link in links} <= {f.resolve() for f in folders}
        (table,) = page.find("table", id=f"{anchor}-configurations")
        assert len(page.inside("tr", table)) == len(cells) + 1


def test_every_finding_has_its_verdict_and_evidence(report, page):
    (section,) = page.find("section", id="findings")
    verdicts = [e.text for e in page.inside("span", section) if e.attributes.get("class") == "verdict"]
    findings = find_findings(report[0])
    measured = [finding for finding in findings if finding.is_measured]
    assert verdicts == [finding.verdict for finding in measured]
    assert len(page.inside("table", section)) == len(measured) > 2
    assert [link.attributes["href"] for link in page.inside("a", section)] == [PAPER_URL]


def test_claims_without_numbers_are_under_one_closed_line(page, report):
    (section,) = page.find("section", id="findings")
    *evidence, (folded, line) = zip(page.inside("details", section), page.inside("summary", section), strict=True)
    claims = [e.text for e in page.inside("strong", section)]
    assert claims == [finding.claim for finding in find_findings(report[0]) if not finding.is_measured]
    assert line.text.startswith(f"{len(claims)} claims of the paper are not measured")
    assert all("open" not in details.attributes for details, _ in (*evidence, (folded, line)))


def test_page_names_failed_cells_and_missing_figures(page):
    text = page.find("main")[0].text
    assert "FloatingPointError: the loss is NaN at step 120" in text
    assert "the study has one number of latent dimensions" in text


def test_training_is_one_line_or_one_line_per_data_set(page, tmp_path):
    (training,) = [e for e in page.find("dd") if "recipe paper" in e.text]
    assert training.text == "MNIST: recipe paper, num_train_epochs 100\nCELEBA: recipe paper, num_train_epochs 50"
    settings = {"training": {"mnist": {"recipe": None, "num_train_epochs": 5, "learning_rate": 0.001}}}
    path = write_report(make_results([make_cell("VAE", state="waiting")], settings=settings), tmp_path)
    assert "<dd>num_train_epochs 5, learning_rate 0.001</dd>" in path.read_text(encoding="utf-8")


def test_page_makes_no_external_request(report, page):
    text = report[1].read_text(encoding="utf-8")
    for element in page.elements:
        for name, value in element.attributes.items():
            if name in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
                is_link = element.tag == "a" and value == PAPER_URL
                assert is_link or value.startswith(("#", "data:image/", "../study/")), (element.tag, name, value[:60])
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert (
        "default-src 'none'" in page.find("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes["content"]
    )
    assert len(text) < 2_000_000


def test_hostile_texts_are_escaped(tmp_path):
    numbers = {f"reconstruction/mse/{split}": 0.1 for split in ("validation", "test")}
    passports = {name: {"extractor": HOSTILE} for name in numbers}
    place = {"dataset": HOSTILE, "network": HOSTILE}
    folder = tmp_path / HOSTILE.replace("/", "")
    cells = [
        make_cell(HOSTILE, 1, numbers, fields={HOSTILE: HOSTILE}, passports=passports, folder=folder, **place),
        make_cell(HOSTILE, 2, state="failed", error=HOSTILE, **place),
    ]
    methods = {HOSTILE: {"model": HOSTILE, "groups": [HOSTILE], "samplers": [HOSTILE], "table": None}}
    results = make_results(cells, methods=methods, title=HOSTILE, samplers=[HOSTILE], name=HOSTILE)
    write_figures(results, tmp_path / "figures")
    finding = Finding(HOSTILE, HOSTILE, "holds", HOSTILE, [{HOSTILE: HOSTILE, "agree": 1, "compared": 1}], HOSTILE)
    path = write_page(results, build_tables(results, ()), [finding], tmp_path / "figures", tmp_path / "index.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.find("script")) == 2 and "alert(1)</script>" not in text
    assert "49" not in page.find("h1")[0].text and page.find("h1")[0].text == HOSTILE
    assert HOSTILE in page.find("pre")[0].text and html.escape("<script>") in text
    assert f"extractor: {HOSTILE}" in json.loads(page.find("script", id="passports")[0].text)["lines"]


def passport_of(page, table, row=0):
    """Lines of the passport of the first number in a row of a table."""
    (element,) = page.find("table", id=f"table-{table}")
    cells = [cell for cell in page.inside("td", element) if "data-p" in cell.attributes]
    passports = json.loads(page.find("script", id="passports")[0].text)
    return [passports["lines"][i] for i in passports["entries"][int(cells[row].attributes["data-p"])]]


def test_passport_of_a_mean_has_all_seeds_in_the_unit_of_the_table(tmp_path):
    cells = [
        make_cell(
            "VAE",
            1,
            {f"reconstruction/mse/{split}": value for split in ("validation", "test")},
            seed=seed,
            folder=tmp_path / "cells" / f"vae-{seed}",
            passports={"reconstruction/mse/test": {"metric": "mse", "seed": seed, "standard_error": 0.002}},
        )
        for seed, value in ((0, 0.08), (3, 0.09))
    ]
    page = Page(write_report(make_results(cells), tmp_path / "report").read_text(encoding="utf-8"))
    lines = passport_of(page, "reconstruction")
    assert "mean over seeds: 80.00 x 1000 (seed 0), 90.00 x 1000 (seed 3)" in lines
    assert "cells: cells/vae-0, cells/vae-3" in lines
    assert not any(line.startswith(("seed:", "standard error")) for line in lines)
    one = Page(write_report(make_results(cells[:1]), tmp_path / "one").read_text(encoding="utf-8"))
    lines = passport_of(one, "reconstruction")
    assert {"seed: 0", "standard error: 2.00 x 1000", "cell: cells/vae-0"} <= set(lines)
    (table,) = [table for table in one.find("table") if "chosen by" in table.text]
    assert "80.00 x 1000" in table.text


def test_page_links_the_paper_where_it_has_its_numbers(page):
    tags = {a.text for a in page.find("a", href=PAPER_URL)}
    assert {"Table 1 of the paper", "Figure 19 of the paper", "Table 12 of the paper"} <= tags


def test_page_without_scripts_lists_how_numbers_were_measured(page):
    styles = [e.text for e in page.find("style") if any(parent.tag == "noscript" for parent in e.parents)]
    assert len(styles) == 1 and ".scripted { display: none" in styles[0] and "attr(data-p)" in styles[0]
    hidden = [e for e in page.elements if "scripted" in e.attributes.get("class", "").split()]
    assert {e.tag for e in hidden} == {"div", "p"} and any("Point at a number" in e.text for e in hidden)
    (section,) = page.find("section", id="measured")
    assert any(parent.tag == "noscript" for parent in section.parents)
    lists = zip(page.inside("p", section), page.inside("ol", section), strict=True)
    found = {
        item.attributes["value"]: {*common.text.split("; "), *item.text.split("; ")}
        for common, items in lists
        for item in page.inside("li", items)
    }
    passports = json.loads(page.find("script", id="passports")[0].text)
    assert len(found) == len(passports["entries"]) > len(page.inside("ol", section)) > 1
    for index, entry in enumerate(passports["entries"]):
        assert found[str(index)] - {""} == set("; ".join(passports["lines"][i] for i in entry).split("; "))


def test_page_of_a_study_without_finished_cells(tmp_path):
    path = write_report(make_results([make_cell("VAE", state="waiting")]), tmp_path)
    text = Page(path.read_text(encoding="utf-8")).find("main")[0].text
    assert "No cell is done yet." in text and "no configuration of this method is done" in text


def test_equal_results_give_equal_reports(report):
    results, path = report
    again = path.parent.parent / "again"
    write_report(results, again)
    first, second = (
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (path.parent, again)
    )
    assert first == second and len(first) > 30


# In a browser


@pytest.fixture(scope="module")
def browser(report, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        browser.open(report[1])
        yield browser


HEADER = "#table-generation th.number"
COLUMN = (
    "[...document.querySelectorAll('#table-generation tbody tr')]"
    ".map(row => row.querySelector('td[data-v]').dataset.v).map(Number)"
)


@in_browser
def test_click_and_enter_on_a_heading_sort_numerically(browser):
    before = browser.run(COLUMN)
    assert sorted(before) != sorted(before, key=str)
    browser.click(f"{HEADER} button")
    assert browser.run(f"document.querySelector('{HEADER}').ariaSort") == "ascending"
    assert browser.run(COLUMN) == sorted(before) != before
    browser.run(f"document.querySelector('{HEADER} button').focus()")
    browser.press("Enter")
    assert browser.run(f"document.querySelector('{HEADER}').ariaSort") == "descending"
    assert browser.run(COLUMN) == sorted(before, reverse=True)


@in_browser
def test_focus_shows_the_passport_and_arrow_keys_move_it(browser):
    cell = "#table-generation td[tabindex='0']"
    browser.run(f'document.querySelector("{cell}").focus()')
    browser.press("ArrowDown")
    assert browser.run("document.getElementById('passport').hidden") is False
    assert "extractor" in browser.run("document.getElementById('passport').innerText")
    assert browser.run("document.activeElement.getAttribute('aria-describedby')") == "passport"
    assert browser.run("document.activeElement.parentElement.rowIndex") == 5  # four rows of headings, then the second
    browser.press("Escape")
    assert browser.run("document.getElementById('passport').hidden") is True


@in_browser
def test_picture_opens_and_escape_closes_it(browser):
    browser.click("#figure-samplers--mnist .enlarge")
    assert browser.run("document.getElementById('viewer').open") is True
    assert browser.run("document.querySelectorAll('#viewer .stage svg').length") == 1
    browser.press("Escape")
    assert browser.run("document.getElementById('viewer').open") is False


@in_browser
def test_filters_hide_columns_tables_and_figures(browser):
    def choose(name, value):
        browser.run(
            f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
            f"(document.querySelector('[data-filter={name}]'))"
        )

    choose("dataset", "celeba")
    shown = f"[...document.querySelectorAll('{HEADER}')].filter(th => !th.hidden).map(th => th.dataset.dataset)"
    assert set(browser.run(shown)) == {"celeba"}
    assert browser.run("document.getElementById('figure-samplers--mnist').hidden") is True
    choose("task", "classification")
    assert browser.run("document.getElementById('section-reconstruction').hidden") is True
    choose("dataset", "")
    choose("task", "")
    assert set(browser.run(shown)) == {"mnist", "celeba"}
    assert browser.run("document.querySelectorAll('main [hidden]').length") == 0


@in_browser
def test_phone_page_does_not_scroll_sideways_and_requests_nothing(report, tmp_path):
    with Browser(tmp_path / "chromium", width=390, dark=True) as browser:
        browser.open(report[1])
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        assert {url[:5] for url in browser.requests} <= {"file:", "data:"}
        assert sum(url.startswith("file:") for url in browser.requests) == 1


@in_browser
def test_print_has_no_controls_and_nothing_is_folded(report, tmp_path):
    with Browser(tmp_path / "chromium") as browser:
        browser.open(report[1])
        browser.send("Emulation.setEmulatedMedia", media="print")
        assert "Point at a number" not in browser.run("document.body.innerText")
        assert browser.run("getComputedStyle(document.querySelector('nav.bar')).display") == "none"
        browser.run("dispatchEvent(new Event('beforeprint'))")
        assert browser.run("document.querySelectorAll('details:not([open])').length") == 0
        browser.run("dispatchEvent(new Event('afterprint'))")
        assert browser.run("document.querySelectorAll('details:not([open])').length") > 0


CUT = """[...document.querySelectorAll('#findings .evidence')].flatMap(box => {
  const edge = box.getBoundingClientRect();
  return [...box.querySelectorAll('td')].filter(cell => {
    const place = cell.getBoundingClientRect();
    const outside = place.right > edge.right + 1 || place.left < edge.left - 1;
    return !place.width || outside || cell.scrollWidth > cell.clientWidth + 1;
  }).map(cell => cell.textContent);
})"""


@in_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_evidence_shows_all_columns(report, tmp_path, width):
    with Browser(tmp_path / "chromium", width=width) as browser:
        browser.open(report[1])
        browser.run("document.querySelectorAll('#findings details').forEach(details => (details.open = true))")
        assert browser.run("document.querySelectorAll('#findings .evidence td').length") > 50
        assert browser.run(CUT) == []
        assert browser.run("document.documentElement.scrollWidth") == width


@in_browser
def test_evidence_is_open_in_print(report, tmp_path):
    shown = (
        "[...document.querySelectorAll('#findings .evidence, .unmeasured ul')]"
        ".map(e => e.checkVisibility({contentVisibilityAuto: true}))"
    )
    with Browser(tmp_path / "chromium") as browser:
        browser.open(report[1])
        assert set(browser.run(shown)) == {False}
        browser.send("Emulation.setEmulatedMedia", media="print")
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert set(browser.run(shown)) == {True}
        browser.send("Emulation.setEmulatedMedia", media="")
        browser.run("dispatchEvent(new Event('beforeprint'))")
        assert set(browser.run(shown)) == {True}
        browser.run("dispatchEvent(new Event('afterprint'))")
        assert set(browser.run(shown)) == {False}


@pytest.mark.slow
def test_report_of_1140_cells_takes_under_30_seconds(tmp_path):
    import time

    start = time.process_time()  # other processes do not count
    path = write_report(synthetic_results(), tmp_path)
    assert time.process_time() - start < 30
    assert path.stat().st_size < 15e6
