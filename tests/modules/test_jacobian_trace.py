"""Traces of Jacobians: exact ones against autograd, and unbiased estimates."""

import torch
from densities import noise

from gae_hub.modules.jacobian_trace import draw_probes, trace_jacobian

WEIGHTS = noise(5, 5, dtype=torch.float64)
POINTS = noise(7, 5, seed=1, dtype=torch.float64)


def function(points):
    return (points @ WEIGHTS.T).tanh() * points.square().sum(1, keepdim=True)


JACOBIANS = torch.stack([torch.autograd.functional.jacobian(function, point[None]).squeeze() for point in POINTS])
TRACES = JACOBIANS.diagonal(dim1=1, dim2=2).sum(1)


def test_exact_trace():
    with torch.no_grad():
        values, traces = trace_jacobian(function, POINTS, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(values, function(POINTS))
    torch.testing.assert_close(traces, TRACES)


def test_estimates_are_unbiased():
    """Their variance is that of Hutchinson's estimator with signs: 2 sum over i < j of ((J_ij + J_ji) / 2)^2 * 2."""
    estimates = torch.stack(
        [trace_jacobian(function, POINTS, draw_probes(2, POINTS, seed))[1] for seed in range(3000)]
    )
    symmetric = (JACOBIANS + JACOBIANS.mT) / 2
    variance = 2 * (symmetric.square().sum((1, 2)) - symmetric.diagonal(dim1=1, dim2=2).square().sum(1)) / 2
    assert ((estimates.mean(0) - TRACES).abs() < 4 * (variance / 3000).sqrt()).all()
    torch.testing.assert_close(estimates.var(0), variance, rtol=0.15, atol=0)


def test_probes_are_seeded():
    assert torch.equal(draw_probes(3, POINTS, 1), draw_probes(3, POINTS, 1))
    assert not torch.equal(draw_probes(3, POINTS, 1), draw_probes(3, POINTS, 2))
    torch.testing.assert_close(draw_probes(3, POINTS, 1).square().sum(0), torch.ones(5, dtype=torch.float64))
