"""RHVAE's metric, against its definition; in float64."""

import torch
from cases import generator

from gae_hub.modules.riemannian_metric import RiemannianMetric


def test_inverse_metric_and_kinetic_gradient():
    centroids = torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    factors = torch.randn(5, 3, 3, generator=generator(1), dtype=torch.float64)
    matrices = factors @ factors.mT
    metric = RiemannianMetric(centroids, matrices, 1.3, 0.05)
    z, momentum = torch.randn(2, 4, 3, generator=generator(5), dtype=torch.float64)
    z = 0.5 * z
    by_hand = torch.stack(
        [
            sum(m * torch.exp(-(point - c).square().sum() / 1.3**2) for c, m in zip(centroids, matrices, strict=True))
            + 0.05 * torch.eye(3)
            for point in z
        ]
    )
    torch.testing.assert_close(metric.inverse(z), by_hand)

    at = z.clone().requires_grad_()
    inverse = metric.inverse(at)
    kinetic = (
        0.5 * (momentum.unsqueeze(1) @ inverse @ momentum.unsqueeze(-1)).sum() - 0.5 * torch.logdet(inverse).sum()
    )
    (expected,) = torch.autograd.grad(kinetic, at)
    found = metric.at(z).kinetic_gradient(momentum)
    torch.testing.assert_close(found, expected)


def test_inverse_metric_needs_no_tensor_for_each_pair():
    """A tensor (batch, centroids, d, d) would have 0.5 GB here."""
    metric = RiemannianMetric(torch.randn(500, 16), torch.eye(16).expand(500, 16, 16).contiguous(), 1.5, 0.01)
    z = torch.randn(1000, 16)
    with torch.profiler.profile(profile_memory=True) as profile, torch.no_grad():
        metric.inverse(z)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert 0 < largest < 20e6


def test_points_where_the_metric_is_not_positive_definite_are_nan():
    """The other points of the batch keep their metric."""
    centroids = torch.tensor([[0.0, 0.0], [9.0, 0.0]], dtype=torch.float64)
    matrices = torch.stack([torch.diag(torch.tensor([2.0, -1.0])), torch.eye(2)]).double()
    place = RiemannianMetric(centroids, matrices, 1.0, 0.5).at(centroids)
    assert place.factor[0].isnan().all() and place.half_log_det()[0].isnan()
    torch.testing.assert_close(place.factor[1], 1.5**0.5 * torch.eye(2, dtype=torch.float64))
