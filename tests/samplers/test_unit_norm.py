"""Samplers of latents on the sphere: log_prob is the density of their samples per area."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import SAMPLERS, generator
from densities import noise
from scipy.stats import chi2

NAMES = "gaussian_mixture", "kernel_density", "per_class", "flow_matching"
DENSITIES = [case for case in SAMPLERS if case.id.startswith(NAMES)]
OTHERS = [case for case in SAMPLERS if case.fits_latents and case not in DENSITIES]


def fit_on_sphere(case, dim):
    """A row's sampler, fitted to two clusters of directions."""
    sampler = case.build()
    sampler.config.unit_norm = True
    centres = torch.tensor([[1.0, 0.0, 0.0], [-0.6, 0.8, 0.0]])[:, :dim]
    latents = F.normalize(centres[torch.arange(100) % 2] + 0.4 * noise(100, dim))
    return case.fit_briefly(latents, sampler)


def circle(num=20_000):
    """Unit vectors at equal angles, and the lengths of their arcs."""
    angle = (torch.arange(num, dtype=torch.float64) + 0.5) * 2 * torch.pi / num
    return torch.stack([angle.cos(), angle.sin()], 1), torch.full((num,), 2 * torch.pi / num, dtype=torch.float64)


def sphere(num=60):
    """Unit vectors of a Gauss-Legendre rule in the height and equal angles around the axis, and their areas."""
    heights, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(num))
    around, arc = circle(2 * num)
    flat = (1 - heights.square()).sqrt()
    points = torch.cat([flat[:, None, None] * around, heights[:, None, None].expand(-1, len(around), 1)], -1)
    return points.flatten(0, 1), (weights[:, None] * arc).flatten()


@pytest.mark.parametrize("case", DENSITIES, ids=lambda case: case.id)
@pytest.mark.parametrize("points_and_areas", [circle, sphere])
def test_integrates_to_one_and_is_the_density_of_samples(case, points_and_areas):
    points, areas = points_and_areas()
    sampler = fit_on_sphere(case, points.shape[1]).double()
    mass = sampler.log_prob(points).exp() * areas
    torch.testing.assert_close(mass.sum().item(), 1.0, atol=1e-6, rtol=0)
    # shares of samples in the regions nearest to each of ten directions
    directions = F.normalize(noise(10, points.shape[1], seed=5, dtype=torch.float64))
    expected = torch.zeros(10, dtype=torch.float64).index_add_(0, (points @ directions.T).argmax(1), mass)
    drawn = sampler.sample(20_000, generator())
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(20_000, dtype=torch.float64))
    counts = (drawn @ directions.T).argmax(1).bincount(minlength=10)
    expected, likely = 20_000 * expected, expected > 5 / 20_000
    statistic = ((counts - expected).square() / expected)[likely].sum().item()
    assert likely.sum() > 3 and chi2.sf(statistic, likely.sum().item()) > 1e-3


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.id)
def test_other_samplers_say_that_they_have_no_density_on_the_sphere(case):
    sampler = fit_on_sphere(case, 3)
    drawn = sampler.sample(5, generator())
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(5))
    with pytest.raises(
        NotImplementedError, match=f"log_prob of {type(sampler).__name__} is not defined with unit_norm"
    ):
        sampler.log_prob(drawn)


def test_log_prob_needs_unit_vectors():
    sampler = fit_on_sphere(DENSITIES[0], 3)
    with pytest.raises(ValueError, match="it needs latents of length 1, got lengths from 2 to 2: divide"):
        sampler.log_prob(2 * sampler.sample(5, generator()))
    single = sampler.sample(5, generator())
    torch.testing.assert_close(sampler.log_prob(single.bfloat16()), sampler.log_prob(single), atol=0.1, rtol=0)
