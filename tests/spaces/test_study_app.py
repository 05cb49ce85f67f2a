"""The Space of a study: its folder, and what it computes and shows, against the library's own answers."""

import base64
import io
import json
import re
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import Browser, in_browser
from PIL import Image
from spaces.conftest import serve
from tiny_study import run, tiny

from gae_hub import AutoGAE, AutoSampler, GAEImageProcessor, GenerationPipeline
from gae_hub.cli.main import main
from gae_hub.hub.cards.front_matter import read_metadata
from gae_hub.metrics.functional.reconstruction import squared_error
from gae_hub.spaces.comparison import Comparison, MethodRow
from gae_hub.spaces.study_choices import Choices, first_choices, read_choices
from gae_hub.spaces.study_folder import write_study_space
from gae_hub.spaces.study_html import page_head, render_comparison
from gae_hub.spaces.study_record import read_record
from gae_hub.spaces.study_views import Selected, StudyViews
from gae_hub.study import StudyFolder, StudyResults, load_results
from gae_hub.study.selection import Setup
from gae_hub.study.table import format_entry
from gae_hub.study.tables import build_tables

CHILD = Path(__file__).parents[1] / "space_apps.py"
SHOTS = Path(__file__).parents[2] / "build" / "study-space-shots"
PLACE = ("digits", "mlp", 3)
SETUP = Setup("mlp", "digits", 3)
PLACE_NAMES = ("dataset", "network", "latent_dim")
METHODS = ["AE", "VAE", "VQVAE"]
HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}"
TASKS = {"reconstruction": {"fid": False}, "generation": {"num_samples": 10}, "interpolation": {"num_pairs": 2}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of four cells, with two samplers."""
    folder = tmp_path_factory.mktemp("study") / "tiny"
    assert run(tiny(tasks=TASKS, title="Digits, small"), folder) == {"done": 4}
    return StudyFolder.find(folder)


@pytest.fixture(scope="module")
def space(study, tmp_path_factory):
    """The folder of the study's Space."""
    folder = tmp_path_factory.mktemp("space") / "tiny-space"
    assert main(["space", str(study.root), "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def views(space):
    return StudyViews(space)


def decode(uri):
    """The pixels of a data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def pixels(images):
    return [np.asarray(image).tolist() for image in images]


def load(views, method, task="reconstruction"):
    """Folder, model and processor of a method's chosen configuration, without the Space's own loading."""
    folder = views.compared.select(task, method, SETUP).configuration.cells[0].folder
    return folder, AutoGAE.from_pretrained(folder), GAEImageProcessor.from_pretrained(folder)


# The folder


def test_folder_is_small_complete_and_pinned(space, study):
    metadata = read_metadata((space / "README.md").read_text(encoding="utf-8"))
    requirements = dict(
        re.split("==", line) for line in (space / "requirements.txt").read_text().splitlines() if "==" in line
    )
    assert metadata["sdk"] == "gradio" and metadata["sdk_version"] == requirements["gradio"]
    assert metadata["app_file"] == "app.py" and metadata["suggested_hardware"] == "cpu-basic"
    assert len(metadata["short_description"]) <= 60 and "models" not in metadata
    assert sum(file.stat().st_size for file in space.rglob("*") if file.is_file()) < 1e6
    assert "launch_study_app" in (space / "app.py").read_text()
    for cell in read_record(space).results.cells:
        assert cell.folder is None or (cell.folder / "model.safetensors").is_file()


def test_thumbnail_shows_each_method(space, views):
    picture = Image.open(space / "thumbnail.png")
    assert picture.size == (1200, 630)
    edge = (630 - 160 - 40 - 24) // 3
    for index, method in enumerate(METHODS):
        row = views.reconstruct([index], methods=[method])[0]
        tile = Image.fromarray(decode(row["images"][0])).convert("RGB").resize((edge, edge), Image.Resampling.NEAREST)
        left = 60 + index * (edge + 12)
        assert np.array_equal(np.asarray(picture.convert("RGB").crop((left, 160, left + edge, 160 + edge))), tile)


def test_a_published_space_names_its_thumbnail(study, tmp_path):
    root = write_study_space(study, tmp_path / "space", repo_id="user/demo")
    metadata = read_metadata((root / "README.md").read_text(encoding="utf-8"))
    assert metadata["thumbnail"] == "https://huggingface.co/spaces/user/demo/resolve/main/thumbnail.png"


def test_record_has_every_number_and_passport(space, study):
    stored, results = read_record(space).results, load_results(study)
    assert [replace(cell, folder=None) for cell in stored.cells] == [
        replace(cell, folder=None) for cell in results.cells
    ]
    for part in fields(StudyResults):
        assert part.name == "cells" or getattr(stored, part.name) == getattr(results, part.name)


def test_writing_again_gives_the_same_files(space, study, tmp_path):
    again = tmp_path / "again"
    (again / "models" / "old").mkdir(parents=True)
    write_study_space(study, again)
    first, second = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (space, again)
    )
    assert first == second and not (again / "models" / "old").exists()


def test_published_models_are_named_and_not_copied(study, tmp_path):
    root = write_study_space(study, tmp_path / "space", published="user/tiny")
    metadata = read_metadata((root / "README.md").read_text(encoding="utf-8"))
    assert metadata["models"] == metadata["preload_from_hub"] and "user/tiny-ae-01" in metadata["models"]
    assert metadata["datasets"] == ["user/tiny-results"] and not list(root.rglob("*.safetensors"))
    model = next(model for model in read_record(root).models.values() if model.source == "user/tiny-ae-01")
    assert model.is_published and sorted(model.samplers) == ["gmm", "normal"]
    assert "sampler" in model.samplers.values()


def test_errors_say_what_to_do(study, space, tmp_path):
    with pytest.raises(ValueError, match="publish them with gae-hub study publish, and name them with --published"):
        write_study_space(study, tmp_path / "space", max_model_bytes=1000)
    with pytest.raises(ValueError, match="holds no study's Space: write it with gae-hub space STUDY_FOLDER"):
        read_record(tmp_path)
    (tmp_path / "results.json.gz").write_bytes((space / "results.json.gz").read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read: .*; write the Space again"):
        read_record(tmp_path)


# What it computes


@pytest.mark.parametrize("method", METHODS)
def test_rows_equal_the_methods_of_the_model(views, method):
    folder, model, processor = load(views, method)
    examples = views.compared.examples(SETUP).pixel_values
    expected = model.reconstruct(examples[:3])
    (row,) = views.reconstruct([0, 1, 2], methods=[method])
    assert [decode(uri).tolist() for uri in row["images"]] == pixels(processor.postprocess(expected))
    assert row["errors"] == squared_error(expected, examples[:3]).tolist()
    for row, name in zip(views.sample(["normal", "gmm"], 4, 7, methods=[method]), ("normal", "gmm"), strict=True):
        sampler = AutoSampler.from_pretrained(folder, subfolder=f"samplers/{name}")
        assert row["sampler"] == name
        assert [decode(uri).tolist() for uri in row["images"]] == pixels(
            GenerationPipeline(model, sampler, processor)(4, seed=7)
        )
    (row,) = views.interpolate(0, 3, 5, methods=[method])
    path = model.interpolate(examples[:1], examples[3:4], 5)[0]
    assert [decode(uri).tolist() for uri in row["images"]] == pixels(processor.postprocess(path))


def test_task_chooses_the_configuration(views):
    chosen = {task: views.compared.select(task, "VAE", SETUP).configuration for task in views.compared.tasks}
    for task, configuration in chosen.items():
        (row,) = views.reconstruct([0], task=task, methods=["VAE"])
        assert row["configuration"] == configuration.number and row["fields"] == configuration.fields


def test_models_beyond_the_bound_are_dropped_and_loaded_again(space, views):
    compared = Comparison(space, max_cache_bytes=1)
    x = compared.examples(SETUP).pixel_values[:2]
    for _ in range(2):
        rows = compared.reconstruct(SETUP, "reconstruction", METHODS, x)
        assert len(compared.cache) == 1
        expected = views.compared.reconstruct(SETUP, "reconstruction", METHODS, x)
        assert [pixels(row.images) for row in rows] == [pixels(row.images) for row in expected]
    assert compared.cache.num_loaded == 6 and len(views.compared.cache) >= 3


def test_an_uploaded_image_is_read_as_the_processor_reads_it(views, tmp_path):
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "own.png")
    uri = f"data:image/png;base64,{base64.b64encode((tmp_path / 'own.png').read_bytes()).decode()}"
    _, model, processor = load(views, "AE")
    expected = processor.postprocess(model.reconstruct(processor(tmp_path / "own.png")["pixel_values"]))
    (row,) = views.reconstruct([uri], methods=["AE"])
    assert [decode(found).tolist() for found in row["images"]] == pixels(expected)
    page = views.show_reconstructions(Selected(*PLACE, "reconstruction", ["AE"]), [0], [str(tmp_path / "own.png")])
    assert row["images"][0] in page and "image 1 of yours" in page


def test_tables_are_those_of_the_study(views, study):
    tables = build_tables(load_results(study))
    assert [table["name"] for table in views.tables()] == [table.name for table in tables]
    for found, table in zip(views.tables(), tables, strict=True):
        assert found["rows"][0] == [*table.rows[0].labels, *map(format_entry, table.rows[0].entries, table.columns)]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("reconstruct", {"images": []}, "one or more indices of test images or data URIs"),
        ("reconstruct", {"images": [999]}, "an index of a test image must be an integer from 0 to 23, got 999"),
        ("reconstruct", {"images": ["data:image/png;base64,AAAA"]}, "this is not an image file of a known kind"),
        ("reconstruct", {"images": ["data:image/png;base64,AAAA"] * 9}, "at most 8 images at a time, got 9"),
        (
            "reconstruct",
            {"images": [0], "methods": ["none"]},
            "be one of AE, VAE, VQVAE, got the text 'none'",
        ),
        ("reconstruct", {"images": [0], "task": "x"}, "task must be one of reconstruction, generation, interpolation"),
        ("reconstruct", {"images": [0], "dataset": "x"}, "no models for x, , 0; it has: digits, mlp, 3"),
        ("sample", {"samplers": ["x"]}, "a sampler must be one of normal, gmm, got the text 'x'"),
        ("sample", {"samplers": ["gmm"], "num": 25}, "the number of images must be an integer from 1 to 24, got 25"),
        ("sample", {"samplers": ["gmm"], "seed": -1}, "the seed must be an integer from 0 to"),
        ("interpolate", {"start": 0, "end": 1, "num_steps": 1}, "the number of steps must be an integer from 2 to 16"),
    ],
)
def test_requests_are_checked(views, function, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(views, function)(**arguments)


def test_no_file_of_the_machine_can_be_named(views):
    with pytest.raises(ValueError, match="base64"):
        views.reconstruct(["/etc/passwd"])


def test_hostile_names_are_escaped():
    tile = Image.new("L", (2, 2))
    row = MethodRow(HOSTILE, HOSTILE, 1, {HOSTILE: HOSTILE}, (tile,), (0.5,))
    missing = MethodRow(HOSTILE, None, None, {}, missing=HOSTILE)
    page = render_comparison(HOSTILE, HOSTILE, [(HOSTILE, tile)], [row, missing], "{column}")
    assert "<script>" not in page and "&lt;script&gt;" in page and "{{ 7*7 }}" in page


def test_style_of_the_blocks_applies_inside_the_study_only():
    style = page_head().partition("<style>")[2].partition("</style>")[0]
    assert style.startswith(".study {") and style.count("{") == style.count("}")


# Links


def test_a_link_holds_every_choice(views):
    first = first_choices(views, SETUP)
    assert read_choices(views, "") == (first, [])
    changed = Choices(
        "interpolate",
        *PLACE,
        "interpolation",
        ["VQVAE"],
        [3, 5],
        ["gmm"],
        num=4,
        seed=9,
        start=2,
        end=7,
        num_steps=5,
        method="VAE",
    )
    query = urlencode(changed.to_dict(), doseq=True)
    assert all(getattr(changed, name) != value for name, value in first.to_dict().items() if name not in PLACE_NAMES)
    assert read_choices(views, f"?{query}") == (changed, [])
    assert read_choices(views, "?methods=&picked=&samplers=")[0] == replace(first, methods=[], picked=[], samplers=[])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("tab=nowhere", "tab must be one of reconstruct"),
        ("dataset=mnist", "this Space has no models for mnist, mlp, 3"),
        ("methods=VAE&methods=GAN", "a method must be one of AE"),
        ("picked=1&picked=900", "an index of a test image must be an integer from 0"),
        ("num=9e9", "the number of images must be an integer"),
        ("seed=-1", "the seed must be an integer"),
        ("num_steps=2", "the number of steps must be an integer from 3"),
        ("method=<script>", "a method must be one of"),
    ],
)
def test_a_link_with_unknown_values_is_as_at_first_and_says_so(views, query, message):
    choices, errors = read_choices(views, f"?{query}&seed=5" if "seed" not in query else f"?{query}")
    assert choices == replace(first_choices(views, SETUP), seed=0 if "seed" in query else 5)
    assert len(errors) == 1 and message in errors[0]


# Served


@pytest.fixture(scope="module")
def address(space):
    with serve(space) as found:
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


def shown(browser, grid):
    """Method, sampler and images of each row of a grid."""
    return browser.run(ROWS.format(grid))


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


def upload(browser, selector, path):
    document = browser.send("DOM.getDocument")["root"]["nodeId"]
    node = browser.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
    browser.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


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
        upload(browser, "#files input[type=file]", tmp_path / "own.png")
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
@pytest.mark.slow
def test_a_link_restores_the_page(address, views, tmp_path):
    few = {"task": "interpolation", "methods": ["VAE", "VQVAE"]}
    with Browser(tmp_path / "chromium") as browser:
        link = f"{address}/?tab=sample&task=interpolation&methods=VAE&methods=VQVAE&samplers=gmm&num=3&seed=7"
        browser.open(link)
        wait_for(browser, "samples", views.sample(["gmm"], 3, 7, **few))
        assert browser.run("document.querySelector('[role=tab][aria-selected=true]').textContent.trim()") == "Sample"
        assert browser.run("window.location.href") == link
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
