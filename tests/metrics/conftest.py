"""Small networks for the tests of metrics."""

from dataclasses import replace

import pytest
import torch

from gae_hub.metrics import LPIPS
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig
from gae_hub.metrics.networks.extractors import ClassifierExtractor
from gae_hub.modules.lpips import BACKBONES, build_backbone


@pytest.fixture(scope="module")
def extractor():
    """A classifier with random weights and 6 features."""
    torch.manual_seed(0)
    config = FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=6, num_classes=3)
    return ClassifierExtractor(FeatureClassifier(config), "tiny")


@pytest.fixture(scope="module")
def lpips_files(tmp_path_factory):
    """Files of backbone and heads, laid out like the published ones of VGG, with random weights."""
    folder = tmp_path_factory.mktemp("lpips")
    spec = BACKBONES["vgg"]
    torch.manual_seed(0)
    state = {f"features.{name}": value for name, value in build_backbone(spec).state_dict().items()}
    torch.save(state, folder / "vgg.pth")
    widths = [64, 128, 256, 512, 512]
    heads = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate(widths)}
    torch.save(heads, folder / "heads.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "vgg", replace(spec, sha256=""))
        yield str(folder / "vgg.pth"), str(folder / "heads.pth")


@pytest.fixture(scope="module")
def lpips(lpips_files):
    return LPIPS("vgg", *lpips_files)
