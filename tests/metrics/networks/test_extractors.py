"""Extractors: Inception from its file, vision models of transformers, and classifiers."""

import hashlib
import json
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from builders import ORACLE, recipe
from cases import VAE, generator, images
from fuzzing import broken_texts, check_reading, json_variants
from transformers import (
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from gae_hub.metrics import MEASURES, evaluate_model, load_extractor
from gae_hub.metrics.networks.extractors import InceptionExtractor, TransformersExtractor
from gae_hub.metrics.networks.inception import InceptionV3, preprocess

VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 28,
    "patch_size": 14,
}


def in_eight_bits(x):
    return (x * 255).round() / 255


def test_images_of_any_size_grey_and_in_lists(extractor):
    assert extractor(torch.rand(3, 1, 20, 31)).shape == (3, 6)
    mixed = [torch.rand(1, 9, 9), torch.rand(1, 5, 12)]
    one_by_one = torch.cat([extractor(image.unsqueeze(0)) for image in mixed])
    torch.testing.assert_close(extractor(mixed), one_by_one)
    with pytest.raises(ValueError, match="'tiny' expects grey images, got 3 channels"):
        extractor(torch.rand(3, 3, 8, 8))


# Inception


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file with the published keys and shapes, and tensors of the oracle's recipe; and its SHA-256."""
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    torch.save({key: recipe(key, shape) for key, shape in ORACLE["keys"].items()}, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@torch.no_grad()
def test_inception_from_its_file(published, monkeypatch):
    path, digest = published
    monkeypatch.setattr("gae_hub.metrics.networks.extractors.PUBLISHED_SHA256", digest[:8])
    extractor = load_extractor("inception", weights=path)
    with torch.device("meta"):
        network = InceptionV3().eval()
    network.load_state_dict(torch.load(path, weights_only=True), assign=True)
    grey = torch.randint(0, 256, (2, 1, 20, 30), generator=generator(), dtype=torch.uint8)
    features = extractor(grey)
    expected = network(preprocess(grey.expand(-1, 3, -1, -1) / 255))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    without_bias = F.linear(features, network.fc.weight)
    torch.testing.assert_close(extractor.compute_logits(features), without_bias)
    assert (extractor.name, len(extractor.sha256)) == ("inception-2015-12-05", 64) and "299 x 299" in extractor.resize
    other, found = InceptionExtractor(path, resize="pytorch"), []
    assert other.resize != extractor.resize and not torch.allclose(other(grey), features, rtol=1e-3)
    for one in (extractor, other):
        fid = MEASURES["fid"](feature_extractor=one)
        fid.add(grey, grey)
        found.append(fid.compute()["fid"])
    assert found[0].passport.extractor == "inception-2015-12-05" and found[0] < 1e-3
    with pytest.raises(ValueError, match="cannot be compared: their resize is"):
        _ = found[0] < found[1]


def test_inception_accepts_no_other_file(published, tmp_path):
    with pytest.raises(ValueError, match="is not the published file of inception: its SHA-256 starts with"):
        InceptionExtractor(published[0])
    with pytest.raises(OSError, match="the weights file of inception does not exist: .*no.pth'; download it"):
        InceptionExtractor(tmp_path / "no.pth")
    with pytest.raises(ValueError, match="resize must be one of tensorflow, pytorch, got 'pil'"):
        InceptionExtractor(published[0], resize="pil")


# Vision models of transformers


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
    x = in_eight_bits(images(3, (3, 28, 28)))
    normal = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    expected = Dinov2Model.from_pretrained(vision / "dinov2").eval()(pixel_values=normal).pooler_output
    torch.testing.assert_close(extractor(x), expected, rtol=1e-4, atol=1e-5)
    assert "28 x 28" in extractor.resize and extractor(images(2, (1, 9, 50))).shape == (2, 16)
    with pytest.raises(ValueError, match="has no classes, which Inception Score and class_accuracy need"):
        evaluate_model(VAE.build(), images(5), ["inception_score"], num_samples=4, extractor=extractor)


@torch.no_grad()
def test_clip_and_pooled_output(vision):
    x = in_eight_bits(images(2, (3, 28, 28)))
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
    """A classifier's checkpoint has no pooler; transformers would initialise one at random."""
    extractors = [TransformersExtractor(str(vision / "vit-classifier")) for _ in range(2)]
    x = images(2, (3, 28, 28))
    assert not extractors[0].pooled and torch.equal(extractors[0](x), extractors[1](x))


def test_extractors_of_libraries_have_a_cache_key(vision, published, monkeypatch, extractor):
    """It is the same for the same extractor, and covers what happens before the network."""
    path, sha256 = published
    monkeypatch.setattr("gae_hub.metrics.networks.extractors.PUBLISHED_SHA256", sha256)
    names = [str(vision / name) for name in ("dinov2", "clip", "vit")]
    keys = [load_extractor(name).cache_key for name in names]
    keys += [InceptionExtractor(path, resize=resize).cache_key for resize in ("tensorflow", "pytorch")]
    keys.append(extractor.cache_key)
    assert None not in keys and len(set(keys)) == 6
    assert [load_extractor(name).cache_key for name in names] == keys[:3]
    assert load_extractor(names[0], size=14).cache_key not in (None, keys[0])
    changed = load_extractor(names[0])
    x = torch.rand(1, 3, 28, 28)
    before = changed(x)
    assert changed.cache_key == keys[0]
    changed.mean = [0.5, 0.5, 0.5]
    assert changed.cache_key not in (None, keys[0]) and not torch.allclose(changed(x), before)


def test_invalid_names(vision):
    with pytest.raises(OSError, match="there is no extractor 'no-such-folder/x/y': expected 'inception', a local"):
        load_extractor("no-such-folder/x/y")
    with pytest.raises(ValueError, match="weights are for the extractor 'inception' only"):
        load_extractor(str(vision / "vit"), weights="x.pth")


def test_odd_files_of_an_extractor(vision):
    """Odd values of preprocessor_config.json, and texts that are no config.json, are errors of one sentence."""
    name, outcomes = str(vision / "dinov2"), Counter()
    file = vision / "dinov2" / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    variants = [*broken_texts(file.read_text()), *json_variants(settings)]
    outcomes += check_reading(file, variants, lambda: load_extractor(name))
    file = vision / "dinov2" / "config.json"
    variants = [*broken_texts(file.read_text()), ("list", "[1]"), ("null", "null"), ("number", "3")]
    outcomes += check_reading(file, variants, lambda: load_extractor(name))
    assert outcomes["rejected"] > 50 and outcomes["read"] > 20, outcomes
