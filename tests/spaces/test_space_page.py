"""A served Space: every control in a real browser, and every function for programs, against the library's answers."""

import base64
import csv
import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import Browser, in_browser
from PIL import Image
from spaces.conftest import serve

from gae_hub import AutoGAE, AutoSampler, BetaVAEConfig, BetaVAEModel, GAEImageProcessor, VAEConfig, VAEModel
from gae_hub.cli.main import main
from gae_hub.spaces.endpoints import Endpoints
from gae_hub.spaces.example_sets import ExampleSet
from gae_hub.spaces.explorer_loading import load_explorer
from gae_hub.spaces.space_folder import write_space

CHILD = Path(__file__).parents[1] / "space_apps.py"
SHOTS = Path(__file__).parents[2] / "build" / "space-shots"
NUM_STRIPS = "document.querySelectorAll('#panel-explore .gae-film img').length"  # images of all strips
CLASSES = ("plain", 'of "quotes", and a comma', *map(str, range(2, 12)))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def endpoints(space):
    """The functions of the same Space in this process."""
    return Endpoints(load_explorer(space / "model", space / "examples.npz"))


def call(address, *requests):
    """Answers of the served functions, from a process of its own: Gradio's client leaves sockets open."""
    command = [sys.executable, str(CHILD), "call", address]
    process = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_programs_get_the_same_answers(address, endpoints, tmp_path):
    values, picture = [0.5, -0.5, 0.25, 0.0], tmp_path / "picture.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(picture)
    uri = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    requests = [
        ("sample", {"sampler": "sampler", "seed": 3, "num_samples": 5}),
        ("vary", {"sampler": "prior", "seed": 3, "num_samples": 5, "index": 2}),
        ("reconstruct", {"image": 1}),
        ("embed", {"image": uri}),
        ("interpolate", {"start": 0, "end": uri, "num_steps": 4}),
        ("explore", {"values": values, "example": 2}),
        ("traverse", {"values": values, "axes": [1, 0]}),
        ("decode_point", {"x": 0.5, "y": -1}),
        ("sample_latents", {"sampler": "prior", "seed": 1, "format": "csv"}),
        ("image_latents", {"image": 0}),
        ("explored_latents", {"values": values}),
    ]
    expected = [getattr(endpoints, name)(**arguments) for name, arguments in requests]
    upload, *answers = call(
        address,
        ("/reconstruct", {"image": {"upload": str(picture)}}),
        *[(f"/{name}", arguments) for name, arguments in requests],
    )
    assert answers == expected
    assert upload == endpoints.reconstruct(uri)


def test_errors_of_the_served_functions_are_words(address, tmp_path):
    (tmp_path / "text.png").write_text("no image at all")
    wrong = call(
        address,
        ("/sample", {"sampler": "prior", "seed": -1}),
        ("/sample", {"sampler": "prior", "num_samples": 10**9}),
        ("/reconstruct", {"image": {"upload": str(tmp_path / "text.png")}}),
        ("/reconstruct", {"image": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}),
    )
    texts = [answer["error"] for answer in wrong]
    assert "seed must be an integer from 0 to" in texts[0] and "num_samples must be an integer from 1" in texts[1]
    assert "this is not an image file of a known kind" in texts[2]
    assert "Traceback" not in "".join(texts) and "root:" not in "".join(texts)


@pytest.mark.parametrize("path", ["/etc/passwd", "app.py", "model/model.safetensors", "../space/requirements.txt"])
def test_files_are_not_served(address, space, path):
    found = path if path.startswith("/") else str(space / path)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{address}/gradio_api/file={found}", timeout=60)
    raised.value.close()
    assert raised.value.code in (403, 404)


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def visit(browser, address, query, ready):
    """Open the page, wait until its panel has an answer, and check that nothing went wrong."""
    browser.open("about:blank")  # requests of the page before end here
    browser.errors.clear()
    browser.open(f"{address}/?{query}")
    browser.wait(ready, 120)
    assert browser.errors == []


def sources(browser, selector):
    """The images that a page shows, as pixels."""
    uris = browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(image => image.src)")
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))) for uri in uris]


