"""The pages of the metrics' Spaces in Gradio 6: all are built, and two are served and asked over HTTP."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import generator, images
from PIL import Image

from gae_hub.metrics import MEASURES, Moments, frechet_distance
from gae_hub.metrics.gradio_app import render_space
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig
from gae_hub.metrics.networks.extractors import load_extractor

CHILD = Path(__file__).parents[1] / "space_apps.py"
ENVIRONMENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def child(*words, **requests):
    command, environment = [sys.executable, CHILD, *words], {**os.environ, **ENVIRONMENT}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **requests)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path):
    """Arrays that a visitor may have, and an extractor."""
    torch.manual_seed(0)
    config = FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=5, num_classes=3)
    FeatureClassifier(config).save_pretrained(tmp_path / "extractor")
    x, y = images(12, (1, 16, 16)), images(12, (1, 16, 16), seed=1)
    labels = torch.arange(12) % 3
    latents = torch.eye(4)[labels] + 0.01 * torch.randn(12, 4, generator=generator())
    latents[0] = latents[1]  # one of them lies with another class
    arrays = {"x": x, "y": y, "labels": labels, "latents": latents, "numbers": x[:, 0, 0, 0]}
    arrays |= {"factors": torch.arange(24).view(12, 2) % 3, "ends": torch.stack([x, y], 1)}
    arrays |= {"paths": torch.stack([x, (x + y) / 2, y], 1)}
    for key, value in arrays.items():
        np.save(tmp_path / f"{key}.npy", value.numpy())
    return tmp_path


@pytest.mark.slow
def test_each_page_measures_what_a_visitor_gives(folder):
    pages = child("build", folder)
    assert pages.keys() == MEASURES.keys()
    for name, page in pages.items():
        by_features = name in ("fid", "kid", "prdc", "inception_score")
        assert page["components"] == ["File", "File", "Textbox", "JSON"]
        assert page["visible"] == [True, bool(MEASURES[name].references), by_features]
        assert page["extractor"] == ("inception" if by_features else "")
        assert "was given no predictions" in page["nothing"]["error"]
        if name != "lpips":
            assert page["found"] and all(number["num_samples"] == 12 for number in page["found"].values()), page


@pytest.fixture
def serve(folder):
    """Starts the app.py of a metric's Space on the loopback, and gives its address."""
    processes = []

    def start(name: str) -> str:
        space = folder / name
        space.mkdir()
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
    for path, image in zip(files, pixels, strict=True):
        Image.fromarray(image.numpy()).save(path)
    requests = [
        (clustering, [str(folder / "latents.npy")], [str(folder / "labels.npy")], ""),
        (fid, files[:4], files[4:], str(folder / "extractor")),
        (fid, files[:4], None, str(folder / "extractor")),
    ]
    by_class, distance, one_side = child("ask", input=json.dumps(requests))
    assert by_class["clustering_accuracy"]["value"] == pytest.approx(11 / 12)
    network = load_extractor(str(folder / "extractor"))
    x, y = (Moments(network(part.unsqueeze(1))) for part in (pixels[:4], pixels[4:]))
    assert distance["fid"]["value"] == pytest.approx(frechet_distance(x, y))
    assert distance["fid"]["extractor_sha256"] == network.sha256 and distance["fid"]["num_references"] == 5
    assert "'fid' was given no references" in one_side["error"]
