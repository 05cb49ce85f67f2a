"""The metrics as modules of `evaluate`: from the package, over HTTP, alone, combined, and in two processes."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import evaluate
import pytest
import torch
import yaml
from cases import generator, images
from huggingface_hub import HfApi
from localhub import LocalHub, point_clients_at
from safetensors.torch import load_file

import gae_hub.metrics
from gae_hub.metrics import MEASURES, Measurement, Moments, frechet_distance
from gae_hub.metrics.gradio_app import measure_files, render_space
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig
from gae_hub.metrics.networks.extractors import ClassifierExtractor

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def extractor():
    torch.manual_seed(0)
    config = FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=5, num_classes=3)
    return ClassifierExtractor(FeatureClassifier(config), "tiny")


@pytest.fixture(autouse=True)
def no_arrow(monkeypatch):
    """No file of Arrow is opened: what evaluate itself does with a batch would be an error here."""

    def refuse(*args, **kwargs):
        raise AssertionError("a batch went to Arrow")

    monkeypatch.setattr(evaluate.EvaluationModule, "_init_writer", refuse)
    monkeypatch.setattr(datasets.Features, "encode_batch", refuse)


@pytest.mark.parametrize("name", MEASURES)
def test_the_folders_are_those_of_the_template(name):
    folder = Path(gae_hub.metrics.path(name))
    expected = render_space(name)
    assert {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} == expected, (
        "run python scripts/make_spaces.py"
    )
    front = yaml.safe_load(expected["README.md"].split("---")[1])
    assert front["sdk"] == "gradio" and front["sdk_version"].startswith("6.") and front["app_file"] == "app.py"
    assert {"evaluate", "metric"} <= set(front["tags"]) and front["description"]
    assert "gae_hub" in expected["requirements.txt"].split()
    ast.parse(expected["app.py"])


@pytest.mark.parametrize("name", MEASURES)
def test_every_metric_loads_and_says_what_it_takes(name):
    metric = evaluate.load(gae_hub.metrics.path(name))
    assert metric.module_type == "metric" and MEASURES[name].predictions in metric.inputs_description
    assert len(metric) == 0


def test_fid_in_batches_of_unlike_counts(extractor):
    x, y = images(50), images(70, seed=1)
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor)
    fid.add_batch(references=y[:40])
    fid.add_batch(predictions=x, references=y[40:])
    found = fid.compute()["fid"]
    expected = frechet_distance(Moments(extractor(x)), Moments(extractor(y)))
    assert isinstance(found, Measurement) and found == pytest.approx(expected)
    passport = found.passport
    assert (passport.num_samples, passport.num_references, passport.extractor) == (50, 70, "tiny")
    assert passport.extractor_sha256 == extractor.sha256 and "8 x 8" in passport.resize
    assert passport.interval[0] <= found <= passport.interval[1] and passport.standard_error > 0
    assert len(fid) == 0  # it starts anew
    assert fid.compute(predictions=x, references=y)["fid"] == pytest.approx(expected)
    for image in x:
        fid.add(prediction=image)
    assert fid.compute(references=list(y))["fid"] == pytest.approx(expected, rel=1e-5)


def test_batch_size_and_order_change_no_value(extractor):
    x, y = images(60), images(60, seed=1)
    order = torch.randperm(60, generator=generator())
    for name in ("fid", "kid", "inception_score", "prdc", "mse", "ssim"):
        options = {"feature_extractor": extractor} if name in ("fid", "kid", "inception_score", "prdc") else {}
        metric, values = gae_hub.metrics.load(name, **options), []
        for size, perm in ((60, slice(None)), (7, slice(None)), (13, order)):
            for a, b in zip(x[perm].split(size), y[perm].split(size), strict=True):
                metric.add_batch(predictions=a, references=b)
            values.append(metric.compute())
        for key, value in values[0].items():
            if key == "passport" or key.endswith("_interval"):
                continue
            assert [float(v[key]) for v in values] == pytest.approx([float(value)] * 3, rel=1e-5, abs=1e-9), key


def test_fid_infinity(extractor):
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor, extrapolate=True)
    found = fid.compute(predictions=images(300), references=images(200, seed=1))
    assert set(found) == {"fid", "fid_infinity", "fid_interval", "passport"} and found["fid_infinity"] < float(
        found["fid"]
    )
    late = gae_hub.metrics.load("fid", feature_extractor=extractor)
    with pytest.raises(ValueError, match="give extrapolate=True before any batch"):
        late.compute(predictions=images(20), references=images(20), extrapolate=True)


def test_features_in_place_of_images():
    fid = gae_hub.metrics.load("fid", feature_extractor="features")
    x, y = torch.randn(80, 4, generator=generator()), torch.randn(90, 4, generator=generator(1))
    found = fid.compute(predictions=x.numpy(), references=y)["fid"]
    assert found == pytest.approx(frechet_distance(Moments(x), Moments(y)))
    with pytest.raises(ValueError, match="features must be floats"):
        fid.add_batch(predictions=torch.zeros(2, 3, 4, 4))


def test_combine(extractor):
    x, y = images(30), images(30, seed=1)
    metrics = [gae_hub.metrics.load(name, feature_extractor=extractor) for name in ("fid", "kid")]
    combined = evaluate.combine([*metrics, gae_hub.metrics.load("mse")])
    combined.add_batch(predictions=x[:20], references=y[:20])
    combined.add_batch(predictions=x[20:], references=y[20:])
    found = combined.compute()
    numbers = {"fid", "kid", "mse", "mse_x1000"}
    passports = {"fid_passport", "kid_passport", "mse_passport"}
    assert set(found) == numbers | passports | {f"{name}_interval" for name in numbers}
    assert found["fid_passport"]["extractor"] == "tiny" and set(found["mse_passport"]) == {"mse", "mse_x1000"}
    assert found["fid"] == pytest.approx(frechet_distance(Moments(extractor(x)), Moments(extractor(y))))
    assert found["mse"] == pytest.approx((x - y).square().mean().item())
    assert found["kid"].passport.extractor == "tiny"
    assert evaluate.combine([gae_hub.metrics.load("mse")]).compute(predictions=x, references=x)["mse"] == 0


def test_pairs_join_in_the_order_of_their_arrival():
    x, y = images(30), images(30, seed=1)
    mse = gae_hub.metrics.load("mse")
    mse.add_batch(references=y[:25])
    mse.add_batch(predictions=x[:4])
    mse.add_batch(predictions=x[4:])
    mse.add_batch(references=y[25:])
    assert mse.compute()["mse"] == pytest.approx((x - y).square().mean().item())
    with pytest.raises(ValueError, match="compares pairs, but there are 5 predictions and 3 references"):
        mse.compute(predictions=x[:5], references=y[:3])


def test_latents_and_labels():
    labels = torch.arange(60) % 3
    latents = 9 * torch.eye(3)[labels] + torch.randn(60, 3, generator=generator())
    for given in (latents, latents.numpy(), latents.tolist()):
        found = gae_hub.metrics.load("clustering", num_fits=5).compute(predictions=given, references=labels.tolist())
        assert found["clustering_accuracy"] == 1 and found["clustering_accuracy"].passport.settings["num_fits"] == 5
    probe = gae_hub.metrics.load("probe", num_epochs=100)
    assert probe.compute(predictions=latents, references=labels)["probe_accuracy"] > 0.9
    found = probe.compute(predictions=latents, references=labels, train_latents=latents, train_labels=labels)
    assert found["probe_accuracy"] > 0.97 and found["probe_accuracy"].passport.num_samples == 60
    with pytest.raises(ValueError, match="go together"):
        probe.compute(predictions=latents, references=labels, train_latents=latents)


def test_bad_input(extractor):
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor)
    x = images(10)
    with pytest.raises(ValueError, match="'fid' was given no references: images"):
        fid.compute(predictions=x)
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor)
    with pytest.raises(ValueError, match="2 or more images on each side, got 1"):
        fid.compute(predictions=x[:1], references=x)
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor)
    same = x[:1].expand(20, -1, -1, -1)
    assert fid.compute(predictions=same, references=same)["fid"] == 0  # identical images: two equal points
    for bad, message in ((255 * x, "divide by 255"), (x * float("nan"), "nan or infinite"), (x[:0], "no images")):
        with pytest.raises(ValueError, match=message):
            fid.add_batch(predictions=bad)
    wide = images(10, (1, 9, 20))
    assert fid.compute(predictions=wide, references=x)["fid"] > 0  # sizes may differ where features are compared
    with pytest.raises(ValueError, match=r"compares images of one shape, got \(1, 9, 20\) and \(1, 8, 8\)"):
        gae_hub.metrics.load("psnr").compute(predictions=wide, references=x)
    with pytest.raises(ValueError, match="has no option 'bins'; its options are interval, extrapolate, seed"):
        gae_hub.metrics.load("fid", bins=3)
    with pytest.raises(ValueError, match="takes predictions and references, but not labels"):
        fid.add_batch(predictions=x, labels=x)
    with pytest.raises(ValueError, match="torch.distributed"):
        gae_hub.metrics.load("fid", num_process=2, process_id=1, experiment_id="x")
    with pytest.raises(ValueError, match="no metric is called 'fidd'; known are beta_vae_score"):
        gae_hub.metrics.path("fidd")


def test_a_measure_merges_with_another(extractor):
    x, y = images(50), images(50, seed=1)
    for name in ("fid", "kid", "mse"):
        kwargs = {"feature_extractor": extractor} if name != "mse" else {}
        whole, first, second = (MEASURES[name](**kwargs) for _ in range(3))
        whole.add(x, y)
        first.add(x[:20], y[:20])
        second.add(x[20:], y[20:])
        first.merge(second)
        assert float(first.compute()[name]) == pytest.approx(float(whole.compute()[name]), rel=1e-6)


@pytest.mark.slow
def test_loading_from_the_hub_over_http(tmp_path):
    """On a machine that has never seen the Hub: the module comes over HTTP, the engine is the library's."""
    code = """
import evaluate, torch
fid = evaluate.load("alice/fid", feature_extractor="features")
torch.manual_seed(0)
x, y = torch.randn(80, 4), torch.randn(90, 4)
fid.add_batch(predictions=x)
fid.add_batch(references=y)
print(float(fid.compute()["fid"]))
"""
    with LocalHub(users={"alice": {"token": "hf_alice"}}) as hub:
        with point_clients_at(hub, tmp_path / "author", "hf_alice"):
            api = HfApi()
            api.create_repo("alice/fid", repo_type="space", space_sdk="gradio")
            api.upload_folder(repo_id="alice/fid", folder_path=gae_hub.metrics.path("fid"), repo_type="space")
        env = {**os.environ, **hub.env(tmp_path / "home")}
        child = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=140)
    assert child.returncode == 0, child.stderr[-2000:]
    torch.manual_seed(0)
    x, y = torch.randn(80, 4), torch.randn(90, 4)
    assert float(child.stdout) == pytest.approx(frechet_distance(Moments(x), Moments(y)))
    assert any("/spaces/alice/fid/resolve/" in str(request) for request in hub.requests)


