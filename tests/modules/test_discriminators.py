"""Discriminators: shapes, accuracy, and the density ratio that they learn."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from cases import images
from torch import nn

from gae_hub.models.factor_vae import permute_dimensions
from gae_hub.modules.discriminators import (
    Discriminator,
    FeatureDiscriminator,
    PatchDiscriminator,
    discriminator_accuracy,
    hinge_loss,
)


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


@pytest.mark.parametrize(("widths", "size"), [((2, 3), 16), ((2, 3, 4), 34), ((2, 3, 4, 5), 70)])
def test_receptive_field_of_a_patch(widths, size):
    """The pixels on which one logit has a gradient: 70 x 70 with three layers of stride 2, as in the paper."""
    torch.manual_seed(0)
    net = PatchDiscriminator((1, 128, 128), widths).eval().double()
    x = torch.rand(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    logits = net(x)
    logits[0, logits.shape[1] // 2, logits.shape[2] // 2].backward()
    rows, columns = x.grad[0, 0].nonzero().unbind(1)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (size, size)


def test_patch_discriminator():
    net = PatchDiscriminator((3, 32, 24), (4, 6, 8, 10))
    assert net(images(5, (3, 32, 24))).shape == (5, 2, 1)
    strides = [layer.stride[0] for layer in net.layers if isinstance(layer, nn.Conv2d)]
    assert strides == [2, 2, 2, 1] and sum(isinstance(layer, nn.BatchNorm2d) for layer in net.layers) == 3
    torch.manual_seed(0)
    first = PatchDiscriminator((3, 24, 24), (64, 64, 64, 64)).layers[0]
    assert first.weight.std().item() == pytest.approx(0.02, rel=0.05) and first.bias.eq(0).all()
    with pytest.raises(ValueError, match="needs images of at least 24 x 24 pixels, got input_shape"):
        PatchDiscriminator((3, 23, 32), (4, 6, 8, 10))


def test_hinge_loss_in_closed_form():
    """Within the margins the loss is 1 minus half the difference of the means; beyond them it is flat."""
    real, fake = torch.tensor([-3.0, 0.5, 2.0], requires_grad=True), torch.tensor([-2.0, 0.5], requires_grad=True)
    loss = hinge_loss(real, fake)
    assert loss.item() == pytest.approx(0.5 * ((4 + 0.5 + 0) / 3 + (0 + 1.5) / 2))
    loss.backward()
    assert real.grad.tolist() == pytest.approx([-1 / 6, -1 / 6, 0]) and fake.grad.tolist() == pytest.approx([0, 0.25])
