"""Discriminators: shapes, accuracy, and the density ratio that they learn."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from cases import images
from torch import nn

from gae_hub.models.factor_vae import permute_dimensions
from gae_hub.modules.discriminators import Discriminator, FeatureDiscriminator, discriminator_accuracy


def test_discriminator_learns_the_density_ratio():
    """The mean logit of the optimal discriminator is the total correlation, which is known for a Gaussian."""
    torch.manual_seed(0)
    rho = 0.8
    exact = -0.5 * log(1 - rho**2)
    net = Discriminator((2,), (64, 64), slope=0.2)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    mix = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]]))
    for _ in range(400):
        z = torch.randn(1000, 2) @ mix.T
        loss = 0.5 * (F.softplus(-net(z)) + F.softplus(net(permute_dimensions(z)))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert net(torch.randn(50_000, 2) @ mix.T).mean().item() == pytest.approx(exact, rel=0.15)


def test_discriminator_accuracy():
    real, fake = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([-1.0, -3.0, -2.0])
    assert discriminator_accuracy(real, fake).item() == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((5,), nn.Linear),
        ((3, 9), nn.Conv1d),
        ((3, 9, 7), nn.Conv2d),
        ((3, 5, 9, 7), nn.Conv3d),
        ((3, 1, 2, 4, 2), nn.Linear),
    ],
)
def test_discriminators_for_every_shape(shape, layer):
    net, x = FeatureDiscriminator(shape, (4, 8), slope=0.2, feature_layer=1), images(6, shape)
    assert all(type(own) is layer for own in net.layers)
    features, logits = net(x)
    first = net.layers[0](x.flatten(1) if layer is nn.Linear else x)
    torch.testing.assert_close(features, F.leaky_relu(first, 0.2).flatten(1))
    assert torch.equal(logits, Discriminator.forward(net, x)) and logits.shape == (6,)