def wait_for(browser, selector, uris):
    """Wait until the page shows these images."""
    text = json.dumps(list(uris))
    shown = f"JSON.stringify([...document.querySelectorAll({json.dumps(selector)})].map(image => image.src))"
    browser.wait(f"{shown} == JSON.stringify({text})", 60)


def enter(browser, selector, value, event="input"):
    """Set the value of a control as a visitor does."""
    value, event, selector = map(json.dumps, (value, event, selector))
    browser.run(
        f"(e => {{ e.value = {value}; e.dispatchEvent(new Event({event}, {{bubbles: true}})) }})"
        f"(document.querySelector({selector}))"
    )


def start_values(endpoints):
    """The values of all sliders at first."""
    return endpoints.explorer.axes.coordinates(endpoints.explorer.base_latents(None))[0].tolist()


@in_browser
def test_sample(browser, address, endpoints, trained):
    visit(browser, address, "", "document.querySelectorAll('.gae-tile').length == 16")
    model, sampler = AutoGAE.from_pretrained(trained), AutoSampler.from_pretrained(trained, subfolder="sampler")
    generated = model.generate(16, sampler=sampler, generator=torch.Generator().manual_seed(0))
    images = GAEImageProcessor.from_pretrained(trained).postprocess(generated)
    found = sources(browser, ".gae-tile img")
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(found, images, strict=True))
    enter(browser, "#panel-sample select", "prior", "change")
    wait_for(browser, ".gae-tile img", endpoints.sample("prior", 0, 16)["images"])
    enter(browser, "#panel-sample input[type=number]", 7)
    wait_for(browser, ".gae-tile img", endpoints.sample("prior", 7, 16)["images"])
    enter(browser, "#panel-sample .gae-grow input", 9)
    wait_for(browser, ".gae-tile img", endpoints.sample("prior", 7, 9)["images"])
    browser.click(".gae-tile:nth-child(4)")
    wait_for(browser, ".gae-variations img", endpoints.vary("prior", 7, 9, 3, 0.4)["images"])
    enter(browser, ".gae-detail input[type=range]", 1)
    wait_for(browser, ".gae-variations img", endpoints.vary("prior", 7, 9, 3, 1.0)["images"])
    browser.click(".gae-detail .gae-actions button")
    wait_for(browser, ".gae-variations img", endpoints.vary("prior", 7, 9, 3, 1.0, variation_seed=1)["images"])
    browser.wait("location.search == '?sampler=prior&seed=7&num=9&image=3&distance=1&variation=1'")
    # the link restores all of it
    visit(browser, address, browser.run("location.search")[1:], "document.querySelectorAll('.gae-tile').length == 9")
    wait_for(browser, ".gae-variations img", endpoints.vary("prior", 7, 9, 3, 1.0, variation_seed=1)["images"])
    browser.click(".gae-joined button")
    browser.wait("document.querySelector('.gae-detail').hidden")
    seed = int(browser.run("document.querySelector('#panel-sample input[type=number]').value"))
    wait_for(browser, ".gae-tile img", endpoints.sample("prior", seed, 9)["images"])


@in_browser
def test_reconstruct(browser, address, endpoints):
    visit(browser, address, "tab=reconstruct", "document.querySelector('.gae-numbers dd') !== null")
    browser.click("#panel-reconstruct .gae-thumb:nth-child(6)")
    found = endpoints.reconstruct(5)
    wait_for(browser, ".gae-pair figure:nth-child(2) img", [found["reconstruction"]])
    assert browser.run("document.querySelector('.gae-numbers').textContent").startswith("Mean squared error")
    assert browser.run("Number(document.querySelector('.gae-numbers dd').textContent)") == pytest.approx(
        found["mse"], rel=0.01
    )
    browser.click("#panel-reconstruct [aria-label='Input: draw an image']")
    before = browser.run("document.querySelector('.gae-pair img').src")
    browser.drag(".gae-pad", (0.3, 0.2), (0.6, 0.8))
    browser.wait(f"document.querySelector('.gae-pair img').src != {json.dumps(before)}", 60)
    drawing = browser.run("document.querySelector('.gae-pad').toDataURL('image/png')")
    wait_for(browser, ".gae-pair figure:nth-child(1) img", [endpoints.reconstruct(drawing)["input"]])
    # a file that is no image: words in a message, and the page goes on
    browser.run(
        "(input => { const files = new DataTransfer(); files.items.add(new File(['text'], 'a.png'));"
        "input.files = files.files; input.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#panel-reconstruct input[type=file]'))"
    )
    browser.wait("document.body.textContent.includes('this is not an image file of a known kind')", 60)
    browser.click("#panel-reconstruct .gae-thumb:nth-child(2)")
    wait_for(browser, ".gae-pair figure:nth-child(2) img", [endpoints.reconstruct(1)["reconstruction"]])


