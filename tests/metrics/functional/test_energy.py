"""Energy distance against its integral, its definition and its bias."""

import pytest
import torch
from builders import gaussian_rows
from cases import generator

from gae_hub.metrics import energy_distance


def test_two_gaussians():
    """In one dimension the distance is twice the integral of (F - G)^2."""
    normal = torch.distributions.Normal(0.0, 1.0)
    x = normal.icdf((torch.arange(3000, dtype=torch.float64) + 0.5) / 3000).unsqueeze(1)
    y = x + 1
    grid = torch.linspace(-8, 9, 10_001, dtype=torch.float64)
    exact = 2 * torch.trapezoid((normal.cdf(grid) - normal.cdf(grid - 1)) ** 2, grid).item()
    assert energy_distance(x, y) == pytest.approx(exact, rel=2e-3)
    assert abs(energy_distance(x, torch.randn(3000, 1, generator=generator(2)))) < 0.005
    with pytest.raises(ValueError, match="needs 2 or more points on each side, got 1"):
        energy_distance(x[:1], y)


def test_chunks_bound_memory_and_do_not_change_the_value(monkeypatch):
    x, y = gaussian_rows(30, 5), gaussian_rows(22, 5, 1) + 0.3
    full = 2 * torch.cdist(x, y).mean() - torch.pdist(x).mean() - torch.pdist(y).mean()
    sizes, inner = [], torch.cdist
    monkeypatch.setattr(torch, "cdist", lambda a, b: sizes.append(len(a) * len(b)) or inner(a, b))
    for chunk in (1, 7, 2048):
        monkeypatch.setattr("gae_hub.metrics.functional.energy.CHUNK", chunk)
        sizes.clear()
        assert energy_distance(x, y) == pytest.approx(full.item(), rel=1e-12)
        assert max(sizes) <= chunk**2


def test_unbiased():
    distances = torch.tensor(
        [energy_distance(*torch.randn(2, 10, 3, generator=generator(seed))) for seed in range(600)]
    )
    assert abs(distances.mean()) < 4 * distances.std() / 600**0.5
