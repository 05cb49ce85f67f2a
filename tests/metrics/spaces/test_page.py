"""The Gradio pages of the metrics' Spaces: all are built, and two are served and queried over HTTP."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from contextlib import suppress
from itertools import product
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import Browser, in_browser
from cases import generator, images
from PIL import Image
from spaces.conftest import serve as serve_folder

from gae_hub.metrics import MEASURES, Moments, frechet_distance, load_extractor, path
from gae_hub.metrics.measures import FeatureMeasure
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig
from gae_hub.metrics.spaces.examples import write_example
from gae_hub.metrics.spaces.page import measure_files
from gae_hub.metrics.spaces.render import render_space

CHILD = Path(__file__).parents[2] / "space_apps.py"
ENVIRONMENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def test_files_are_measured(tmp_path):
    paths = []
    for index in range(6):
        image = Image.fromarray((torch.rand(8, 8, generator=generator(index)) * 255).byte().numpy())
        image.save(tmp_path / f"{index}.png")
        paths.append(str(tmp_path / f"{index}.png"))
    found = measure_files("mse", paths[:3], paths[3:])
    assert found["mse"] > 0 and found["mse"].passport.num_samples == 3
    assert measure_files("mse", paths[:3], paths[:3])["mse"] == 0


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("mse", [None, None], "'mse' has no predictions: add images"),
        ("clustering", [["image.png"], None], "this metric needs one .npy file for each side, got image.png"),
        ("mse", [["text.png"], ["text.png"]], "cannot read text.png as an image: "),
        ("mse", [["cut.png"], ["cut.png"]], "cannot read cut.png as an image: "),
        ("mse", [["empty.npy"], ["empty.npy"]], "cannot read empty.npy as an array of numbers: "),
        ("mse", [["pickle.npy"], ["pickle.npy"]], "cannot read pickle.npy as an array of numbers: "),
        ("energy", [["text.npy"], None], "text.npy must hold numbers, got an array of <U1"),
        ("clustering", [["row.npy"], None], "predictions must be latents, (num, latent_dim); got shape (4,)"),
        ("energy", [["rows.npy"], ["image.npy"]], "compares points of one size, got predictions of shape (2,)"),
        ("fid", [["image.png"], ["image.png"]], "2 or more images"),
        ("mse", [["image.png", "row.npy"], None], "one .npy file or images for each side, got 2 files with row.npy"),
        ("mse", [["image.png"] * 2001, None], "expected at most 2,000 files, got 2,001"),
        ("mse", [["large.npy"], None], "large.npy has 65 MB, more than the 64 MB that are accepted"),
        ("mse", [["wide.png"], None], "it has 6,000 x 5,000 pixels, more than 25 million"),
        ("energy", [["false.npy"], None], "cannot read false.npy as an array of numbers: "),
    ],
)
def test_errors_are_sentences(tmp_path, monkeypatch, extractor, name, files, message):
    monkeypatch.chdir(tmp_path)
    extractor.network.save_pretrained(tmp_path / "tiny")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save("image.png")
    Path("cut.png").write_bytes(Path("image.png").read_bytes()[:45])
    Path("text.png").write_text("no image")
    Path("empty.npy").touch()
    np.save("pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save("text.npy", np.array(["a"]))
    np.save("row.npy", np.zeros(4))
    np.save("rows.npy", np.zeros((4, 2)))
    np.save("image.npy", np.zeros((4, 8, 8)))
    Image.new("1", (6000, 5000)).save("wide.png")
    with Path("large.npy").open("wb") as file:
        file.truncate(65 << 20)
    header = np.lib.format.header_data_from_array_1_0(np.zeros((4, 2))) | {"shape": (10**9, 10**3)}
    with Path("false.npy").open("wb") as file:  # it says that it has 8 TB
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=re.escape(message)):
        measure_files(name, *files, str(tmp_path / "tiny") if name == "fid" else "")


# LPIPS would download weights, and the slower disentanglement scores check their input as MIG does
UNTRIED = {"lpips", "beta_vae_score", "dci", "factor_vae_score", "sap"}


@pytest.mark.parametrize("name", sorted(MEASURES.keys() - UNTRIED))
def test_arrays_of_any_kind(tmp_path, name):
    """They are measured, or the error is a sentence."""
    random = np.random.default_rng(0)
    arrays = {
        "rows": random.normal(size=(4, 8)),
        "fewer": random.normal(size=(3, 2)).astype(np.float16),
        "images": random.random((4, 3, 8, 8)),
        "classes": np.arange(4, dtype=np.uint64),
        "factors": np.arange(8).reshape(4, 2),
        "empty": np.zeros((0, 8)),
        "number": np.array(3.0),
        "nan": np.full((4, 8), np.nan),
        "text": np.array(["a", "b"]),
        "complex": np.ones((4, 8), complex),
    }
    files: list[list[str] | None] = [None]
    for key, array in arrays.items():
        np.save(tmp_path / f"{key}.npy", array)
        files.append([str(tmp_path / f"{key}.npy")])
    extractor = "features" if issubclass(MEASURES[name], FeatureMeasure) else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for pair in product(files, files if MEASURES[name].references_help else [None]):
            with suppress(ValueError):
                assert measure_files(name, *pair, extractor)


@pytest.mark.parametrize("name", ["fid", "kid", "prdc", "inception_score"])
def test_files_are_measured_with_an_extractor(name, extractor, tmp_path):
    extractor.network.save_pretrained(tmp_path / "tiny")
    x, y = images(20), images(24, seed=1)
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "y.npy", y.numpy())
    found = measure_files(name, [str(tmp_path / "x.npy")], [str(tmp_path / "y.npy")], str(tmp_path / "tiny"))
    engine = MEASURES[name](feature_extractor=extractor)
    engine.add(x, y)
    expected = engine.compute()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert float(found[key]) == pytest.approx(float(value))
        assert found[key].passport.extractor_sha256 == extractor.sha256


# Gradio, in other processes


def run_child(*words, **kwargs):
    """The JSON that space_apps.py prints."""
    command, environment = [sys.executable, CHILD, *words], {**os.environ, **ENVIRONMENT}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **kwargs)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path):
    """Arrays to upload, and an extractor."""
    torch.manual_seed(0)
    config = FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=5, num_classes=3)
    FeatureClassifier(config).save_pretrained(tmp_path / "extractor")
    x, y = images(12, (1, 16, 16)), images(12, (1, 16, 16), seed=1)
    labels = torch.arange(12) % 3
    latents = torch.eye(4)[labels] + 0.01 * torch.randn(12, 4, generator=generator())
    latents[0] = latents[1]  # one latent among those of another class
    arrays = {"x": x, "y": y, "labels": labels, "latents": latents, "numbers": x[:, 0, 0, 0]}
    arrays |= {"factors": torch.arange(24).view(12, 2) % 3, "ends": torch.stack([x, y], 1)}
    arrays |= {"paths": torch.stack([x, (x + y) / 2, y], 1)}
    for key, value in arrays.items():
        np.save(tmp_path / f"{key}.npy", value.numpy())
    return tmp_path


@pytest.mark.slow
def test_every_page_measures_files(folder):
    pages = run_child("build", folder)
    assert pages.keys() == MEASURES.keys()
    for name, page in pages.items():
        needs_extractor = name in ("fid", "kid", "prdc", "inception_score", "class_accuracy")
        parts = ("Markdown", "File", "Textbox", "Button", "Dataframe", "JSON")
        order = [part for part in page["order"] if part in parts]
        assert order == ["Markdown", "File", "File", "Textbox", "Button", "Button", "Dataframe", "Markdown", "JSON"]
        assert page["visible"] == [True, bool(MEASURES[name].references_help), needs_extractor]
        assert page["extractor"] == ("inception" if needs_extractor else "")
        assert "has no predictions" in page["without_files"]
        if name != "lpips":
            for key, num in (("with_files", {12}), ("example", {4, 64})):
                rows, words, passports = page[key]
                assert words.startswith("#### How the number") and "Measured with gae_hub" in words
                assert [row[0] for row in rows] == list(passports) and all(row[3] in num for row in rows), page
                assert all(isfinite(float(row[1])) for row in rows)


@pytest.fixture
def serve(folder):
    """A function that serves the app.py of a metric's Space on the loopback, and returns its address."""
    processes = []

    def start(name: str) -> str:
        space = folder / name
        space.mkdir()
        shutil.copytree(folder / "extractor", space / "extractor")
        for file, content in render_space(name).items():
            (space / file).write_text(content, encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "GRADIO_SSR_MODE": "False"}
        environment = {**os.environ, **ENVIRONMENT, **own, "GRADIO_TEMP_DIR": str(folder / "uploads")}
        with (space / "log.txt").open("w") as log:
            command = [sys.executable, "app.py"]
            processes.append(subprocess.Popen(command, cwd=space, env=environment, stdout=log, stderr=log))
        return f"http://127.0.0.1:{port}"

    yield start
    for process in processes:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