@in_browser
def test_interpolate(browser, address, endpoints):
    visit(browser, address, "tab=interpolate&from=2&to=7", "document.querySelectorAll('.gae-film img').length == 16")
    path = endpoints.interpolate(2, 7, 16, "straight")["images"]
    wait_for(browser, "#panel-interpolate .gae-film img", path)
    enter(browser, ".gae-player input", 11)
    wait_for(browser, ".gae-stage img", [path[11]])
    browser.click(".gae-player button")
    browser.wait("document.querySelector('.gae-player button').textContent == 'Pause'")
    browser.wait(f"document.querySelector('.gae-stage img').src != {json.dumps(path[11])}")
    browser.click(".gae-player button")
    browser.click("#panel-interpolate .gae-film button:nth-child(16)")
    wait_for(browser, ".gae-stage img", [path[15]])
    browser.wait("location.search.includes('t=1.000')")
    browser.click("#panel-interpolate section:nth-child(2) .gae-thumb:nth-child(1)")
    wait_for(browser, "#panel-interpolate .gae-film img", endpoints.interpolate(2, 0, 16, "straight")["images"])


@in_browser
def test_explore(browser, address, endpoints):
    visit(browser, address, "tab=explore", f"{NUM_STRIPS} > 0")
    values = start_values(endpoints)
    num = browser.run("document.querySelectorAll('.gae-axis').length")
    wait_for(browser, "#panel-explore .gae-frame img", [endpoints.explore(values[:num])["image"]])
    enter(browser, ".gae-axis:nth-child(1) input[type=range]", values[0] + 1)
    values[0] = float(browser.run("document.querySelector('.gae-axis input[type=range]').value"))
    wait_for(browser, "#panel-explore .gae-frame img", [endpoints.explore(values[:num])["image"]])
    enter(browser, ".gae-axis:nth-child(1) input[type=range]", values[0], "change")
    wait_for(browser, "#panel-explore .gae-film img", endpoints.traverse(values[:num], list(range(num)), 7)["images"])
    enter(browser, ".gae-name", "slant & size")
    browser.wait("location.search.includes('names=0.slant')")
    assert browser.run("document.querySelector('.gae-axis input[type=range]').ariaLabel") == "Value of slant & size"
    link = browser.run("location.search")
    visit(browser, address, link[1:], f"{NUM_STRIPS} > 0")
    assert browser.run("document.querySelector('.gae-name').value") == "slant & size"
    assert float(browser.run("document.querySelector('.gae-axis input[type=range]').value")) == pytest.approx(
        values[0], abs=0.03
    )
    browser.click("#panel-explore section > button")  # shows more directions
    browser.wait(f"document.querySelectorAll('.gae-axis').length > {num}")
    num = browser.run("document.querySelectorAll('.gae-axis').length")
    strip = ".gae-axis:nth-child(2) .gae-film button:nth-child(7)"
    browser.wait(f"document.querySelector('{strip}') !== null")
    browser.click(strip)
    high = endpoints.explorer.axes.high[1]
    browser.wait(f"Math.abs(document.querySelectorAll('.gae-axis input[type=range]')[1].value - {high}) < 0.05")
    enter(browser, "#panel-explore select", "3", "change")
    start = endpoints.explorer.axes.coordinates(endpoints.explorer.embeddings[3:4])[0].tolist()
    wait_for(browser, "#panel-explore .gae-frame img", [endpoints.explore(start[:num], 3)["image"]])


