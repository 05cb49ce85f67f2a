"""The von Mises-Fisher posterior: density, KL, samples and gradients.

From 2 to 256 dimensions, and from small to large concentrations; in float64.
"""

from math import pi

import mpmath
import numpy as np
import pytest
import torch
from cases import generator
from scipy import integrate, stats

from gae_hub.modules import von_mises_fisher
from gae_hub.modules.sphere import log_sphere_area, normalize, vmf_moments
from gae_hub.modules.von_mises_fisher import VonMisesFisher

DIMS, KAPPAS = (2, 3, 16, 64, 256), (1e-6, 0.1, 5.0, 100.0, 1e4, 1e7)


def posterior(dim, kappa, batch=1):
    mean = normalize(torch.randn(batch, dim, generator=generator(), dtype=torch.float64))
    return VonMisesFisher(mean, torch.full((batch, 1), float(kappa), dtype=torch.float64))


@pytest.mark.parametrize("kappa", [1e-3, 1.0, 30.0])
def test_density_integrates_to_one_on_circle_and_sphere(kappa):
    angle = torch.linspace(0, 2 * pi, 20_001, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    density = posterior(2, kappa).log_prob(circle.unsqueeze(0)).exp()[0]
    assert torch.trapezoid(density, angle).item() == pytest.approx(1, abs=1e-8)
    up = torch.linspace(-1, 1, 801, dtype=torch.float64)
    round_ = torch.linspace(0, 2 * pi, 401, dtype=torch.float64)
    z, phi = torch.meshgrid(up, round_, indexing="ij")
    r = (1 - z.square()).clamp(min=0).sqrt()
    grid = torch.stack([r * phi.cos(), r * phi.sin(), z], -1)
    density = posterior(3, kappa).log_prob(grid.flatten(0, 1).unsqueeze(0)).exp().view(z.shape)
    assert torch.trapezoid(torch.trapezoid(density, round_), up).item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kappa", [1e-6, 5.0, 1e4])
def test_density_of_the_angle_integrates_to_one(dim, kappa):
    """The points at an angle to the mean are a sphere with the area of the unit sphere times sin(angle)^(d - 2)."""
    q = posterior(dim, kappa)
    tangent = normalize(torch.randn(1, dim, generator=generator(1), dtype=torch.float64))
    tangent = normalize(tangent - (tangent * q.mean).sum(-1, keepdim=True) * q.mean)
    num = 20_000
    angle = (torch.arange(num, dtype=torch.float64) + 0.5) * (pi / num)  # midpoints
    z = angle[:, None].cos() * q.mean + angle[:, None].sin() * tangent
    log_p = q.log_prob(z.unsqueeze(0))[0] + (dim - 2) * angle.sin().log() + log_sphere_area(dim - 1)
    assert log_p.exp().sum().item() * pi / num == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kappa", KAPPAS)
def test_kl_in_high_precision(dim, kappa):
    with mpmath.workdps(50):
        order, k = mpmath.mpf(dim) / 2 - 1, mpmath.mpf(kappa)
        bessel, following = mpmath.besseli(order, k), mpmath.besseli(order + 1, k)
        exact = k * following / bessel - mpmath.log(mpmath.gamma(order + 1) * (2 / k) ** order * bessel)
    assert posterior(dim, kappa).kl().item() == pytest.approx(float(exact), rel=1e-8, abs=1e-13)


@pytest.mark.parametrize(("dim", "kappa"), [(2, 3.0), (16, 20.0), (64, 500.0)])
def test_kl_is_the_mean_log_ratio(dim, kappa):
    q = posterior(dim, kappa)
    _, log_q = q.rsample_and_log_prob(20_000, generator=generator())
    ratio = log_q + log_sphere_area(dim)
    torch.testing.assert_close(ratio.mean(1), q.kl(), atol=4 * ratio.std().item() / 20_000**0.5, rtol=0)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kappa", KAPPAS)
def test_moments_of_samples(dim, kappa):
    q, num = posterior(dim, kappa), 20_000
    z = q.rsample(num, generator=generator())
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(1, num, dtype=torch.float64))
    versine = 0.5 * (z - q.mean).square().sum(-1)
    _, mean, rest = vmf_moments(dim, q.concentration)
    variance = (rest * (1 + mean) - (dim - 1) * mean / kappa).item()  # 1 - A^2 - (d - 1) A / k
    error = 5 * versine.std().item() / num**0.5
    torch.testing.assert_close(versine.mean(), rest.squeeze(), atol=error, rtol=0)
    if kappa < 1e5:  # above, the exact variance has rounding errors
        assert versine.var().item() == pytest.approx(variance, rel=0.15)
    across = z - (z * q.mean).sum(-1, keepdim=True) * q.mean  # uniform around the mean
    assert (across.mean(1).norm() < 5 * across.norm(dim=-1).square().mean().sqrt() / num**0.5).item()


