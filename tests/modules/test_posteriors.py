"""Gaussian posteriors and point masses: density, KL, and samples."""

from math import log, pi

import pytest
import torch
from cases import generator
from torch.distributions import Normal

from gae_hub.modules.noise import randn
from gae_hub.modules.posteriors import DiagonalGaussian, PointMass, gaussian_log_prob


def posterior(batch=4, dim=3):
    noise = torch.randn(2, batch, dim, generator=generator(), dtype=torch.float64)
    return DiagonalGaussian(noise[0], 0.5 * noise[1])


def test_gaussian_log_prob():
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    mean, log_var = torch.tensor(0.7, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    log_p = gaussian_log_prob(grid, mean, log_var)
    torch.testing.assert_close(log_p, Normal(mean, (0.5 * log_var).exp()).log_prob(grid))
    torch.testing.assert_close(torch.trapezoid(log_p.exp(), grid), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(gaussian_log_prob(grid), Normal(0.0, 1.0).log_prob(grid))


def test_kl_is_the_mean_log_ratio():
    q = posterior()
    z = q.rsample(200_000, generator=generator(1))
    ratio = q.log_prob(z) - gaussian_log_prob(z).sum(-1)
    torch.testing.assert_close(ratio.mean(1), q.kl(), atol=5 * (ratio.std(1) / 200_000**0.5).max().item(), rtol=0)
    at_prior = DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    assert torch.equal(at_prior.kl(), torch.zeros(2))


def test_moments_and_gradients_of_samples():
    q = posterior()
    z = q.rsample(100_000, generator=generator(2))
    torch.testing.assert_close(z.mean(1), q.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(1), q.log_var.exp(), atol=0.05, rtol=0.02)
    mean = q.mean.clone().requires_grad_()
    DiagonalGaussian(mean, q.log_var).rsample().sum().backward()
    assert torch.equal(mean.grad, torch.ones_like(mean))


def test_dtype_of_noise():
    noise = randn((3, 2), torch.empty(0, dtype=torch.float64), generator())
    assert noise.dtype == torch.float64
    assert torch.equal(noise, torch.randn(3, 2, generator=generator(), dtype=torch.float64))


def test_samples_of_a_point_mass():
    point = torch.randn(4, 3)
    assert torch.equal(PointMass(point).rsample(5), point.unsqueeze(1).expand(4, 5, 3))


@pytest.mark.parametrize("log_var", [-150.0, -100.0, -60.0, -30.0, 0.0, 30.0])
def test_log_density_of_samples_comes_from_their_noise(log_var):
    """-(log 2 pi + log_var + noise^2) / 2 in float64, for the bounded log variance, at a mean of 3."""
    q = DiagonalGaussian(torch.full((4, 2), 3.0), torch.full((4, 2), log_var))
    _, log_q = q.rsample_and_log_prob(50, generator=generator(3))
    noise = randn((4, 50, 2), q.mean, generator(3)).double()
    expected = -0.5 * (log(2 * pi) + log_var + noise.square()).sum(-1)
    torch.testing.assert_close(log_q.double(), expected, rtol=1e-6, atol=1e-5)


def test_kl_in_closed_form_at_extreme_variances():
    """(exp(v) - 1 - v) / 2 in float64, for the bounded log variance v; the gradient leads back to the bounds."""
    log_var = torch.tensor([[-1e30, -100.0, -80.0, -1e-4, 1e-4, 1.0, 79.0, 80.0, 89.0, 1e30]], requires_grad=True)
    q = DiagonalGaussian(torch.zeros_like(log_var), log_var)
    kl = q.kl_per_dimension()
    v = log_var.detach().double().clamp(-160, 80)
    torch.testing.assert_close(kl.detach().double(), 0.5 * (v.expm1() - v), rtol=1e-6, atol=1e-11)
    (gradient,) = torch.autograd.grad(kl.sum(), log_var)
    assert gradient.isfinite().all()
    assert (gradient[0, :4] < 0).all() and (gradient[0, 4:] > 0).all()  # those outside the bounds can return
    assert q.rsample(100, generator=generator()).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_far_from_a_narrow_posterior_has_finite_gradients(dtype):
    """As of a mixture's distant components, whose weight is 0."""
    log_var = torch.tensor([-150.0, -100.0, 0.0], dtype=dtype, requires_grad=True)
    density = gaussian_log_prob(torch.full((3,), 3.0, dtype=dtype), 1.0, log_var)
    assert density[1] < -1e34 and density[2].item() == pytest.approx(-0.5 * (log(2 * pi) + 4))
    density.logsumexp(0).backward()
    torch.testing.assert_close(log_var.grad, torch.tensor([0.0, 0.0, 1.5], dtype=dtype))