@in_browser
def test_quick_moves_do_not_queue(browser, address, endpoints):
    """Of 20 moves in a row, the frames between are dropped, and the last one is shown."""
    visit(browser, address, "tab=explore", f"{NUM_STRIPS} > 0")
    found = browser.run(
        "new Promise(done => { let answers = 0; addEventListener('gae:answer:explore:explore', () => answers += 1);"
        "const slider = document.querySelector('.gae-axis input[type=range]'); const low = Number(slider.min);"
        "for (let i = 1; i <= 20; i += 1) { slider.value = low + i * (slider.max - low) / 25;"
        "slider.dispatchEvent(new Event('input')); }"
        "setTimeout(() => done([answers, Number(slider.value)]), 5000); })"
    )
    num = browser.run("document.querySelectorAll('.gae-axis').length")
    values = start_values(endpoints)[:num]
    values[0] = found[1]
    wait_for(browser, "#panel-explore .gae-frame img", [endpoints.explore(values)["image"]])
    assert found[0] <= 4


@in_browser
def test_moves_and_strips_that_are_asked_for_together(browser, address, endpoints):
    """Requests of one kind that wait are still there when others have been sent meanwhile."""
    visit(browser, address, "tab=explore&axes=4", f"{NUM_STRIPS} == 28")
    values = start_values(endpoints)
    values[0] = browser.run(
        "new Promise(done => { const slider = document.querySelector('.gae-axis input[type=range]');"
        "const low = Number(slider.min), width = slider.max - low; let frame = 0;"
        "const move = () => { frame += 1; slider.value = low + frame * width / 100;"
        "slider.dispatchEvent(new Event('input')); if (frame % 8 == 0) slider.dispatchEvent(new Event('change'));"
        "if (frame < 80) requestAnimationFrame(move); else done(Number(slider.value)); }; move(); })"
    )
    wait_for(browser, "#panel-explore .gae-frame img", [endpoints.explore(values)["image"]])
    wait_for(browser, "#panel-explore .gae-film img", endpoints.traverse(values, [0, 1, 2, 3], 7)["images"])
    assert browser.run("document.querySelectorAll('.toast-body').length") == 0


@in_browser
def test_map(browser, address, endpoints):
    visit(browser, address, "tab=map", "document.querySelector('#panel-map .gae-frame img') !== null")
    before = browser.run("document.querySelector('#panel-map .gae-frame img').src")
    browser.drag(".gae-map", (0.2, 0.2), (0.8, 0.3))
    browser.wait("location.search.includes('x=')")
    browser.wait(f"document.querySelector('#panel-map .gae-frame img').src != {json.dumps(before)}", 60)
    assert browser.run("document.querySelector('.gae-nearest').textContent").startswith("Example")
    visit(browser, address, "tab=map&x=0.2&y=-0.1", "document.querySelector('#panel-map .gae-frame img') !== null")
    wait_for(browser, "#panel-map .gae-frame img", [endpoints.decode_point(0.2, -0.1)["image"]])
    browser.run("document.querySelector('.gae-map').focus()")
    browser.press("ArrowLeft")
    browser.wait("!location.search.includes('x=0.2&')")
    browser.click(".gae-legend button")
    assert browser.run("document.querySelector('.gae-legend button').getAttribute('aria-pressed')") == "false"


@in_browser
def test_tabs_about_and_labels(browser, address):
    """Arrow keys move between the tabs, the card is shown, and every control and picture has a name."""
    visit(browser, address, "", "document.querySelectorAll('.gae-tile').length == 16")
    browser.run("document.querySelector('[role=tab]').focus()")
    browser.press("ArrowLeft")
    browser.wait("document.querySelector('#panel-about[data-shown]') !== null")
    browser.wait("document.querySelector('#panel-about').textContent.includes('/traverse(')")
    assert browser.run("document.querySelectorAll('#panel-about img, #panel-about script').length") == 0
    for name in ("sample", "reconstruct", "interpolate", "explore", "map"):
        browser.click(f"#tab-{name}")
        browser.wait(f"document.querySelector('#panel-{name}[data-shown] button') !== null")
        unnamed = browser.run(
            "[...document.querySelectorAll('[data-shown] :is(button, input, select, canvas)')]"
            ".filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length)))"
            ".map(e => e.outerHTML)"
        )
        assert unnamed == []
        assert browser.run("[...document.querySelectorAll('[data-shown] img')].every(e => e.hasAttribute('alt'))")


