"""The 95 % intervals contain their estimands in 95 % of repeated draws; benchmarks/coverage.py has larger sizes."""

from statistics import fmean

import pytest
import torch
from builders import gaussian_rows
from cases import generator

from gae_hub.metrics import (
    Estimate,
    density_coverage,
    frechet_infinity,
    inception_score,
    kernel_distance,
    precision_recall,
)


def coverage(found, truth=None):
    """Proportion of the intervals of repeated estimates that contain the truth; by default, that is their mean."""
    truth = fmean(estimate.value for estimate in found) if truth is None else truth
    return fmean(estimate.interval[0] <= truth <= estimate.interval[1] for estimate in found)


def draw(num, dim, offset=0.0, scale=1.0, num_draws=100):
    """Repeated draws of N(offset, scale^2) and N(0, 1)."""
    for seed in range(num_draws):
        rows = gaussian_rows(2 * num, dim, seed)
        yield offset + scale * rows[:num], rows[num:]


def test_mean_of_few_values():
    """With the normal distribution's quantile instead of Student's, 3 values cover in 82 %."""
    found = [Estimate.mean(values) for values in torch.randn(2000, 3, generator=generator())]
    assert coverage(found, 0.0) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (0.3, 0.9)])
def test_precision_recall_density_and_coverage(offset, scale):
    """Expected values for as many images. Intervals for independent cases of one side cover in 78 to 92 %."""
    found = [precision_recall(x, y) | density_coverage(x, y) for x, y in draw(100, 8, offset, scale)]
    for name in found[0]:
        assert coverage([estimates[name] for estimates in found]) >= 0.95, name
        errors = fmean(estimates[name].error for estimates in found)
        spread = torch.tensor([estimates[name].value for estimates in found]).std().item()
        assert spread < errors < 2.5 * spread, name


@pytest.mark.parametrize(("dim", "offset", "scale"), [(1, 0.0, 1.0), (24, 0.0, 1.0), (24, 0.2, 0.8)])
def test_extrapolated_frechet_distance(dim, offset, scale):
    """The distance of infinitely many images. In 24 dimensions, an interval around the biased value never covers."""
    found = [frechet_infinity(x, y) for x, y in draw(100, dim, offset, scale)]
    assert coverage(found, dim * (offset**2 + (1 - scale) ** 2)) >= 0.93
    spread = torch.tensor([estimate.value for estimate in found]).std().item()
    assert fmean(estimate.error for estimate in found) < 2 * spread


def test_kernel_distance():
    found = [kernel_distance(x, y) for x, y in draw(100, 8)]
    assert coverage(found, 0.0) >= 0.93
    found = [kernel_distance(x, y) for x, y in draw(100, 8, offset=0.3)]
    assert coverage(found) >= 0.9  # of 100 draws, 90 to 99 in 97 % of the cases


def test_inception_score_of_many_classes():
    """Expected value for as many images."""
    found = [inception_score(5 * gaussian_rows(100, 200, seed)) for seed in range(200)]
    assert coverage(found) >= 0.93
    assert {estimate.interval_name for estimate in found} == {"same_count_interval"}


def test_proportion_near_one():
    """With the normal interval, a proportion of 0.98 of 60 cases is covered in 71 %."""
    found = [Estimate.proportion(hits) for hits in torch.rand(1000, 60, generator=generator()) < 0.98]
    assert coverage(found, 0.98) >= 0.93
