"""The metrics of `evaluate`: from the package, over HTTP, alone, combined, and in two processes."""

import os
import subprocess
import sys

import datasets
import evaluate
import pytest
import torch
from cases import generator, images
from child_processes import TESTS, run_in_two_processes
from huggingface_hub import HfApi
from localhub import LocalHub, point_clients_at
from safetensors.torch import load_file

import gae_hub.metrics
from gae_hub.metrics import MEASURES, Measurement, Moments, frechet_distance


@pytest.fixture(autouse=True)
def no_arrow(monkeypatch):
    """Writing a batch to an Arrow file, as `evaluate` does, is an error here."""

    def fail(*args, **kwargs):
        raise AssertionError("a batch was written to Arrow")

    monkeypatch.setattr(evaluate.EvaluationModule, "_init_writer", fail)
    monkeypatch.setattr(datasets.Features, "encode_batch", fail)


@pytest.mark.parametrize("name", MEASURES)
def test_every_metric_loads_and_describes_its_inputs(name):
    metric = evaluate.load(gae_hub.metrics.path(name))
    assert metric.module_type == "metric" and MEASURES[name].predictions_help in metric.inputs_description
    assert len(metric) == 0


def test_fid_in_batches_of_different_sizes(extractor):
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
    assert passport.uncertainty == {}  # the value is biased: an interval needs `extrapolate`
    assert len(fid) == 0  # compute removes the batches
    assert fid.compute(predictions=x, references=y)["fid"] == pytest.approx(expected)
    for image in x:
        fid.add(prediction=image)
    assert fid.compute(references=list(y))["fid"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["fid", "kid", "inception_score", "prdc", "mse", "ssim"])
def test_batch_size_and_order_do_not_change_the_values(name, extractor):
    x, y = images(60), images(60, seed=1)
    order = torch.randperm(60, generator=generator())
    options = {} if name in ("mse", "ssim") else {"feature_extractor": extractor}
    metric, values = gae_hub.metrics.load(name, **options), []
    for size, rows in ((60, slice(None)), (7, slice(None)), (13, order)):
        for a, b in zip(x[rows].split(size), y[rows].split(size), strict=True):
            metric.add_batch(predictions=a, references=b)
        values.append(metric.compute())
    for key, value in values[0].items():
        if key.endswith("_interval"):
            assert [v[key] for v in values] == [pytest.approx(value, rel=1e-5)] * 3, key
        elif key != "passport":
            assert [float(v[key]) for v in values] == pytest.approx([float(value)] * 3, rel=1e-5, abs=1e-9), key


def test_fid_infinity(extractor):
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor, extrapolate=True)
    found = fid.compute(predictions=images(300), references=images(200, seed=1))
    assert set(found) == {"fid", "fid_infinity", "fid_infinity_interval", "passport"}
    low, high = found["fid_infinity_interval"]
    assert low < float(found["fid_infinity"]) < high and found["fid_infinity"] < float(found["fid"])
    late = gae_hub.metrics.load("fid", feature_extractor=extractor)
    with pytest.raises(ValueError, match="pass extrapolate=True before the first batch"):
        late.compute(predictions=images(20), references=images(20), extrapolate=True)


def test_features_instead_of_images():
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
    assert set(found) == numbers | passports | {f"{name}_interval" for name in numbers - {"fid"}}
    assert found["fid_passport"]["extractor"] == "tiny" and set(found["mse_passport"]) == {"mse", "mse_x1000"}
    assert found["fid"] == pytest.approx(frechet_distance(Moments(extractor(x)), Moments(extractor(y))))
    assert found["mse"] == pytest.approx((x - y).square().mean().item())
    assert found["kid"].passport.extractor == "tiny"
    assert evaluate.combine([gae_hub.metrics.load("mse")]).compute(predictions=x, references=x)["mse"] == 0


def test_latents_and_labels():
    labels = torch.arange(60) % 3
    latents = 9 * torch.eye(3)[labels] + torch.randn(60, 3, generator=generator())
    for given in (latents, latents.numpy(), latents.tolist()):
        found = gae_hub.metrics.load("clustering", num_fits=5).compute(predictions=given, references=labels.tolist())
        assert found["clustering_accuracy"] == 1 and found["clustering_accuracy"].passport.settings["num_fits"] == 5
    probe = gae_hub.metrics.load("probe")
    assert probe.compute(predictions=latents, references=labels)["probe_accuracy"] > 0.9
    found = probe.compute(predictions=latents, references=labels, train_latents=latents, train_labels=labels)
    assert found["probe_accuracy"] > 0.97 and found["probe_accuracy"].passport.num_samples == 60
    with pytest.raises(ValueError, match="pass train_latents and train_labels together"):
        probe.compute(predictions=latents, references=labels, train_latents=latents)


def test_invalid_batches(extractor):
    x = images(10)

    def fid():
        return gae_hub.metrics.load("fid", feature_extractor=extractor)

    with pytest.raises(ValueError, match="'fid' has no references: add images"):
        fid().compute(predictions=x)
    with pytest.raises(ValueError, match="2 or more images on each side, got 1"):
        fid().compute(predictions=x[:1], references=x)
    for bad, message in ((255 * x, "divide by 255"), (x * float("nan"), "nan or infinite"), (x[:0], "no images")):
        with pytest.raises(ValueError, match=message):
            fid().add_batch(predictions=bad)
    with pytest.raises(ValueError, match="'fid' accepts predictions and references only, got labels"):
        fid().add_batch(predictions=x, labels=x)
    wide = images(10, (1, 9, 20))
    with pytest.raises(ValueError, match=r"compares images of one shape, got \(1, 9, 20\) and \(1, 8, 8\)"):
        gae_hub.metrics.load("psnr").compute(predictions=wide, references=x)


def test_equal_images_and_images_of_other_sizes(extractor):
    fid, x = gae_hub.metrics.load("fid", feature_extractor=extractor), images(10)
    same = x[:1].expand(20, -1, -1, -1)
    assert fid.compute(predictions=same, references=same)["fid"] == 0
    assert fid.compute(predictions=images(10, (1, 9, 20)), references=x)["fid"] > 0


def test_invalid_options(extractor):
    with pytest.raises(ValueError, match="has no option 'bins'; its options are extrapolate, seed"):
        gae_hub.metrics.load("fid", bins=3)
    with pytest.raises(ValueError, match="num_process is not supported: .* torch.distributed"):
        gae_hub.metrics.load("fid", num_process=2, process_id=1, experiment_id="x")
    with pytest.raises(ValueError, match="unknown metric 'fidd': expected one of beta_vae_score"):
        gae_hub.metrics.path("fidd")


@pytest.mark.slow
def test_loading_from_the_hub_over_http(tmp_path):
    """With an empty cache: the module comes over HTTP and uses the installed library."""
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
    run_in_two_processes(TESTS / "two_processes_metrics.py", tmp_path)
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
