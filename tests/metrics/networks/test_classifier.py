"""Classifiers of the data set: training, random state, and their use as extractors."""

import json
import random

import numpy as np
import pytest
import torch
from cases import generator, images
from huggingface_hub.errors import StrictDataclassError

from gae_hub import load_images
from gae_hub.cli.main import main
from gae_hub.data.datasets import InMemoryDataset
from gae_hub.metrics import MEASURES, load_extractor, train_extractor
from gae_hub.metrics.networks.classifier import FeatureClassifierConfig
from gae_hub.metrics.networks.extractors import ClassifierExtractor

TINY = {"num_train_epochs": 1, "channels": [4], "feature_dim": 4, "progress": False}


@pytest.fixture(scope="module")
def trained_extractor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extractor") / "digits"
    assert main(["train-extractor", "--output_dir", str(folder), "--num_train_epochs", "4"]) == 0
    return folder


@pytest.mark.slow
def test_command_line(trained_extractor):
    extractor = load_extractor(str(trained_extractor))
    assert isinstance(extractor, ClassifierExtractor) and extractor.network.config.accuracy > 0.85
    card = (trained_extractor / "README.md").read_text()
    assert f"{extractor.network.config.accuracy:.2%}" in card and "feature-extractor" in card
    test = load_images("digits", "test")
    features = extractor(test.pixel_values)
    predicted = extractor.compute_logits(features).argmax(1)
    assert features.shape == (200, 128) and (predicted == test.labels).float().mean() > 0.85
    assert load_extractor(str(trained_extractor)).sha256 == extractor.sha256


def test_fid_orders_similar_other_and_random_images(trained_extractor):
    """Digits are close to the test set, half of the classes less so, and noise is farthest."""
    test, train = load_images("digits", "test"), load_images("digits", "train")
    extractor = load_extractor(str(trained_extractor))

    def fid(images):
        measure = MEASURES["fid"](feature_extractor=extractor)
        measure.add(images, test.pixel_values)
        return measure.compute()["fid"]

    whole, half = fid(train.pixel_values[:500]), fid(train.pixel_values[train.labels < 5][:500])
    noise = fid(torch.rand(500, 1, 8, 8, generator=generator()))
    assert whole < half < noise and whole < 0.3 * half


def test_the_same_seed_trains_the_same_extractor():
    data = InMemoryDataset(images(40), torch.arange(40) % 2 + 3)
    first, second = (train_extractor(data, **TINY).state_dict() for _ in range(2))
    other = train_extractor(data, **TINY, seed=1).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_training_leaves_the_random_state_unchanged():
    data = InMemoryDataset(images(40), torch.arange(40) % 2)

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = draw()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    train_extractor(data, data, **TINY)
    assert draw() == expected


def test_config_describes_the_data():
    data = InMemoryDataset(images(40), torch.arange(40) % 2 + 3, name="stripes")
    config = train_extractor(data, data, **TINY).config
    assert (config.num_classes, config.image_size, config.dataset) == (2, 8, "stripes") and 0 <= config.accuracy <= 1
    assert train_extractor(data, **TINY).config.accuracy is None


def test_invalid_input():
    with pytest.raises(ValueError, match="'array' has no labels; an extractor is trained on labelled images"):
        train_extractor(InMemoryDataset(images(4)))
    with pytest.raises(StrictDataclassError, match="num_classes must be 2 or more, got 1"):
        train_extractor(InMemoryDataset(images(4), torch.zeros(4, dtype=torch.long)))
    with pytest.raises(ValueError, match=r"'array' has input_shape \(5,\)"):
        train_extractor(InMemoryDataset(torch.rand(4, 5), torch.arange(4)))
    with pytest.raises(StrictDataclassError, match="channels must be above 0"):
        FeatureClassifierConfig(channels=[0])


@pytest.mark.slow
def test_evaluate_with_a_trained_extractor(trained_extractor, trained, capsys):
    words = ["evaluate", trained, "--metrics", "fid", "kid", "inception_score", "prdc", "probe", "--num_samples", 50]
    words += ["--extractor", trained_extractor, "--options", '{"fid": {"extrapolate": true}}']
    assert main(list(map(str, words))) == 0
    results = json.loads((trained / "results.json").read_text())
    assert {"fid", "fid_infinity", "kid", "precision", "probe_accuracy"} <= set(results["metrics"])
    assert set(results["passports"]) == set(results["metrics"])
    passport = results["passports"]["fid"]
    assert passport["num_samples"] == 50 and passport["num_references"] == 200 and "interval" not in passport
    assert passport["extractor_sha256"] == load_extractor(str(trained_extractor)).sha256
    assert results["passports"]["probe_accuracy"]["settings"]["trained_on"] == "the training data"
    assert f"{results['metrics']['fid']:.6g}" in (trained / "README.md").read_text()
    assert main(["evaluate", str(trained), "--metrics", "fid", "--options", "[1]"]) == 2
    assert "--options: expected a dict of dicts, got '[1]'" in capsys.readouterr().err
