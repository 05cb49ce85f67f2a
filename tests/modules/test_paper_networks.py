"""The networks of the paper: parameter counts, shapes and activations."""

import re

import pytest
import torch
from cases import images
from torch import nn

from gae_hub import AEConfig, AEModel, VAEConfig, VAEModel

# size, channels, latent_dim: AE encoder, VAE encoder, decoder, counted from the authors' code
PAPER_CONV = {
    (28, 1, 16): (11_034_256, 11_050_656, 6_181_377),
    (28, 1, 64): (11_083_456, 11_149_056, 6_967_809),
    (32, 3, 16): (11_087_504, 11_153_056, 11_614_467),
    (32, 3, 256): (12_070_784, 13_119_616, 27_343_107),
    (64, 3, 64): (12_070_592, 13_119_232, 21_475_331),
    (64, 3, 256): (15_216_512, 19_411_072, 34_058_243),
}
PAPER_RESNET = {
    (28, 1, 16): (394_896, 427_680, 339_009),
    (28, 1, 256): (886_656, 1_411_200, 830_529),
    (32, 3, 64): (888_512, 1_412_864, 748_931),
    (32, 3, 256): (2_461_568, 4_558_976, 2_321_795),
    (64, 3, 16): (544_528, 577_312, 882_307),
    (64, 3, 64): (642_880, 774_016, 980_611),
}


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def build(name, channels, size):
    return AEModel(
        AEConfig(input_shape=(channels, size, size), latent_dim=4, encoder_config=name, decoder_config=name)
    )


@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        (name, *row)
        for name, table in (("paper_conv", PAPER_CONV), ("paper_resnet", PAPER_RESNET))
        for row in table.items()
    ],
)
def test_parameter_counts(name, setting, expected):
    size, channels, latent_dim = setting
    fields = {"input_shape": (channels, size, size), "latent_dim": latent_dim}
    with torch.device("meta"):
        ae = AEModel(AEConfig(**fields, encoder_config=name, decoder_config=name))
        vae = VAEModel(VAEConfig(**fields, encoder_config=name, decoder_config=name))
    assert (count(ae.encoder, ae.head), count(vae.encoder, vae.head), count(ae.decoder)) == expected


@pytest.mark.parametrize("name", ["paper_conv", "paper_resnet"])
@pytest.mark.parametrize("size", [28, 32, 64])
def test_shapes(name, size):
    model = build(name, 3, size)
    features = model.encoder(images(2, (3, size, size)))
    assert tuple(features.shape[1:]) == model.encoder.feature_shape
    assert model.decode(torch.randn(2, 4)).shape == (2, 3, size, size)


def test_activations():
    """As in the authors' code: no batch norm in the ResNet, and a sigmoid in its decoder at 64 pixels."""
    nets = {size: build("paper_resnet", 3, size) for size in (28, 32, 64)}
    assert not any(isinstance(m, nn.BatchNorm2d) for net in nets.values() for m in net.modules())
    assert [sum(isinstance(m, nn.Sigmoid) for m in nets[size].decoder.modules()) for size in (28, 32, 64)] == [0, 0, 1]
    conv = build("paper_conv", 1, 28)
    counts = [sum(isinstance(m, nn.BatchNorm2d) for m in part.modules()) for part in (conv.encoder, conv.decoder)]
    assert counts == [4, 2]


@pytest.mark.parametrize("name", ["paper_conv", "paper_resnet"])
@pytest.mark.parametrize("shape", [(1, 29, 28), (28,), (1, 28), (1, 28, 28, 28)])
def test_other_shapes(name, shape):
    for networks in ({"encoder_config": name}, {"decoder_config": name}):
        with pytest.raises(
            ValueError, match=rf"{re.escape(f'got {shape}')}; 'conv' and 'resnet' accept images of any size"
        ):
            AEModel(AEConfig(input_shape=shape, **networks))
