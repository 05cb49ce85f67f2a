"""Networks of velocities: they start as zero, and see each row, time, class and position."""

import pytest
import torch
from densities import noise
from torch import nn

from gae_hub.modules.velocity_networks import VelocityMLP, VelocityTransformer

TIMES, LABELS = torch.linspace(0, 1, 5), torch.tensor([0, 1, 2, 3, 3])


def build(name, num_classes=3):
    torch.manual_seed(0)
    if name == "mlp":
        return VelocityMLP(12, 16, 2, num_classes)
    return VelocityTransformer((3, 2, 2), 16, 2, 4, num_classes)


def randomize(network):
    for index, parameter in enumerate(network.parameters()):
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(index))
    return network


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_inputs(name):
    points = noise(5, 12)
    assert (build(name)(TIMES, points, LABELS) == 0).all()
    network = randomize(build(name))
    found = network(TIMES, points, LABELS)
    assert found.shape == points.shape
    for row in range(5):  # each row by itself, and one time for all rows as the same times
        one = slice(row, row + 1)
        torch.testing.assert_close(network(TIMES[one], points[one], LABELS[one]), found[one])
    torch.testing.assert_close(network(TIMES[2:3], points, LABELS), network(TIMES[2:3].expand(5), points, LABELS))
    assert (network(1 - TIMES, points, LABELS)[[0, 1, 3, 4]] != found[[0, 1, 3, 4]]).any(1).all()
    assert (network(TIMES, points, (LABELS + 1) % 4) != found).any(1).all()


def test_transformer_knows_positions():
    """Without its embedding of positions, a permutation of the input's positions permutes the output."""
    network, maps = randomize(build("transformer", None)), noise(5, 3, 4)
    swapped = maps.flip(2)

    def run(inputs):
        return network(TIMES, inputs.flatten(1)).unflatten(1, (3, 4))

    assert not torch.allclose(run(swapped), run(maps).flip(2), atol=1e-3)
    network.positions.weight.data.zero_()
    torch.testing.assert_close(run(swapped), run(maps).flip(2))
