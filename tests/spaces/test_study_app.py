"""The page of a study's Space, served and in a browser, against the library's own answers."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from browser import Browser, in_browser
from PIL import Image
from spaces.conftest import serve

from gae_hub.spaces.comparison import MethodRow
from gae_hub.spaces.study_html import page_head, render_comparison

CHILD = Path(__file__).parents[1] / "space_apps.py"
SHOTS = Path(__file__).parents[2] / "build" / "study-space-shots"


@pytest.fixture(scope="module")
def address(study_space):
    with serve(study_space) as found:
        yield found


@pytest.mark.slow
def test_programs_get_the_same_answers(address, views):
    requests = [
        ("setups", {}),
        ("tables", {}),
        ("reconstruct", {"images": [0, 5], "methods": ["AE", "VQVAE"]}),
        ("sample", {"samplers": ["gmm"], "num": 3, "seed": 2}),
        ("interpolate", {"start": 1, "end": 2, "num_steps": 4}),
        ("sample", {"samplers": ["<b>"]}),
    ]
    command = [sys.executable, str(CHILD), "call", address]
    lines = json.dumps([(f"/{name}", arguments) for name, arguments in requests])
    process = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    *answers, error = json.loads(process.stdout)
    for answer, (name, arguments) in zip(answers, requests[:-1], strict=True):
        expected = json.loads(json.dumps(getattr(views, name)(**arguments)))
        for row in (*answer, *expected):
            row.pop("seconds", None)
        assert answer == expected
    assert "a sampler must be one of normal, gmm, got the text '&lt;b&gt;'" in error["error"]


ROWS = "[...document.querySelectorAll('#{0} tbody tr')].map(row => [row.dataset.method, row.dataset.sampler ?? null, "
ROWS += "[...row.querySelectorAll('td.tile img')].map(img => img.src)])"


def rows(found):
    """The same of the answer for programs; the page names samplers for people."""
    return [[row["method"], {"gmm": "GMM"}.get(row["sampler"], row["sampler"]), row["images"]] for row in found]


def wait_for(browser, grid, expected):
    """Wait until a grid shows these rows."""
    browser.wait(f"JSON.stringify({ROWS.format(grid)}) == JSON.stringify({json.dumps(rows(expected))})", 40)


def open_tab(browser, name):
    browser.run(
        f"[...document.querySelectorAll('[role=tab]')].find(tab => tab.textContent.trim() == '{name}').click()"
    )


def choose(browser, field, value):
    """Choose a value of a drop-down list with the keyboard."""
    browser.click(f"#{field} input")
    browser.wait(f"[...document.querySelectorAll('#{field} [role=option]')].length > 0")
    browser.run(
        f"[...document.querySelectorAll('#{field} [role=option]')].find(option => option.textContent.trim()"
        f".replace(/^✓\\s*/, '') == '{value}').dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))"
    )


def untick(browser, selector):
    """Click a box until it stays empty: Gradio sets it again while its accordion opens."""
    box = f"document.querySelector({json.dumps(selector)})"
    for _ in range(20):
        browser.run(f"{box}.checked && {box}.click()")
        time.sleep(0.5)
        if not browser.run(f"{box}.checked"):
            return
    pytest.fail(f"{selector} stays ticked")


@pytest.mark.slow
def test_one_event_computes_the_tables(address):
    """Answers of several events could overtake each other, and the table of earlier choices stay."""
    with urlopen(f"{address}/config") as answer:
        config = json.load(answer)
    names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    writing = [
        dependency["targets"]
        for dependency in config["dependencies"]
        if "interpolations" in [names[output] for output in dependency["outputs"]]
    ]
    change_place, (update,) = sorted(writing, key=len, reverse=True)
    assert {names[control] for control, _ in change_place} == {"dataset", "network", "latent_dim"}
    assert update[1] == "change"


@in_browser
@pytest.mark.slow
def test_every_control_in_a_browser(address, views, tmp_path):
    with Browser(tmp_path / "chromium") as browser:
        browser.open(address)
        first = list(range(8))
        browser.wait("document.querySelectorAll('#reconstructions tbody tr').length == 3")
        wait_for(browser, "reconstructions", views.reconstruct(first))
        browser.screenshot(SHOTS / "reconstruct.png")

        browser.click("#picked label:nth-of-type(10) input")
        wait_for(browser, "reconstructions", views.reconstruct([*first, 9]))
        browser.click("#reconstructions th.number button")  # sorted by error
        errors = "[...document.querySelectorAll('#reconstructions td[data-v]')].map(cell => Number(cell.dataset.v))"
        assert browser.run(errors) == sorted(browser.run(errors))
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(tmp_path / "own.png")
        browser.upload("#files input[type=file]", tmp_path / "own.png")
        uri = f"data:image/png;base64,{base64.b64encode((tmp_path / 'own.png').read_bytes()).decode()}"
        wait_for(browser, "reconstructions", views.reconstruct([*first, 9, uri]))
        choose(browser, "task", "interpolation")
        wait_for(browser, "reconstructions", views.reconstruct([*first, 9, uri], task="interpolation"))
        browser.run("document.querySelector('.methods button').click()")
        browser.wait("document.querySelectorAll('#methods input[type=checkbox]').length >= 3")
        untick(browser, "#methods input[name='AE']")
        expected = views.reconstruct([*first, 9, uri], task="interpolation", methods=["VAE", "VQVAE"])
        wait_for(browser, "reconstructions", expected)

        few = {"task": "interpolation", "methods": ["VAE", "VQVAE"]}
        open_tab(browser, "Sample")
        wait_for(browser, "samples", views.sample(["normal", "gmm"], 10, 0, **few))
        browser.click("#next-seed")
        wait_for(browser, "samples", views.sample(["normal", "gmm"], 10, 1, **few))
        browser.click("#samplers label:nth-of-type(1) input")
        wait_for(browser, "samples", views.sample(["gmm"], 10, 1, **few))
        set_number(browser, "num", 4)
        wait_for(browser, "samples", views.sample(["gmm"], 4, 1, **few))
        browser.screenshot(SHOTS / "sample.png")

        open_tab(browser, "Interpolate")
        wait_for(browser, "interpolations", views.interpolate(0, 1, 10, **few))
        browser.click("#start label:nth-of-type(3) input")
        browser.click("#end label:nth-of-type(4) input")
        set_number(browser, "num_steps", 5)
        wait_for(browser, "interpolations", views.interpolate(2, 3, 5, **few))
        browser.screenshot(SHOTS / "interpolate.png")

        browser.click("#interpolations .open-method[data-method=VQVAE]")
        browser.wait("document.querySelector('#about h3')?.innerText == 'VQVAE'")
        choose(browser, "method", "VAE")
        browser.wait("document.querySelector('#about h3')?.innerText == 'VAE'")
        browser.screenshot(SHOTS / "methods.png")

        open_tab(browser, "Tables")
        browser.wait("!!document.querySelector('#tables th.number button')?.offsetParent")
        heading = "#table-reconstruction th.number"
        browser.click(f"{heading} button")
        values = "[...document.querySelectorAll('#table-reconstruction tbody td[data-v]')]"
        numbers = browser.run(f"{values}.map(cell => Number(cell.dataset.v))")
        measured = {cell.numbers["reconstruction/mse/test"] for cell in views.compared.results.cells}
        assert numbers == sorted(numbers) and set(numbers) <= measured
        browser.run(f"{values}[0].focus()")
        assert "metric" in browser.run("document.getElementById('passport').innerText")
        browser.screenshot(SHOTS / "tables.png")
        open_tab(browser, "Study")
        browser.wait("!!document.querySelector('#facts .facts')?.offsetParent")
        assert not browser.errors and {url.startswith((address, "data:")) for url in browser.requests} == {True}


@in_browser
def test_methods_without_a_model_are_sorted_last(tmp_path):
    """Their row has one cell for all images. Filters of the tables leave it as it is."""
    tile = Image.new("L", (2, 2))
    rows = [MethodRow(method, None, 1, {}, (tile, tile), (mse, mse)) for method, mse in (("AE", 0.3), ("VAE", 0.1))]
    rows.insert(0, MethodRow("GAN", None, None, {}, missing="failed"))
    page = render_comparison("Reconstructions", "input", [("a", tile), ("b", tile)], rows, "{column}")
    page += "<select data-filter='dataset'><option>digits</option></select>"
    (tmp_path / "page.html").write_text(f"{page_head()}<div class='study'>{page}</div>", encoding="utf-8")
    methods = "[...document.querySelectorAll('tbody tr')].map(row => row.dataset.method)"
    with Browser(tmp_path / "chromium") as browser:
        browser.open(tmp_path / "page.html")
        for expected in (["VAE", "AE", "GAN"], ["AE", "VAE", "GAN"]):
            browser.click("th.number button")
            assert browser.run(methods) == expected
        browser.run("document.querySelector('select').dispatchEvent(new Event('change', {bubbles: true}))")
        assert browser.run("document.querySelectorAll('tbody [hidden]').length") == 0 and browser.errors == []


@in_browser
@pytest.mark.slow
def test_a_link_restores_the_page(address, views, tmp_path):
    few = {"task": "interpolation", "methods": ["VAE", "VQVAE"]}
    with Browser(tmp_path / "chromium") as browser:
        link = f"{address}/?tab=sample&task=interpolation&methods=VAE&methods=VQVAE&samplers=gmm&num=3&seed=7"
        browser.open(link)
        wait_for(browser, "samples", views.sample(["gmm"], 3, 7, **few))
        assert browser.run("document.querySelector('[role=tab][aria-selected=true]').textContent.trim()") == "Sample"
        browser.wait(f"window.location.href == '{link}'")
        browser.click("#next-seed")
        browser.wait("new URLSearchParams(window.location.search).get('seed') == '8'")
        open_tab(browser, "Interpolate")
        browser.click("#start label:nth-of-type(3) input")
        browser.wait("new URLSearchParams(window.location.search).get('tab') == 'interpolate'")
        browser.wait("new URLSearchParams(window.location.search).get('start') == '2'")
        wait_for(browser, "interpolations", views.interpolate(2, 1, 10, **few))
        changed = browser.run("window.location.href")
        browser.open("about:blank")
        browser.open(changed)
        wait_for(browser, "interpolations", views.interpolate(2, 1, 10, **few))
        open_tab(browser, "Sample")
        wait_for(browser, "samples", views.sample(["gmm"], 3, 8, **few))
        browser.open(f"{address}/?seed=-1")
        browser.wait("document.body.innerText.includes('The link has values that this Space does not have')")
        # a page that is left while it waits for an answer says that its connection ended
        assert not [error for error in browser.errors if error and "Connection errored out" not in error]


def set_number(browser, field, value):
    """Type a number into a field."""
    selector = f"#{field} input[type=number]"
    browser.run(
        f"(field => {{ field.focus(); field.value = {value};"
        "['input', 'change'].forEach(name => field.dispatchEvent(new Event(name, {bubbles: true}))); field.blur(); })"
        f"(document.querySelector('{selector}'))"
    )


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_phone_and_dark(address, tmp_path, width, dark):
    with Browser(tmp_path / "chromium", width=width, height=844, dark=dark) as browser:
        browser.open(address)
        browser.wait("document.querySelectorAll('#reconstructions tbody tr').length == 3")
        assert browser.run("document.documentElement.scrollWidth") == width
        colour = "getComputedStyle(document.querySelector('.gradio-container')).backgroundColor"
        light = browser.run(f"{colour}.match(/\\d+/g).map(Number)[0]")
        assert (light < 60) == dark
        unnamed = "[...document.querySelectorAll('button, input, select, img')].filter(e => e.checkVisibility() && !("
        unnamed += "e.innerText || e.alt || e.title || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML)"
        assert browser.run(unnamed) == []
        browser.screenshot(SHOTS / f"{'dark' if dark else 'phone'}.png")
