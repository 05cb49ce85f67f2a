"""Samples, their gradients and integrals, for gamma densities."""

import numpy as np
import pytest
import torch
from cases import generator
from scipy import stats

from gae_hub.modules.inverse_cdf import find_support, log_integral, sample_by_cdf


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def log_gamma_density(shape):
    """The log density of x^(shape - 1) e^-x, up to a constant."""
    return lambda x: (shape - 1) * x.clamp(min=1e-300).log() - x


def test_samples_follow_their_density():
    """The Kolmogorov-Smirnov test accepts them, and the CDF is exact to 5e-6."""
    low, high = double(0.0).view(1, 1), double(60.0).view(1, 1)
    uniform = torch.rand(1, 100_000, generator=generator(), dtype=torch.float64)
    draws = sample_by_cdf(log_gamma_density(4.0), low, high, uniform)
    assert stats.kstest(draws[0].numpy(), stats.gamma(4.0).cdf).pvalue > 0.01
    np.testing.assert_allclose(stats.gamma(4.0).cdf(draws[0].numpy()), uniform[0].numpy(), atol=5e-6)


def test_pathwise_gradients():
    """Quantiles are proportional to the scale; for the shape, compare with differences of scipy's quantiles."""
    uniform = torch.rand(1, 50, generator=generator(), dtype=torch.float64)
    low, high = double(0.0).view(1, 1), double(80.0).view(1, 1)
    scale, shape = double(1.5).requires_grad_(), double(3.0).requires_grad_()
    draws = sample_by_cdf(lambda x: (shape - 1) * x.clamp(min=1e-300).log() - x / scale, low, high, uniform)
    jacobian = torch.stack([torch.stack(torch.autograd.grad(d, (scale, shape), retain_graph=True)) for d in draws[0]])
    torch.testing.assert_close(jacobian[:, 0, 0], draws[0].detach() / 1.5, rtol=1e-5, atol=1e-6)
    quantile = stats.gamma.ppf
    u = uniform[0].numpy()
    by_shape = (quantile(u, 3.0 + 1e-4, scale=1.5) - quantile(u, 3.0 - 1e-4, scale=1.5)) / 2e-4
    np.testing.assert_allclose(jacobian[:, 1, 0].numpy(), by_shape, rtol=1e-4, atol=1e-5)


def test_log_integral():
    log_density, bounds = log_gamma_density(4.0), (double(0.0).view(1, 1), double(80.0).view(1, 1))
    assert log_integral(log_density, *find_support(log_density, *bounds)).item() == pytest.approx(np.log(6), abs=1e-10)