@in_browser
@pytest.mark.parametrize("mode", ["desktop", "phone", "dark"])
def test_pictures_of_every_tab(address, tmp_path, mode):
    """Nothing is wider than the window. The pictures are kept in build/space-shots."""
    width = 390 if mode == "phone" else 1280
    with Browser(tmp_path, width, 844 if mode == "phone" else 900, dark=mode == "dark") as page:
        for name in ("sample", "reconstruct", "interpolate", "explore", "map", "about"):
            shown = f"#panel-{name}[data-shown]" + ("" if name == "about" else " img")
            ready = f"document.querySelector('{shown}') !== null"
            visit(page, address, f"tab={name}" + ("&image=3" if name == "sample" else ""), ready)
            page.wait("![...document.querySelectorAll('[data-shown] .gae-frame')].some(e => !e.firstChild)", 60)
            assert page.run("document.documentElement.scrollWidth") <= width
            page.screenshot(SHOTS / f"{name}-{mode}.png")


# Classes in a browser


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """The folder of the Space of a conditional VAE, and the functions of the same Space in this process."""
    source, folder = (tmp_path_factory.mktemp("conditional") / name for name in ("model", "space"))
    torch.manual_seed(0)
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=3, num_classes=3, condition_dropout=0.1))
    for parameter in model.parameters():
        parameter.data.mul_(2)
    model.save_pretrained(source)
    GAEImageProcessor.for_model(model).save_pretrained(source)
    labels = (torch.arange(12) % 3).tolist()
    write_space(source, folder, examples=ExampleSet(torch.rand(12, 1, 8, 8), "random", labels, ("a", "b", "c")))
    return folder, Endpoints(load_explorer(folder / "model", folder / "examples.npz"))


@in_browser
def test_one_class_for_all_tabs(browser, conditional):
    """The class and the guidance scale are those of every request, and the link keeps them."""
    folder, endpoints = conditional
    chosen, slider = ".gae-classes select", ".gae-classes input"
    with serve(folder) as address:
        visit(browser, address, "", "document.querySelectorAll('.gae-tile').length == 16")
        wait_for(browser, ".gae-tile img", endpoints.sample("prior", 0, 16)["images"])
        enter(browser, chosen, "2", "change")
        wait_for(browser, ".gae-tile img", endpoints.sample("prior", 0, 16, class_label=2)["images"])
        assert browser.run("document.querySelector('.gae-tile').ariaLabel").startswith("Sample 1 of 16 as c")
        enter(browser, slider, 3)
        choice = {"class_label": 2, "guidance_scale": 3}
        wait_for(browser, ".gae-tile img", endpoints.sample("prior", 0, 16, **choice)["images"])
        browser.click("#tab-reconstruct")
        picture = ".gae-pair figure:nth-child(2) img"
        wait_for(browser, picture, [endpoints.reconstruct(0, **choice)["reconstruction"]])
        assert (
            browser.run("document.querySelector('.gae-pair figure:nth-child(2)').textContent") == "Reconstruction as c"
        )
        browser.wait("['class=2', 'guidance=3'].every(text => location.search.includes(text))")
        # a tab that was shown before follows when it is shown again
        enter(browser, chosen, "-1", "change")
        wait_for(browser, picture, [endpoints.reconstruct(0, class_label=-1, guidance_scale=3)["reconstruction"]])
        browser.click("#tab-sample")
        unclassed = endpoints.sample("prior", 0, 16, class_label=-1, guidance_scale=3)
        wait_for(browser, ".gae-tile img", unclassed["images"])
        # the link restores both
        film = "#panel-interpolate .gae-film img"
        visit(
            browser, address, "tab=interpolate&class=1&guidance=2", f"document.querySelectorAll('{film}').length == 16"
        )
        choice = {"class_label": 1, "guidance_scale": 2}
        wait_for(browser, film, endpoints.interpolate(0, 1, 16, "straight", **choice)["images"])
        browser.click("#tab-explore")
        values = start_values(endpoints)
        wait_for(browser, "#panel-explore .gae-frame img", [endpoints.explore(values, **choice)["image"]])
        wait_for(browser, "#panel-explore .gae-film img", endpoints.traverse(values, [0, 1, 2], 7, **choice)["images"])
        browser.click("#tab-map")
        browser.wait("document.querySelector('#panel-map .gae-frame img') !== null", 60)
        browser.wait("document.querySelector('#panel-map').textContent.includes('Decoded as b')")
        browser.click("#tab-about")
        browser.wait("document.querySelector('.gae-classes').hidden")


