"""The text of a card: what it shows for models, samplers, and custom methods."""

import shutil

import pytest
import torch
from cases import AE, VAE
from huggingface_hub import ModelCard

from gae_hub import AutoGAE, GaussianMixtureSampler, VAEModel
from gae_hub.models.base import GAEPreTrainedModel


def card_of(model, folder):
    model.save_pretrained(folder)
    return (folder / "README.md").read_text()


def test_card_of_a_trained_model(trained):
    card = ModelCard.load(trained / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "gae-hub" and "beta-vae" in data["tags"]
    assert {entry["output"]["url"] for entry in data["widget"]} <= {
        f"assets/{p.name}" for p in (trained / "assets").iterdir()
    }
    for part in (
        "# betavae-digits",
        r"\beta\, KL",
        "validation kl",
        "trained on `digits`",
        "@article{higgins2017",
        "gaussian mixture sampler",
        "| beta | `0.1` |",
        "| num_train_epochs | `2` |",
        "1397 images, 28 steps on 1 process",
        "`digits`, revision `scikit-learn",
        "latent dimensions are active on 200 images",
        "KL to the prior by dimension, in nats",
        "standard deviation 1: its nats depend on that choice",
        f"torch {torch.__version__}",
        "<Gallery />",
        "16 (8, 8) L\n(16, 4) (16, 1, 8, 8)",
    ):
        assert part in card.text, part
    assert {path.stem for path in (trained / "assets").iterdir()} == {
        "samples",
        "samples_prior",
        "reconstructions",
        "interpolations",
        "traversal",
        "embeddings",
        "loss",
    }
    assert "None" not in card.text and "\n\n\n\n" not in card.text


@pytest.mark.parametrize(
    ("case", "fields", "text"),
    [
        (AE, {}, "The method has no likelihood"),
        (VAE, {"likelihood": "bernoulli"}, "a probability of binary pixels"),
        (VAE, {"observation_std": 0.5}, "standard deviation 0.5"),
        (VAE, {"observation_std": "optimal"}, "whose variance is learned (standard deviation 1)"),
    ],
)
def test_limitations_name_the_likelihood(tmp_path, case, fields, text):
    assert text in card_of(case.build(**fields), tmp_path)


def test_limitations_name_collapsed_latents(tmp_path):
    model = VAE.build()
    latents = {"num_images": 9, "active_units": 0, "order": [1, 2, 0], "by": "kl", "values": [2.0, 0.5, 0.0]}
    model.facts = {"latents": latents}
    text = card_of(model, tmp_path)
    assert "0 of 3 latent dimensions" in text and "3 have collapsed and carry no information." in text
    assert "KL to the prior by dimension, in nats: 2, 0.5, 0.\n" in text
    model.facts = {"latents": {**latents, "active_units": 2, "by": "variance"}}
    text = card_of(model, tmp_path)
    assert "1 has collapsed and carries no information." in text
    assert "Variance of the embeddings by dimension: 2, 0.5, 0.\n" in text


def test_limitations_name_warnings_and_divergences(tmp_path):
    model = VAE.build()
    model.facts = {
        "warnings": {"posterior collapse": "1.0 of 3 latent dimensions are in use <b>", "dead codes": "9 of 10 are"},
        "divergences": [
            {"step": 30, "term": "kl", "restored_step": 20},
            {"step": 31, "term": "gradient", "restored_step": 20},
        ],
    }
    text = card_of(model, tmp_path)
    assert "evaluation of the training, posterior collapse: 1.0 of 3 latent dimensions are in use ‹b›." in text
    assert "evaluation of the training, dead codes: 9 of 10 are." in text
    assert "diverged at step 30 in kl (restored: step 20); at step 31 in gradient (restored: step 20)." in text
    model.facts = {"warnings": {}, "divergences": []}
    text = card_of(model, tmp_path)
    assert "diverged" not in text and "evaluation of the training" not in text


def test_energy_is_shown_if_it_was_measured(tmp_path):
    model = VAE.build()
    facts = {"log": [{"epoch": 1, "step": 1, "loss": 1.0}], "num_processes": 1, "steps": 1, "seconds": 1}
    model.facts = {**facts, "joules": 7200.0}
    assert "2 Wh measured by the energy counters of the CPU" in card_of(model, tmp_path)
    model.facts = {**facts, "joules": None}
    assert "Wh" not in card_of(model, tmp_path)


def test_a_card_is_written_after_the_source_was_deleted(tmp_path, trained):
    copy = tmp_path / "copy"
    AutoGAE.from_pretrained(trained).save_pretrained(copy)
    loaded = AutoGAE.from_pretrained(copy)
    shutil.rmtree(copy)
    assert "beta-VAE with" in card_of(loaded, tmp_path / "saved")


def test_card_of_a_sampler(tmp_path):
    text = card_of(GaussianMixtureSampler(num_components=2).fit(torch.randn(9, 2)), tmp_path)
    assert "latents of size 2" in text and "num_components | `2`" in text and "AutoSampler.from_pretrained" in text


def test_card_of_a_custom_method(tmp_path):
    class Custom(VAEModel):
        pass

    class Bare(GAEPreTrainedModel):
        """A custom method without a paper."""

    assert "Auto-Encoding Variational Bayes" in card_of(Custom(VAE.build().config), tmp_path / "custom")
    assert "Bare with" in card_of(Bare(VAE.build().config), tmp_path / "bare")


def test_a_folder_name_with_html_is_not_shown(tmp_path):
    text = card_of(VAE.build(), tmp_path / "<script>alert(1)<")
    assert "<script>" not in text and "path-to-this-model" in text
