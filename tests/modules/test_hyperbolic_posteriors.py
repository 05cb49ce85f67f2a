"""Wrapped and Riemannian normal distributions of hyperbolic space: densities, samples and gradients.

From 1 to 256 dimensions, and from small to large scales; in float64.
"""

from math import exp, log, pi, sqrt

import mpmath
import numpy as np
import pytest
import torch
from cases import generator
from scipy import integrate, stats
from torch.distributions import MultivariateNormal

from gae_hub.modules import hyperbolic_posteriors
from gae_hub.modules.hyperbolic_posteriors import RiemannianNormal, WrappedNormal
from gae_hub.modules.hyperbolic_space import hyperbolic_translate, log_sinhc
from gae_hub.modules.sphere import log_sphere_area

FAMILIES = pytest.mark.parametrize("family", [WrappedNormal, RiemannianNormal])


def posterior(family, dim, scale, curvature=1.0, mean=None):
    mean = torch.zeros(1, dim) if mean is None else mean
    size = dim if family is WrappedNormal else 1
    return family(mean.double(), torch.full((1, size), 2 * log(scale), dtype=torch.float64), curvature)


@FAMILIES
@pytest.mark.parametrize("mean", [[0.0, 0.0], [1.0, -0.5], [3.0, 2.0]])
@pytest.mark.parametrize("curvature", [0.4, 1.7])
def test_density_integrates_to_one_in_the_plane(family, mean, curvature):
    """In normal coordinates, with their volume element, for several means."""
    q = posterior(family, 2, 0.6, curvature, torch.tensor([mean]))
    if family is WrappedNormal:
        q.log_var = torch.tensor([[log(0.5), log(0.2)]], dtype=torch.float64)
    line = torch.linspace(-9, 9, 901, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    volume = log_sinhc(curvature**0.5 * grid.norm(dim=-1))
    density = (q.log_prob(grid.unsqueeze(0))[0] + volume).exp().view(901, 901)
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1, abs=3e-3)


@FAMILIES
@pytest.mark.parametrize("dim", [1, 2, 16, 64, 256])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0])
def test_density_of_the_radius_integrates_to_one(family, dim, scale):
    """Spheres around the origin have the area of the unit sphere times (sinh r)^(d - 1)."""
    q = posterior(family, dim, scale)
    power = dim - 1
    if family is WrappedNormal:
        peak = scale * sqrt(power)
    else:
        peak = scale**2 * power / 2 + sqrt((scale**2 * power / 2) ** 2 + scale**2 * power)
    r = torch.linspace(max(0.0, peak - 15 * scale), peak + 15 * scale, 40_001, dtype=torch.float64)[1:]
    r = torch.cat([r[:1] * 1e-9, r]) if peak < 15 * scale else r
    direction = torch.zeros(dim, dtype=torch.float64)
    direction[0] = 1
    area = log_sphere_area(dim) + power * (log_sinhc(r) + r.log())
    density = (q.centred_log_prob((r[:, None] * direction).unsqueeze(0))[0] + area).exp()
    assert torch.trapezoid(density, r).item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("dim", "scale", "curvature"), [(2, 0.5, 1.0), (5, 2.0, 0.3), (16, 1.0, 2.0), (40, 0.7, 1.0)])
def test_riemannian_normaliser_in_high_precision(dim, scale, curvature):
    with mpmath.workdps(30):
        root = mpmath.sqrt(curvature)

        def f(r):
            return mpmath.exp(-(r**2) / (2 * mpmath.mpf(scale) ** 2)) * (mpmath.sinh(root * r) / root) ** (dim - 1)

        edge = scale**2 * (dim - 1) * float(root) + sqrt(dim - 1) * scale + 15 * scale
        exact = float(mpmath.log(mpmath.quad(f, mpmath.linspace(0, edge, 16)))) + log_sphere_area(dim)
    q = posterior(RiemannianNormal, dim, scale, curvature)
    found = -q.centred_log_prob(torch.zeros(1, dim, dtype=torch.float64)).item()
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_gradient_of_the_riemannian_normaliser():
    """d log Z / d log sigma = E[r^2] / sigma^2, an identity of exponential families."""
    log_var = torch.tensor([[2 * log(0.8)]], dtype=torch.float64, requires_grad=True)
    q = RiemannianNormal(torch.zeros(1, 6, dtype=torch.float64), log_var, 1.0)
    zero = torch.zeros(1, 6, dtype=torch.float64)
    (slope,) = torch.autograd.grad(-q.centred_log_prob(zero).sum(), log_var)
    r = q.rsample(30_000, generator=generator()).norm(dim=-1)
    assert 2 * slope.item() == pytest.approx(r.square().mean().item() / 0.64, rel=0.02)


