"""The kernel density: its integral and its bandwidth."""

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


def test_leave_one_out_likelihood():
    """The bandwidth is the best of the grid when each embedding is left out by hand."""
    data = noise(40, 2, dtype=torch.float64)
    sampler = KernelDensitySampler().fit(data)
    std = data.std(0, correction=0)

    def left_out(h):
        kernels = torch.distributions.Normal(0.0, h)
        each = kernels.log_prob((data[:, None] - data) / std).sum(-1).fill_diagonal_(-torch.inf)
        return each.logsumexp(1).sum()

    widths = torch.logspace(-3, 0.5, 60, dtype=torch.float64)
    best = widths[torch.stack([left_out(h) for h in widths]).argmax()]
    torch.testing.assert_close(sampler.width.double(), best, atol=1e-6, rtol=1e-5)
