"""The kernel density: its integral and its bandwidth."""

from math import log

import pytest
import torch
from cases import generator
from densities import noise, plane

from gae_hub import KernelDensitySampler


def test_integrates_to_one():
    points, area = plane()
    sampler = KernelDensitySampler().fit(noise(300, 2)).double()
    torch.testing.assert_close((sampler.log_prob(points).exp().sum() * area).item(), 1.0, atol=1e-4, rtol=0)


def test_bandwidth():
    sampler, scott = (KernelDensitySampler(bandwidth=how).fit(noise(300, 2)) for how in ("likelihood", "scott"))
    torch.testing.assert_close(scott.width.item(), 300 ** (-1 / 6))
    assert 0.5 < sampler.width / scott.width < 2  # for a Gaussian, both rules agree
    clusters = noise(30, 2)[torch.arange(300) % 30] + 0.003 * noise(300, 2, seed=1)
    sampler, scott = (KernelDensitySampler(bandwidth=how).fit(clusters) for how in ("likelihood", "scott"))
    assert sampler.width < 0.02 < scott.width
    spread = KernelDensitySampler(bandwidth=0.5).fit(noise(500, 2)).sample(50_000, generator())
    torch.testing.assert_close(spread.var(0), 1.25 * noise(500, 2).var(0), atol=0.05, rtol=0)


def shells(num):
    """Half of the points in tight clusters, half far apart: the likelihood has two maxima."""
    tight = noise(10, 2, seed=2)[torch.arange(num // 2) % 10] + 2e-3 * noise(num // 2, 2, seed=3)
    return torch.cat([tight, 2 * noise(num - num // 2, 2, seed=4)])


@pytest.mark.parametrize(
    "data", [noise(40, 2), shells(120), noise(200, 8) / noise(200, 3, seed=1).norm(dim=1, keepdim=True)]
)
def test_leave_one_out_likelihood(data):
    """The bandwidth is as good as the best of a fine grid, when each embedding is left out by hand."""
    sampler, data = KernelDensitySampler().fit(data), data.double()
    points = data / data.std(0, correction=0)
    squares = (points[:, None] - points).square().sum(-1).fill_diagonal_(torch.inf)

    def left_out(h):
        return (squares / (-2 * h * h)).logsumexp(1).sum() - data.numel() * h.log()

    widths = torch.logspace(-3, 0.5, 300, dtype=torch.float64)
    likelihoods = torch.stack([left_out(h) for h in widths])
    torch.testing.assert_close(sampler.width.double(), widths[likelihoods.argmax()], atol=0, rtol=0.02)
    assert left_out(sampler.width.double()) > likelihoods.max() - 1e-4 * len(data)


def test_distant_kernels_do_not_change_the_density():
    """Kernels below exp(-80) of the nearest are not computed, and distances of 1,000 bandwidths do not overflow."""
    data = noise(50, 2, dtype=torch.float64)
    sampler = KernelDensitySampler(bandwidth=1e-3).fit(data).double()
    data = sampler.latents  # rounded to float32
    points = torch.cat([data[:5] + 1e-3, 3 * noise(5, 2, seed=1, dtype=torch.float64)])
    kernels = torch.distributions.Normal(data, sampler.width * sampler.std)
    expected = kernels.log_prob(points[:, None]).sum(-1).logsumexp(1) - log(50)
    torch.testing.assert_close(sampler.log_prob(points), expected)