@pytest.mark.parametrize(("dim", "scale"), [(2, 0.5), (8, 1.5), (64, 0.3), (256, 1.0)])
def test_radii_pass_the_kolmogorov_smirnov_test(dim, scale):
    q = posterior(RiemannianNormal, dim, scale)
    r = q.rsample(4000, generator=generator())[0].norm(dim=-1).numpy()
    grid = np.linspace(max(1e-9, r.min() - 5 * scale), r.max() + 5 * scale, 20_001)
    log_p = -(grid**2) / (2 * scale**2) + (dim - 1) * (grid + np.log1p(-np.exp(-2 * grid)))
    cdf = np.concatenate([[0], integrate.cumulative_trapezoid(np.exp(log_p - log_p.max()), grid)])
    assert stats.kstest(r, lambda x: np.interp(x, grid, cdf / cdf[-1])).pvalue > 0.01


def test_gradient_of_the_mean_radius():
    """The mean gradient of samples is the derivative of the mean radius, which is known by quadrature."""
    log_var = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    q = RiemannianNormal(torch.zeros(1, 5, dtype=torch.float64), log_var, 1.0)
    (slope,) = torch.autograd.grad(q.rsample(50_000, generator=generator()).norm(dim=-1).mean(), log_var)

    def mean(sigma):
        def f(r):
            return exp(-(r**2) / (2 * sigma**2)) * np.sinh(r) ** 4

        return integrate.quad(lambda r: r * f(r), 0, 20)[0] / integrate.quad(f, 0, 20)[0]

    exact = (mean(1.001) - mean(0.999)) / 0.002 / 2  # with respect to log sigma^2
    assert slope.item() == pytest.approx(exact, rel=0.02)


@FAMILIES
@pytest.mark.parametrize("dim", [2, 64])
def test_rsample_and_log_prob_agrees_with_log_prob(family, dim):
    q = posterior(family, dim, 0.4, 0.8, torch.randn(1, dim, generator=generator()) / dim**0.5)
    z, log_q = q.rsample_and_log_prob(50, generator=generator())
    torch.testing.assert_close(q.log_prob(z), log_q, rtol=1e-6, atol=1e-6)


@FAMILIES
def test_density_around_another_mean(family):
    """Isometries preserve volume, so q(z; mean) = q(-mean + z; 0) with Möbius addition."""
    mean = torch.randn(1, 3, generator=generator(), dtype=torch.float64)
    moved, still = posterior(family, 3, 0.7, 1.2, mean), posterior(family, 3, 0.7, 1.2)
    z = torch.randn(1, 20, 3, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(moved.log_prob(z), still.log_prob(hyperbolic_translate(-mean, z, 1.2)))


def test_wrapped_normal_by_definition():
    """The density is that of a Gaussian in the tangent space, divided by the volume of the exponential map."""
    tangent = torch.randn(1, 9, 4, generator=generator(), dtype=torch.float64)
    log_var = torch.tensor([[0.1, -0.5, 0.3, 0.0]], dtype=torch.float64)
    q = WrappedNormal(torch.zeros(1, 4, dtype=torch.float64), log_var, 0.6)
    flat = MultivariateNormal(torch.zeros(4, dtype=torch.float64), log_var[0].exp().diag()).log_prob(tangent)
    r = sqrt(0.6) * tangent.norm(dim=-1)
    torch.testing.assert_close(q.centred_log_prob(tangent), flat - 3 * (r.sinh() / r).log())


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 7.0, 100.0])
def test_riemannian_normaliser_in_closed_form(scale):
    """(2 pi)^(3/2) s / 2, times e^(s^2 / 2) erf(s / sqrt 2) in two dimensions, or e^(2 s^2) - 1 in three."""
    s = mpmath.mpf(scale)
    factors = {2: mpmath.exp(s**2 / 2) * mpmath.erf(s / mpmath.sqrt(2)), 3: mpmath.expm1(2 * s**2)}
    for dim, factor in factors.items():
        found = -posterior(RiemannianNormal, dim, scale).centred_log_prob(torch.zeros(1, dim).double()).item()
        exact = float(mpmath.log((2 * mpmath.pi) ** 1.5 * s / 2 * factor))
        assert found == pytest.approx(exact, rel=1e-12, abs=1e-12)


@pytest.fixture
def quantiles(monkeypatch):
    """The values of their CDF at which radii are drawn, instead of random ones."""
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    monkeypatch.setattr(hyperbolic_posteriors, "rand", lambda shape, like, generator: u.to(like).expand(shape))
    return u


