"""Extractors and results on the Hub, over HTTP: published, edited, measured and updated."""

import json

import pytest
import torch
from cases import VAE, generator, images
from localhub import LocalHub, point_clients_at, read_card

from gae_hub import AutoGAE, GaussianMixtureSampler, GenerationPipeline
from gae_hub.cli.main import main
from gae_hub.metrics import energy_distance, evaluate_model, load_extractor
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig


@pytest.fixture(scope="module")
def hub():
    with LocalHub(users={"alice": {"token": "hf_alice"}, "bob": "hf_bob"}) as hub:
        yield hub


def card(hub, repo_id):
    return hub.read(repo_id, "README.md").decode()


def test_publishing_an_extractor_keeps_text_around_its_card(hub, tmp_path):
    script = "<script>alert(1)</script>"
    config = FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=5, num_classes=3, dataset=script)
    torch.manual_seed(0)
    model = FeatureClassifier(config).eval()
    with point_clients_at(hub, tmp_path / "author", "hf_alice"):
        model.push_to_hub("alice/extractor")
    first = card(hub, "alice/extractor")
    assert 'feature_extractor="alice/extractor"' in first and read_card(first)["library_name"] == "gae-hub"
    assert (
        "<script" not in first
        and "trained on `‹script›alert(1)‹/script›` as" in first
        and "datasets" not in read_card(first)
    )
    above = first.replace("<!-- gae_hub: begin", "Text above.\n\n<!-- gae_hub: begin") + "\nText below.\n"
    hub.commit("alice/extractor", {"README.md": above})
    model.config.accuracy, model.config.dataset = 0.875, "alice/digits"
    with point_clients_at(hub, tmp_path / "again", "hf_alice"):
        model.push_to_hub("alice/extractor")
    second = card(hub, "alice/extractor")
    assert "Text above." in second and "Text below." in second and second.count("# alice/extractor") == 1
    assert "87.50%" in second and read_card(second)["datasets"] == ["alice/digits"] and "alert" not in second
    x = images(3)
    in_eight_bits = (x * 255).round() / 255
    with point_clients_at(hub, tmp_path / "stranger", False):
        assert torch.equal(load_extractor("alice/extractor")(x), model.extract_features(in_eight_bits))


def test_saving_an_extractor_keeps_text_around_its_card(tmp_path):
    model = FeatureClassifier(FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=5, num_classes=3))
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text((tmp_path / "README.md").read_text() + "\nText below.\n")
    model.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.endswith("\nText below.\n") and text.count("gae_hub.metrics.load(") == 1


@pytest.mark.slow
def test_evaluate_and_push_a_repository(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(20, 3, generator=generator()))
    model = VAE.build().eval()
    with point_clients_at(hub, tmp_path / "author", "hf_alice"):
        GenerationPipeline(model, sampler).push_to_hub("alice/vae")
    edited = card(hub, "alice/vae") + "\nText below.\n"
    hub.commit("alice/vae", {"README.md": edited})
    words = ["evaluate", "alice/vae", "--dataset", "digits", "--metrics", "mse", "energy", "--num_samples", "40"]

    with point_clients_at(hub, tmp_path / "reader", "hf_bob"):
        assert main(words) == 0 and main([*words, "--output", "other.json"]) == 0
        assert main([*words, "--push_to_hub"]) == 2 and "alice/vae" in capsys.readouterr().err  # bob may only read
    results = json.loads((tmp_path / "results.json").read_text())
    assert results == json.loads((tmp_path / "other.json").read_text())
    assert "results.json" not in hub.files("alice/vae") and card(hub, "alice/vae") == edited
    assert results["metrics"]["mse"] > 0 and set(results["passports"]) == set(results["metrics"])

    before = len(hub.log("alice/vae"))
    with point_clients_at(hub, tmp_path / "owner", "hf_alice"):
        assert main([*words, "--push_to_hub"]) == 0
        assert len(hub.log("alice/vae")) == before + 1  # one commit
        assert torch.equal(AutoGAE.from_pretrained("alice/vae").embed(images(2)), model.embed(images(2)))
    assert json.loads(hub.read("alice/vae", "results.json")) == results
    updated = card(hub, "alice/vae")
    values = {r["type"]: r["value"] for r in read_card(updated)["model-index"][0]["results"][0]["metrics"]}
    assert values == results["metrics"]
    assert "Text below." in updated and "gaussian mixture sampler" in updated
    assert 'AutoGAE.from_pretrained("alice/vae")' in updated and "Output, captured" in updated


def test_push_needs_a_repository(trained, capsys):
    assert main(["evaluate", str(trained), "--metrics", "mse", "--push_to_hub"]) == 2
    assert "--push_to_hub: expected a model on the Hub" in capsys.readouterr().err


def test_measured_samples_equal_the_pipelines():
    """`gae-hub generate` with this seed writes the same images."""
    model = VAE.build()
    drawn = torch.cat(list(GenerationPipeline(model).generate_batches(1050, seed=3)))
    pixels = images(50)[torch.randperm(50, generator=generator(3))]
    numbers = evaluate_model(model, images(50), ["energy"], num_samples=1050, seed=3)
    found, floor = numbers["energy_distance"], numbers["energy_distance_of_data"]
    assert found == pytest.approx(energy_distance(drawn, pixels[:25]), rel=1e-5)
    assert floor == pytest.approx(energy_distance(pixels[25:], pixels[:25]))
    assert floor < found  # both have the same references, so they compare