def test_apps_answer_over_http(serve, folder):
    clustering, fid = serve("clustering"), serve("fid")
    pixels = torch.randint(0, 256, (9, 8, 8), generator=generator(), dtype=torch.uint8)
    files = [str(folder / f"{index}.png") for index in range(9)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image.numpy()).save(file)
    requests = [
        (clustering, [str(folder / "latents.npy")], [str(folder / "labels.npy")], ""),
        (fid, files[:4], files[4:], "extractor"),
        (fid, files[:4], None, "extractor"),
        (fid, files[:4], files[4:], str(folder / "extractor")),
    ]
    (scores, *_), (distances, words, passports), one_side, elsewhere = run_child("ask", input=json.dumps(requests))
    values = {row[0]: float(row[1]) for row in scores["data"]}
    assert values["clustering_accuracy"] == pytest.approx(11 / 12, rel=1e-5)
    network = load_extractor(str(folder / "extractor"))
    x, y = (Moments(network(part.unsqueeze(1))) for part in (pixels[:4], pixels[4:]))
    ((name, value, interval, num_samples, num_references),) = distances["data"]
    assert name == "fid" and float(value) == pytest.approx(frechet_distance(x, y), rel=1e-5)
    assert (num_samples, num_references, interval) == (4, 5, "")
    assert passports["fid"]["extractor_sha256"] == network.sha256
    assert f"SHA-256 {network.sha256[:12]}" in words and "compared with 5 references" in words
    assert "'fid' has no references" in one_side["error"]
    assert "extractor must be inception, features, or the name of a model on the Hub" in elsewhere["error"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@in_browser
def test_every_control_in_a_browser(tmp_path):
    """Each button once, wide and light, and on a dark phone."""
    space = tmp_path / "prdc"
    shutil.copytree(path("prdc"), space)
    first, second = write_example("prdc", tmp_path)
    expected = measure_files("prdc", first, second, "features")
    shots = Path(__file__).parents[3] / "build" / "metric-space-shots"
    with serve_folder(space) as address:
        for width, dark in ((1280, False), (390, True)):
            with Browser(tmp_path / f"chromium-{width}", width=width, dark=dark) as browser:
                browser.open(address)
                browser.wait("!!document.querySelector('#measure')")
                browser.click("#measure")
                browser.wait("document.body.innerText.includes(\"'prdc' has no predictions\")")
                browser.click("#example")
                browser.wait("!!document.querySelector('#words')?.innerText.includes('Measured with gae_hub')")
                text = browser.run("document.querySelector('#answer').innerText")
                for name, number in expected.items():
                    assert name in text and f"{number:.6g}" in text
                assert (
                    browser.run("document.querySelector('#extractor textarea, #extractor input').value") == "features"
                )
                browser.run("[...document.querySelectorAll('button')].find(e => /JSON/.test(e.innerText)).click()")
                browser.wait("document.querySelector('#passports').innerText.includes('same_count_interval')")
                assert browser.run("document.documentElement.scrollWidth") == width
                assert {url.startswith((address, "data:")) for url in browser.requests} == {True}
                browser.screenshot(shots / f"{width}.png")