@pytest.mark.parametrize(("dim", "kappa"), [(2, 0.5), (3, 10.0), (64, 40.0)])
def test_samples_pass_the_kolmogorov_smirnov_test(dim, kappa):
    """For the angle to the mean, against its CDF by quadrature."""
    q = posterior(dim, kappa)
    cosine = (q.rsample(5000, generator=generator()) * q.mean).sum(-1)[0].numpy()
    angle = np.linspace(0, pi, 20_001)
    density = np.exp(kappa * (np.cos(angle) - 1)) * np.sin(angle) ** (dim - 2)
    cdf = np.concatenate([[0], integrate.cumulative_trapezoid(density, angle)])
    assert stats.kstest(np.arccos(cosine), lambda x: np.interp(x, angle, cdf / cdf[-1])).pvalue > 0.01


@pytest.mark.parametrize("dim", [2, 16, 256])
def test_gradient_of_the_mean_cosine(dim):
    """The mean of d cos / d kappa over samples is A'(kappa). With a rejection sampler it would not be complete."""
    kappa = torch.full((1, 1), 8.0, dtype=torch.float64, requires_grad=True)
    mean = normalize(torch.randn(1, dim, generator=generator(), dtype=torch.float64))
    cosine = (VonMisesFisher(mean, kappa).rsample(20_000, generator=generator()) * mean).sum(-1)
    (slope,) = torch.autograd.grad(cosine.mean(), kappa, retain_graph=True)
    at = kappa.detach().requires_grad_()
    (exact,) = torch.autograd.grad(vmf_moments(dim, at)[1].sum(), at)
    torch.testing.assert_close(slope, exact, rtol=0.03, atol=0)


@pytest.fixture
def quantiles(monkeypatch):
    """The values of their CDF at which angles are drawn, instead of random ones."""
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    monkeypatch.setattr(von_mises_fisher, "rand", lambda shape, like, generator: u.to(like).expand(shape))
    return u


@pytest.mark.parametrize("kappa", [1e-6, 1e-2, 1.0, 30.0, 1e4, 1e8])
def test_angles_in_three_dimensions_in_closed_form(quantiles, kappa):
    """1 - cos has an exponential distribution truncated at 2, whose quantiles and their derivatives are known."""

    def exact(kappa):
        return -(quantiles * (-2 * kappa).expm1()).log1p() / kappa

    def drawn(kappa):
        return VonMisesFisher(posterior(3, 1.0).mean, kappa)._draw((1000,), generator())[1][0]

    at = torch.full((1, 1), kappa, dtype=torch.float64)
    size = exact(at[0]).max().item()
    torch.testing.assert_close(drawn(at), exact(at[0]), atol=1e-7 * size, rtol=1e-6)
    pair = (lambda k: drawn(k)[::23], lambda k: exact(k[0])[::23])
    found, slope = (torch.autograd.functional.jacobian(f, at).flatten() for f in pair)
    torch.testing.assert_close(found, slope, atol=2e-6 * slope.abs().max().item(), rtol=0)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kappa", KAPPAS)
def test_gradient_of_the_mean_cosine_at_every_concentration(quantiles, dim, kappa):
    """The mean of d (1 - cos) / d kappa over quantiles is the derivative of 1 - A, up to the outermost quantiles."""

    def drawn(kappa):
        return VonMisesFisher(posterior(dim, 1.0).mean, kappa)._draw((1000,), generator())[1].mean()

    at = torch.full((1, 1), kappa, dtype=torch.float64)
    slope, exact = (torch.autograd.functional.jacobian(f, at) for f in (drawn, lambda k: vmf_moments(dim, k)[2].sum()))
    torch.testing.assert_close(slope, exact, rtol=0.01, atol=0)


def test_gradient_of_the_mean_direction():
    """E[a.z] = A(kappa) a.mean, so its gradient with respect to the mean is A(kappa) a along the sphere."""
    direction = torch.randn(1, 4, generator=generator(), dtype=torch.float64, requires_grad=True)
    a = torch.randn(4, generator=generator(1), dtype=torch.float64)
    mean = normalize(direction)
    kappa = torch.full((1, 1), 5.0, dtype=torch.float64)
    estimate = VonMisesFisher(mean, kappa).rsample(60_000, generator=generator()) @ a
    (slope,) = torch.autograd.grad(estimate.mean(), direction, retain_graph=True)
    (exact,) = torch.autograd.grad(vmf_moments(4, kappa)[1].squeeze() * (mean @ a).sum(), direction)
    torch.testing.assert_close(slope, exact, atol=0.02, rtol=0.02)