@pytest.mark.parametrize("dim", [1, 2, 16, 256])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 3.0, 100.0])
def test_quantiles_of_the_radius(quantiles, dim, scale):
    q = posterior(RiemannianNormal, dim, scale)
    r = q.rsample(2000, generator=generator())[0].norm(dim=-1)
    low, high = (edge.item() for edge in q._bounds())
    grid = torch.linspace(low, high, 40_001, dtype=torch.float64).clamp(min=1e-12 * scale)
    volume = log_sphere_area(dim) + (dim - 1) * (grid.log() + log_sinhc(grid))
    log_p = volume - 0.5 * (grid / scale).square() + q.centred_log_prob(torch.zeros(1, dim).double())
    cdf = integrate.cumulative_simpson(log_p.exp().numpy(), x=grid.numpy(), initial=0)
    np.testing.assert_allclose(np.interp(r, grid, cdf), quantiles, atol=1e-6)


@pytest.mark.parametrize("dim", [1, 2, 16, 256])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 20.0])
def test_gradients_of_quantiles_of_the_radius(quantiles, dim, scale):
    """They equal finite differences of the samples."""

    def radii(log_var):
        q = RiemannianNormal(torch.zeros(1, dim).double(), log_var, 1.3)
        return q.sample_tangents((2000,), generator()).norm(dim=-1)[0, ::97]

    at, step = torch.full((1, 1), 2 * log(scale), dtype=torch.float64), 1e-3
    difference = (radii(at + step) - radii(at - step)) / (2 * step)
    slope = torch.autograd.functional.jacobian(radii, at).flatten()
    torch.testing.assert_close(slope, difference, rtol=2e-4, atol=1e-5 * scale)


@FAMILIES
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_samples_follow_the_density(family, dim):
    """E_q[f p / q] = E_p[f] for f = 1, z and z^2, and another density p."""
    mean = 0.6 * torch.randn(1, dim, generator=generator())
    q, p = posterior(family, dim, 0.7, mean=mean), posterior(WrappedNormal, dim, 0.5, mean=mean + 0.2)
    z, log_q = q.rsample_and_log_prob(40_000, generator=generator())
    own, weights = p.rsample(40_000, generator=generator(1)), (p.log_prob(z) - log_q).exp().unsqueeze(-1)
    for f in (torch.ones_like, torch.clone, torch.square):
        error = 5 * ((weights * f(z)).std(1) + f(own).std(1)) / 200
        assert (((weights * f(z)).mean(1) - f(own).mean(1)).abs() < error).all()


@FAMILIES
def test_gradients_of_mean_and_scale(family):
    """Means over samples have the value and gradients of integrals, here of the log of another density."""
    radius, angle = torch.linspace(0, 9, 1201).double()[1:], torch.arange(240).double() * (2 * pi / 240)
    points = torch.cartesian_prod(radius, angle)
    volume = (log_sinhc(points[:, 0]).exp() * points[:, 0]).mul(radius[0] * 2 * pi / 240)
    points = (points[:, :1] * torch.stack([points[:, 1].cos(), points[:, 1].sin()], -1)).unsqueeze(0)
    other = posterior(WrappedNormal, 2, 1.5, mean=torch.tensor([[-0.3, 0.5]]))

    def by_draws(mean, log_var):
        return other.log_prob(family(mean, log_var, 1.0).rsample(40_000, generator=generator())).mean()

    def by_quadrature(mean, log_var):
        return (family(mean, log_var, 1.0).log_prob(points).exp() * other.log_prob(points) * volume).sum()

    at = torch.tensor([[0.5, 0.2]]).double(), torch.tensor([[2 * log(0.6)]]).double()
    torch.testing.assert_close(by_draws(*at), by_quadrature(*at), atol=0.02, rtol=0)
    slopes = (torch.autograd.functional.jacobian(f, at) for f in (by_draws, by_quadrature))
    for found, exact in zip(*slopes, strict=True):
        torch.testing.assert_close(found, exact, atol=0.02, rtol=0)


@FAMILIES
def test_flat_space_has_gaussian_densities(family):
    z = torch.randn(1, 50, 4, generator=generator(), dtype=torch.float64)
    exact = MultivariateNormal(torch.ones(4).double(), 0.36 * torch.eye(4).double()).log_prob(z)
    torch.testing.assert_close(posterior(family, 4, 0.6, 1e-12, torch.ones(1, 4)).log_prob(z), exact)


@FAMILIES
def test_gradients_are_continuous_at_a_mean_of_zero(family):
    direction = torch.randn(5, 4, generator=generator(1), dtype=torch.float64)

    def gradient(at):
        mean = torch.full((1, 4), at, dtype=torch.float64, requires_grad=True)
        z = posterior(family, 4, 1.0, mean=mean).rsample(5, generator=generator())
        return torch.autograd.grad((z * direction).sum(), mean)[0]

    assert gradient(0.0).abs().min() > 1e-3
    torch.testing.assert_close(gradient(0.0), gradient(1e-7), rtol=1e-5, atol=1e-5)
