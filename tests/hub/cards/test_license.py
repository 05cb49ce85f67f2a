"""The license in a card: the user's, the one of the loaded checkpoint, or the library's."""

import pytest
import torch
from cases import VAE
from huggingface_hub import ModelCard

from gae_hub import AutoGAE, GaussianMixtureSampler
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig


def license_of(folder):
    return ModelCard.load(folder / "README.md").data.license


def write_license(folder, text):
    path = folder / "README.md"
    path.write_text(path.read_text().replace("license: apache-2.0\n", text))


def new_models():
    yield VAE.build()
    yield GaussianMixtureSampler(num_components=2).fit(torch.randn(9, 2))
    yield FeatureClassifier(FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=5, num_classes=3))


def test_new_models_have_the_license_of_the_library(tmp_path):
    for index, model in enumerate(new_models()):
        model.save_pretrained(tmp_path / str(index))
        assert license_of(tmp_path / str(index)) == "apache-2.0"


def test_the_attribute_sets_the_license(tmp_path):
    for index, model in enumerate(new_models()):
        model.license = "cc-by-4.0"
        model.save_pretrained(tmp_path / str(index))
        assert license_of(tmp_path / str(index)) == "cc-by-4.0"


@pytest.mark.parametrize("wrong", [3, ""])
def test_a_license_must_be_text(tmp_path, wrong):
    model = VAE.build()
    model.license = wrong
    with pytest.raises(ValueError, match='license must be the identifier of a license, such as "mit"'):
        model.save_pretrained(tmp_path)


def test_an_edited_license_is_kept(tmp_path):
    model = VAE.build()
    model.save_pretrained(tmp_path)
    write_license(tmp_path, "license: other\nlicense_name: mine\n")
    VAE.build().save_pretrained(tmp_path)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.license == "other" and data.license_name == "mine"
    model.license = "mit"
    model.save_pretrained(tmp_path)
    assert license_of(tmp_path) == "mit"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("license: cc-by-nc-4.0\n", "cc-by-nc-4.0"), ("", None), ("license: [mit, apache-2.0]\n", ["mit", "apache-2.0"])],
)
def test_a_loaded_model_has_the_license_of_its_checkpoint(tmp_path, text, expected):
    VAE.build().save_pretrained(tmp_path / "first")
    write_license(tmp_path / "first", text)
    AutoGAE.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    assert license_of(tmp_path / "second") == expected


def test_a_converted_model_has_no_license(tmp_path):
    model = VAE.build()
    model.facts = {"imported": {"from": "VAE", "notes": []}}
    model.save_pretrained(tmp_path)
    assert license_of(tmp_path) is None
