"""Extractors: the published network through its file, vision models of transformers, and a trained classifier."""

import hashlib
import json

import pytest
import torch
import torch.nn.functional as F
from builders import ORACLE, recipe
from cases import VAE, generator, images
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from gae_hub import load_images
from gae_hub.cli.main import main
from gae_hub.data.datasets import ImageDataset
from gae_hub.metrics import MEASURES, evaluate_model, load_extractor
from gae_hub.metrics.networks.classifier import FeatureClassifier, train_extractor
from gae_hub.metrics.networks.extractors import ClassifierExtractor, InceptionExtractor, TransformersExtractor
from gae_hub.metrics.networks.inception import InceptionV3, preprocess

VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 28,
    "patch_size": 14,
}


# Inception


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file like the published one: the same keys and shapes, with tensors of the oracle's recipe."""
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    torch.save({key: recipe(key, shape) for key, shape in ORACLE["keys"].items()}, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def inception(published, monkeypatch):
    monkeypatch.setattr("gae_hub.metrics.networks.extractors.PUBLISHED_SHA256", published[1][:8])
    return published[0]


@pytest.mark.slow
@torch.no_grad()
def test_inception_by_its_file(inception):
    extractor = load_extractor("inception", weights=inception)
    with torch.device("meta"):
        network = InceptionV3().eval()
    network.load_state_dict(torch.load(inception, weights_only=True), assign=True)
    grey = torch.randint(0, 256, (2, 1, 20, 30), generator=generator(), dtype=torch.uint8)
    features = extractor(grey)
    expected = network(preprocess(grey.expand(-1, 3, -1, -1) / 255))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(extractor.logits(features), F.linear(features, network.fc.weight))  # without the bias
    assert (extractor.name, len(extractor.sha256)) == ("inception-2015-12-05", 64) and "299 x 299" in extractor.resize
    other, found = InceptionExtractor(inception, resize="pytorch"), []
    assert other.resize != extractor.resize and not torch.allclose(other(grey), features, rtol=1e-3)
    for one in (extractor, other):
        fid = MEASURES["fid"](feature_extractor=one)
        fid.add(grey, grey)
        found.append(fid.compute()["fid"])
    assert found[0].passport.extractor == "inception-2015-12-05" and found[0] < 1e-3
    with pytest.raises(ValueError, match="cannot be compared: their resize is"):
        _ = found[0] < found[1]


def test_inception_refuses_any_other_file(published, tmp_path):
    with pytest.raises(ValueError, match="is not the published file of inception: its SHA-256 begins with"):
        InceptionExtractor(published[0])
    with pytest.raises(OSError, match="the weights of inception are not at .*no.pth': download them"):
        InceptionExtractor(tmp_path / "no.pth")
    with pytest.raises(ValueError, match="resize must be one of tensorflow, pytorch, got 'pil'"):
        InceptionExtractor(published[0], resize="pil")


# transformers


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    """Folders with tiny vision models of several kinds."""
    folder = tmp_path_factory.mktemp("vision")
    torch.manual_seed(0)
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text |= {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
    models = {
        "dinov2": Dinov2Model(Dinov2Config(**{k: v for k, v in VISION.items() if k != "intermediate_size"})),
        "clip": CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)),
        "vit": ViTModel(ViTConfig(**VISION)),
        "vit-classifier": ViTForImageClassification(ViTConfig(**VISION)),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "size": {"shortest_edge": 28}}
    (folder / "dinov2" / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@torch.no_grad()
def test_dinov2(vision):
    extractor = load_extractor(str(vision / "dinov2"))
    x = (images(3, (3, 28, 28)) * 255).round() / 255
    normal = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    expected = Dinov2Model.from_pretrained(vision / "dinov2").eval()(pixel_values=normal).pooler_output
    torch.testing.assert_close(extractor(x), expected, rtol=1e-4, atol=1e-5)
    assert "28 x 28" in extractor.resize and extractor(images(2, (1, 9, 50))).shape == (2, 16)
    with pytest.raises(ValueError, match="has no classes, which the Inception Score needs"):
        evaluate_model(VAE.build(), images(5), ["inception_score"], num_samples=4, extractor=extractor)


@torch.no_grad()
def test_clip_and_pooled_output(vision):
    x = (images(2, (3, 28, 28)) * 255).round() / 255
    clip = CLIPModel.from_pretrained(vision / "clip").eval()
    features = clip.vision_model(pixel_values=2 * x - 1).pooler_output
    torch.testing.assert_close(
        load_extractor(str(vision / "clip"))(x), clip.visual_projection(features), rtol=1e-4, atol=1e-5
    )
    vit = ViTModel.from_pretrained(vision / "vit").eval()
    torch.testing.assert_close(
        load_extractor(str(vision / "vit"))(x), vit(pixel_values=2 * x - 1).pooler_output, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_a_pooler_without_weights_is_not_used(vision):
    """A classifier's checkpoint has none: transformers would make one up, differently each time."""
    extractors = [TransformersExtractor(str(vision / "vit-classifier")) for _ in range(2)]
    x = images(2, (3, 28, 28))
    assert not extractors[0].pooled and torch.equal(extractors[0](x), extractors[1](x))


def test_extractors_by_unknown_names(vision, tmp_path):
    with pytest.raises(OSError, match="no extractor 'no-such-folder/x/y': it is neither 'inception', nor a folder"):
        load_extractor("no-such-folder/x/y")
    with pytest.raises(ValueError, match="weights are for the extractor 'inception'"):
        load_extractor(str(vision / "vit"), weights="x.pth")


# A classifier of the data set


@pytest.fixture(scope="module")
def trained_extractor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extractor") / "digits"
    assert main(["train-extractor", "--output_dir", str(folder), "--num_train_epochs", "4"]) == 0
    return folder


@pytest.mark.slow
def test_train_extractor(trained_extractor, capsys):
    extractor = load_extractor(str(trained_extractor))
    assert isinstance(extractor, ClassifierExtractor) and extractor.network.config.accuracy > 0.85
    card = (trained_extractor / "README.md").read_text()
    assert f"{extractor.network.config.accuracy:.2%}" in card and "feature-extractor" in card
    test = load_images("digits", "test")
    features = extractor(test.pixel_values)
    found = extractor.logits(features).argmax(1)
    assert features.shape == (200, 128) and (found == test.labels).float().mean() > 0.85
    assert load_extractor(str(trained_extractor)).sha256 == extractor.sha256


def test_numbers_by_a_trained_extractor(trained_extractor):
    """Images of other digits are far from the test set, images of all digits near; noise is farthest."""
    test, train = load_images("digits", "test"), load_images("digits", "train")
    extractor = load_extractor(str(trained_extractor))

    def fid(images):
        measure = MEASURES["fid"](feature_extractor=extractor)
        measure.add(images, test.pixel_values)
        return measure.compute()["fid"]

    whole, ones = fid(train.pixel_values[:500]), fid(train.pixel_values[train.labels < 5][:500])
    noise = fid(torch.rand(500, 1, 8, 8, generator=generator()))
    assert whole < ones < noise and whole < 0.3 * ones


def test_the_same_seed_trains_the_same_extractor():
    data = ImageDataset(images(40), torch.arange(40) % 2 + 3)
    first, second = (
        train_extractor(data, num_train_epochs=1, channels=[4], feature_dim=4, progress=False) for _ in range(2)
    )
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert first.config.num_classes == 2 and first.config.accuracy is None
    with pytest.raises(ValueError, match="has no labels, which a classifier learns from"):
        train_extractor(ImageDataset(images(4)))
    with pytest.raises(StrictDataclassError, match="num_classes must be 2 or more, got 1"):
        train_extractor(ImageDataset(images(4), torch.zeros(4, dtype=torch.long)))
    with pytest.raises(ValueError, match="an extractor is for images"):
        train_extractor(ImageDataset(torch.rand(4, 5), torch.arange(4)))


@pytest.mark.slow
def test_evaluate_from_a_shell(trained_extractor, trained, capsys):
    words = ["evaluate", trained, "--metrics", "fid", "kid", "inception_score", "prdc", "probe", "--num_samples", 50]
    words += ["--extractor", trained_extractor, "--options", '{"fid": {"extrapolate": true}}']
    assert main(list(map(str, words))) == 0
    results = json.loads((trained / "results.json").read_text())
    assert {"fid", "fid_infinity", "kid", "precision", "probe_accuracy"} <= set(results["metrics"])
    assert set(results["passports"]) == set(results["metrics"])
    passport = results["passports"]["fid"]
    assert passport["num_samples"] == 50 and passport["num_references"] == 200 and len(passport["interval"]) == 2
    assert passport["extractor_sha256"] == load_extractor(str(trained_extractor)).sha256
    assert results["passports"]["probe_accuracy"]["settings"]["trained_on"] == "the training data"
    assert f"{results['metrics']['fid']:.6g}" in (trained / "README.md").read_text()
    assert main(["evaluate", str(trained), "--metrics", "fid", "--options", "[1]"]) == 2
    assert "--options: expected a dict of dicts, got '[1]'" in capsys.readouterr().err


def test_classifiers_refuse_what_they_cannot_use():
    with pytest.raises(StrictDataclassError, match="channels must be above 0"):
        FeatureClassifier.config_class(channels=[0])
