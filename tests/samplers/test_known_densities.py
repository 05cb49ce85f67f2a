"""Fitted samplers are about as close to fresh data as other fresh data is."""

from functools import cache

import pytest
import torch
from cases import generator
from densities import disc, sphere, three_clusters, two_moons, two_rings

from gae_hub import (
    EmpiricalSampler,
    GaussianMixtureSampler,
    IAFSampler,
    KernelDensitySampler,
    MAFSampler,
    NeuralSplineSampler,
)
from gae_hub.metrics import energy_distance

BRIEF = {"learning_rate": 5e-3, "progress": False}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2}

DENSITIES = [two_rings, three_clusters, two_moons, sphere, disc]
# how to build and train it, and the densities that it fits; small affine flows need more training for two rings
FITTED = {
    "gaussian_mixture": (lambda: GaussianMixtureSampler(num_components=15), {}, DENSITIES),
    "kernel_density": (KernelDensitySampler, {}, DENSITIES),
    "empirical": (EmpiricalSampler, {}, DENSITIES),
    "neural_spline": (lambda: NeuralSplineSampler(**SMALL), {"num_train_epochs": 20, **BRIEF}, DENSITIES),
    "maf": (lambda: MAFSampler(num_flows=5, **SMALL), {"num_train_epochs": 40, **BRIEF}, DENSITIES[1:]),
    "iaf": (lambda: IAFSampler(num_flows=5, **SMALL), {"num_train_epochs": 40, **BRIEF}, DENSITIES[1:3]),
}


@cache
def measure_limits(make):
    """Distances to fresh data: of other fresh data, and of samples from one Gaussian."""
    fresh = make(1500, 10)
    gaussian = GaussianMixtureSampler(num_components=1).fit(make(1500, 0))
    floor = measure_distance(lambda seed: make(1500, seed), fresh)
    return floor, measure_distance(lambda seed: gaussian.sample(1500, generator(seed)), fresh)


def measure_distance(draw, fresh):
    """Mean energy distance of eight sets of samples: that of a single set varies as much as the limit below."""
    return sum(energy_distance(draw(seed), fresh) for seed in range(100, 108)) / 8


@pytest.mark.parametrize(("name", "make"), [(name, make) for name, row in FITTED.items() for make in row[2]])
def test_distance_to_fresh_data(name, make):
    build, training, _ = FITTED[name]
    floor, plain = measure_limits(make)
    torch.manual_seed(0)  # measuring the limits may have drawn numbers
    sampler = build().fit(make(1500, 0), **training)
    found = measure_distance(lambda seed: sampler.sample(1500, generator(seed)), make(1500, 10))
    assert found < abs(floor) + 0.2 * (plain - floor) and found < 0.4 * plain