@pytest.mark.slow
def test_two_processes_measure_together(tmp_path):
    script = HERE / "two_processes_metrics.py"
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script, tmp_path],
        env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=140,
    )
    from two_processes_metrics import measure

    alone = measure(0, 1)
    assert len(alone) > 8
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                found[name], value, rtol=1e-9, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}"
            )


# The page of a Space


def test_the_page_measures_files(tmp_path):
    from PIL import Image

    paths = []
    for index in range(6):
        image = Image.fromarray((torch.rand(8, 8, generator=generator(index)) * 255).byte().numpy())
        image.save(tmp_path / f"{index}.png")
        paths.append(str(tmp_path / f"{index}.png"))
    found = measure_files("mse", paths[:3], paths[3:])
    assert found["mse"]["value"] > 0 and found["mse"]["num_samples"] == 3
    assert measure_files("mse", paths[:3], paths[:3])["mse"]["value"] == 0
    assert "given no predictions" in measure_files("mse", None, None)["error"]
    assert "one .npy file a side" in measure_files("clustering", paths, None)["error"]
    json.dumps(found)


@pytest.mark.parametrize("name", ["fid", "kid", "prdc", "inception_score"])
def test_the_page_measures_by_an_extractor(name, extractor, tmp_path):
    import numpy as np

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
        assert found[key]["value"] == pytest.approx(float(value))
        assert found[key]["extractor_sha256"] == extractor.sha256