# Links, focus and limits in a browser


@in_browser
@pytest.mark.parametrize("query", ["example=1.5", "example=0x", "example=99", "example="])
def test_a_link_with_a_wrong_example_shows_the_first(browser, address, endpoints, query):
    visit(browser, address, f"tab=reconstruct&{query}", "document.querySelector('.gae-numbers dd') !== null")
    wait_for(browser, ".gae-pair figure:nth-child(2) img", [endpoints.reconstruct(0)["reconstruction"]])


@in_browser
def test_links_with_wrong_numbers_show_what_is_there_at_first(browser, address, endpoints):
    visit(browser, address, "seed=0.5&num=2.5&image=1.5", "document.querySelectorAll('.gae-tile').length == 16")
    wait_for(browser, ".gae-tile img", endpoints.sample("sampler", 0, 16)["images"])
    assert browser.run("document.querySelector('.gae-detail').hidden")
    film = "#panel-interpolate .gae-film img"
    visit(browser, address, "tab=interpolate&from=0.5&to=-1", f"document.querySelector('{film}') !== null")
    wait_for(browser, film, endpoints.interpolate(0, 1, 16, "straight")["images"])
    visit(browser, address, "tab=explore&base=0.5&axes=2.5&z=1e9_x", f"{NUM_STRIPS} > 0")
    num = browser.run("document.querySelectorAll('.gae-axis').length")
    wait_for(browser, "#panel-explore .gae-frame img", [endpoints.explore(start_values(endpoints)[:num])["image"]])


@in_browser
def test_the_address_is_written_once_changes_end(browser, address, endpoints):
    visit(browser, address, "", "document.querySelectorAll('.gae-tile').length == 16")
    change = "const seed = document.querySelector('#panel-sample input[type=number]');"
    change += "const enter = value => { seed.value = value; seed.dispatchEvent(new Event('input')); };"
    early, late, query = browser.run(
        f"new Promise(done => {{ {change} let count = 0; const write = history.replaceState;"
        "history.replaceState = (...values) => { count += 1; write.apply(history, values); };"
        "for (let value = 1; value <= 200; value += 1) enter(value);"
        "const early = count; setTimeout(() => done([early, count, location.search]), 2000); })"
    )
    assert early == 0 and 1 <= late <= 2 and query == "?seed=200"  # the answer may come after the first write
    copied = f"(() => {{ {change} enter(5); document.querySelector('.gae-links button').click(); "
    assert browser.run(f"{copied} return location.search; }})()") == "?seed=5"
    # a browser that allows no more changes: the panel goes on
    limit = "history.replaceState = () => { throw new DOMException('too many calls', 'SecurityError'); };"
    browser.run(f"(() => {{ {limit} {change} enter(9); }})()")
    wait_for(browser, ".gae-tile img", endpoints.sample("sampler", 9, 16)["images"])
    browser.run("new Promise(done => setTimeout(done, 500))")
    assert browser.errors == [] and browser.run("location.search") == "?seed=5"


@in_browser
def test_an_upload_is_sent_with_its_own_requests_only(browser, address, endpoints, tmp_path):
    """Requests of other kinds, and of the examples, do not send it again."""
    picture = tmp_path / "own.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(picture)
    uri = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    visit(browser, address, "tab=reconstruct", "document.querySelector('.gae-numbers dd') !== null")
    browser.run(
        "(() => { window.sent = []; const send = window.fetch;"
        "window.fetch = (...request) => { sent.push(String(request[1]?.body ?? '')); return send(...request); };"
        "addEventListener('gae:answer:reconstruct:image_latents', () => { window.hasLatents = true; }); })()"
    )
    browser.upload("#panel-reconstruct input[type=file]", picture)
    result = ".gae-pair figure:nth-child(2) img"
    wait_for(browser, result, [endpoints.reconstruct(uri)["reconstruction"]])
    browser.click("#panel-reconstruct .gae-downloads button:nth-child(3)")
    browser.wait("window.hasLatents", 60)
    browser.click("#panel-reconstruct .gae-thumb:nth-child(3)")
    wait_for(browser, result, [endpoints.reconstruct(2)["reconstruction"]])
    sent = [body for body in browser.run("sent") if "reconstruct" in body or "image_latents" in body]
    assert [body.count("data:image/png") for body in sent] == [1, 1, 0]
    assert browser.errors == []


@in_browser
def test_a_drawing_starts_in_its_area_and_clear_shows_the_empty_one(browser, address, endpoints):
    visit(browser, address, "tab=reconstruct", "document.querySelector('.gae-numbers dd') !== null")
    browser.click("#panel-reconstruct [aria-label='Input: draw an image']")
    drawing = "document.querySelector('.gae-pad').toDataURL()"
    empty = browser.run(drawing)
    browser.drag(".gae-pad", (0.3, 0.2), (0.6, 0.8))
    drawn = browser.run(drawing)
    browser.drag(".gae-pad", (-0.1, 0.5), (0.9, 0.5))  # pressed outside
    assert browser.run(drawing) == drawn != empty
    result = ".gae-pair figure:nth-child(-n+2) img"
    for uri in (drawn, empty):
        found = endpoints.reconstruct(uri)
        wait_for(browser, result, [found["input"], found["reconstruction"]])
        browser.click(".gae-drawing button")
    assert browser.run(drawing) == empty
    assert len(np.unique(sources(browser, result)[0])) == 1
    assert browser.run("document.querySelector('.gae-pad').tabIndex") == -1  # no keys draw


@in_browser
def test_the_focus_stays_where_it_is(browser, address, endpoints):
    active = "document.activeElement === document.querySelector({})".format
    visit(browser, address, "tab=explore&axes=4", f"{NUM_STRIPS} == 28")
    other = "document.querySelector('.gae-axis:nth-child(1) .gae-film img').src"
    before = browser.run(other)
    frame = json.dumps(".gae-axis:nth-child(2) .gae-film button:nth-child(6)")
    browser.run(f"document.querySelector({frame}).focus()")
    browser.press("Enter")
    browser.wait(f"{other} != {json.dumps(before)}", 60)  # all strips have changed
    assert browser.run(active(frame))
    browser.click("#tab-sample")
    browser.wait("document.querySelectorAll('.gae-tile').length == 16", 60)
    tile = json.dumps(".gae-tile:nth-child(4)")
    browser.run(f"document.querySelector({tile}).focus()")
    enter(browser, "#panel-sample input[type=number]", 3)
    wait_for(browser, ".gae-tile img", endpoints.sample("sampler", 3, 16)["images"])
    assert browser.run(active(tile))
    browser.press("Enter")
    wait_for(browser, ".gae-variations img", endpoints.vary("sampler", 3, 16, 3)["images"])
    browser.run("document.querySelector('.gae-detail .gae-quiet').focus()")  # Close
    browser.press("Enter")
    assert browser.run("document.querySelector('.gae-detail').hidden") and browser.run(active(tile))


@in_browser
def test_values_are_announced_once_they_are_chosen(browser, address):
    """Screen readers read out sliders themselves, and the point of the map when it is released."""
    visit(browser, address, "tab=map", "document.querySelector('#panel-map .gae-frame img') !== null")
    count = "new MutationObserver(() => { window.announced += 1; }).observe("
    count += "document.querySelector('.gae-announced'), {childList: true})"
    browser.run(f"(() => {{ window.announced = 0; {count}; }})()")
    browser.drag(".gae-map", (0.2, 0.2), (0.8, 0.3))
    assert browser.run("announced") == 1
    assert browser.run("document.querySelector('.gae-announced').textContent").startswith("x ")
    place = browser.run("document.querySelector('.gae-announced').textContent")
    browser.drag(".gae-map", (-0.02, 0.5), (0.5, 0.5))  # pressed outside
    assert browser.run("document.querySelector('.gae-announced').textContent") == place
    live = "[...document.querySelectorAll('output')].map(output => output.getAttribute('aria-live'))"
    assert set(browser.run(live)) == {"off"}


@in_browser
def test_downloads_without_images_do_nothing(browser, address):
    visit(browser, address, "tab=about", "document.querySelector('#panel-sample .gae-downloads button') !== null")
    for name in ("sample", "interpolate"):
        browser.run(f"document.querySelector('#panel-{name} .gae-downloads button').click()")
    browser.run("new Promise(done => setTimeout(done, 200))")
    assert browser.errors == []


@in_browser
def test_names_and_shapes_on_the_map(browser, address):
    """Up to ten classes are named on the map."""
    visit(browser, address, "tab=map", "document.querySelector('#panel-map .gae-frame img') !== null")
    browser.run(
        "(() => { window.written = []; const write = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {"
        "  written.push(text); write.call(this, text, ...place); }; })()"
    )
    browser.click(".gae-legend button:nth-child(3)")
    assert sorted(set(browser.run("written"))) == [str(digit) for digit in range(10) if digit != 2]


# A model of many directions


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """The address of a Space of 64 directions, of which one is shown at first, and 12 classes; and its functions."""
    root = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=64))
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(0.1)  # means that hardly vary: no direction is active
    model.save_pretrained(root / "model")
    GAEImageProcessor.for_model(model).save_pretrained(root / "model")
    assert main(["space", str(root / "model"), "--output_dir", str(root / "space")]) == 0
    labels = [index % len(CLASSES) for index in range(36)]
    ExampleSet(torch.rand(36, 1, 8, 8), "random", labels, CLASSES).write(root / "space" / "examples.npz")
    with serve(root / "space") as found:
        yield found, Endpoints(load_explorer(root / "space" / "model", root / "space" / "examples.npz"))


@in_browser
def test_strips_of_many_directions(browser, wide):
    """They need more images than one request may have."""
    address, endpoints = wide
    visit(browser, address, "tab=explore&axes=64", f"{NUM_STRIPS} == 320")
    values = start_values(endpoints)
    parts = [endpoints.traverse(values, list(range(first, first + 32)), 5)["images"] for first in (0, 32)]
    wait_for(browser, "#panel-explore .gae-film img", [*parts[0], *parts[1]])
    assert browser.run("document.querySelector('#panel-explore section > button').hidden")


@in_browser
def test_show_more_adds_eight_directions(browser, wide):
    """The focus moves to the first of them."""
    visit(browser, wide[0], "tab=explore", f"{NUM_STRIPS} == 7")
    more = "document.querySelector('#panel-explore section > button')"
    assert browser.run(f"{more}.textContent") == "Show 8 of 63 more"
    for num in (1, 9):
        browser.click("#panel-explore section > button")
        sliders = "[...document.querySelectorAll('.gae-axis input[type=range]')]"
        assert browser.run(f"{sliders}.length") == num + 8
        assert browser.run(f"{sliders}.indexOf(document.activeElement)") == num
    browser.wait("location.search.includes('axes=17')")
    assert browser.run(f"{more}.textContent") == "Show 8 of 47 more"


@in_browser
def test_each_of_many_classes_has_its_own_symbol(browser, wide):
    visit(browser, wide[0], "tab=map", "document.querySelector('#panel-map .gae-frame img') !== null")
    symbols = browser.run("[...document.querySelectorAll('.gae-legend i')].map(symbol => symbol.style.cssText)")
    assert len(symbols) == len(set(symbols)) == len(CLASSES)
    shapes = browser.run("[...document.querySelectorAll('.gae-legend i')].map(symbol => symbol.style.clipPath)")
    assert len(set(shapes)) == 3 and shapes[0] != shapes[1]


@in_browser
def test_points_as_csv(browser, wide):
    address, endpoints = wide
    visit(browser, address, "tab=map", "document.querySelector('#panel-map .gae-frame img') !== null")
    browser.run(
        "(() => { const create = URL.createObjectURL;"
        "URL.createObjectURL = blob => { window.saved = blob; return create.call(URL, blob); }; })()"
    )
    browser.click("#panel-map .gae-downloads button:nth-child(2)")
    rows = list(csv.DictReader(io.StringIO(browser.run("saved.text()"))))
    assert [row["label"] for row in rows] == [CLASSES[index % len(CLASSES)] for index in range(36)]
    found = [[float(row["x"]), float(row["y"])] for row in rows]
    np.testing.assert_allclose(found, endpoints.explorer.points, atol=1e-4)
