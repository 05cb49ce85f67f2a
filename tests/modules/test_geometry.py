"""Bessel functions, draws by an inverted distribution function, and hyperbolic geometry, against high precision."""

from math import pi

import mpmath
import numpy as np
import pytest
import torch
from cases import generator
from scipy import integrate, stats

from gae_hub.modules.geometry import (
    from_ball,
    great_circle,
    hyperbolic_distance,
    hyperbolic_geodesic,
    log_integral,
    log_sinhc,
    log_sphere_area,
    sample_by_cdf,
    support,
    to_ball,
    translate,
    unit,
    vmf_moments,
)

mpmath.mp.dps = 40
DIMS = (2, 3, 16, 64, 128, 256)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


# The sphere


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kappa", [1e-8, 1e-3, 1.0, 7.0, 50.0, 300.0, 1e4, 1e8])
def test_von_mises_fisher_constants_are_bessel_functions(dim, kappa):
    log_mean, mean, rest = (value.item() for value in vmf_moments(dim, double(kappa)))
    order, k = mpmath.mpf(dim) / 2 - 1, mpmath.mpf(kappa)
    bessel, following = mpmath.besseli(order, k), mpmath.besseli(order + 1, k)
    exact_log = mpmath.log(mpmath.gamma(order + 1) * (2 / k) ** order * bessel) - k
    exact_mean = following / bessel
    assert log_mean == pytest.approx(float(exact_log), rel=1e-11, abs=1e-14)
    assert mean == pytest.approx(float(exact_mean), rel=1e-11)
    assert rest == pytest.approx(float(1 - exact_mean), rel=1e-10)


@pytest.mark.parametrize("dim", [2, 16, 256])
def test_their_gradients_are_right(dim):
    """dL/dk = A - 1, and dA/dk = 1 - A^2 - (d - 1) A / k."""
    kappa = double(0.1, 3.0, 100.0, 1e4).requires_grad_()
    log_mean, mean, rest = vmf_moments(dim, kappa)
    (slope,) = torch.autograd.grad(log_mean.sum(), kappa, retain_graph=True)
    torch.testing.assert_close(slope, -rest.detach(), rtol=1e-9, atol=0)
    (slope,) = torch.autograd.grad(mean.sum(), kappa)
    variance = rest * (1 + mean) - (dim - 1) * mean / kappa
    torch.testing.assert_close(slope, variance.detach(), rtol=1e-4, atol=0)


def test_single_precision_keeps_its_digits():
    exact = vmf_moments(256, double(0.5, 50.0, 5e4))
    for found, value in zip(vmf_moments(256, torch.tensor([0.5, 50.0, 5e4])), exact, strict=True):
        torch.testing.assert_close(found.double(), value, rtol=1e-4, atol=1e-5)


def test_the_area_of_spheres():
    assert [log_sphere_area(d) for d in (1, 2, 3)] == pytest.approx(np.log([2, 2 * pi, 4 * pi]))


def test_great_circles_have_constant_speed_and_both_ends():
    start, end = unit(noise(5, 1, 4)), unit(noise(5, 1, 4, seed=1))
    t = torch.linspace(0, 1, 7, dtype=torch.float64).view(1, -1, 1)
    path = great_circle(start, end, t)
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(5, 7, dtype=torch.float64))
    torch.testing.assert_close(path[:, 0], start[:, 0])
    torch.testing.assert_close(path[:, -1], end[:, 0])
    steps = (path[:, 1:] * path[:, :-1]).sum(-1).acos()
    angle = (start * end).sum(-1).acos()
    torch.testing.assert_close(steps, (angle / 6).expand_as(steps))


def test_great_circles_between_equal_and_opposite_points():
    start = unit(noise(3, 1, 4))
    t = torch.linspace(0, 1, 5, dtype=torch.float64).view(1, -1, 1)
    torch.testing.assert_close(great_circle(start, start, t), start.expand(3, 5, 4))
    path = great_circle(start, -start, t)
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(3, 5, dtype=torch.float64))
    torch.testing.assert_close(path[:, -1], -start[:, 0])
    assert (path[:, 2] * start[:, 0]).sum(-1).abs().max() < 1e-12  # half way is at a right angle


@pytest.mark.parametrize("gap", [1e-3, 1e-7, 1e-10])
def test_great_circles_between_nearly_opposite_points_keep_their_plane(gap):
    """Half way is the direction of the sum of the ends, of which the difference has no digits left."""
    start, across = unit(noise(1, 3)), noise(1, 3, seed=1)
    across = unit(across - (across * start).sum(-1, keepdim=True) * start)
    end = unit(-start + gap * across)
    middle = great_circle(start, end, double(0.5))
    assert (middle * across).sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(great_circle(start, end, double(1.0)), end, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dim", [2, 3, 256])
def test_great_circles_between_opposite_points_to_the_last_digit(dim):
    start = unit(noise(3000, dim))
    middle = great_circle(start, -start, double(0.5))
    torch.testing.assert_close(middle.norm(dim=-1), torch.ones(3000).double(), atol=2e-15, rtol=0)
    assert (middle * start).sum(-1).abs().max() < 2e-15


# Draws of one number


def gamma_like(shape):
    """log density x^(shape - 1) e^-x, up to a constant."""
    return lambda x: (shape - 1) * x.clamp(min=1e-300).log() - x


def test_draws_follow_their_density():
    """Kolmogorov and Smirnov's statistic of a gamma density, and the distribution function to 5e-6."""
    low, high = double(0.0).view(1, 1), double(60.0).view(1, 1)
    uniform = torch.rand(1, 100_000, generator=generator(), dtype=torch.float64)
    draws = sample_by_cdf(gamma_like(4.0), low, high, uniform)
    assert stats.kstest(draws[0].numpy(), stats.gamma(4.0).cdf).pvalue > 0.01
    np.testing.assert_allclose(stats.gamma(4.0).cdf(draws[0].numpy()), uniform[0].numpy(), atol=5e-6)


def test_draws_have_pathwise_gradients():
    """For a scale the quantile is proportional to it; for a shape it is scipy's quantile function differenced."""
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


def test_integrals_of_densities():
    log_density, bounds = gamma_like(4.0), (double(0.0).view(1, 1), double(80.0).view(1, 1))
    assert log_integral(log_density, *support(log_density, *bounds)).item() == pytest.approx(np.log(6), abs=1e-10)


# The hyperbolic space


def mobius(x, y, c):
    """Addition in the Poincaré ball, from its definition."""
    xy, xx, yy = (x * y).sum(-1, keepdim=True), x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    return ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c**2 * xx * yy)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
def test_translation_is_mobius_addition_in_the_ball(c):
    x, y = noise(200, 3), noise(200, 3, seed=1)
    expected = mobius(to_ball(x, c), to_ball(y, c), c)
    torch.testing.assert_close(to_ball(translate(x, y, c), c), expected)
    torch.testing.assert_close(from_ball(to_ball(x, c), c), x)


@pytest.mark.parametrize("radius", [1e-6, 1e-2, 1.0, 5.0])
@pytest.mark.parametrize("dim", [1, 2, 16])
def test_translation_is_an_isometry_with_an_inverse(radius, dim):
    m, x, y = (radius * noise(50, dim, seed=seed) / dim**0.5 for seed in range(3))
    distance = hyperbolic_distance(x, y, 1.3)
    moved = hyperbolic_distance(translate(m, x, 1.3), translate(m, y, 1.3), 1.3)
    torch.testing.assert_close(moved, distance, rtol=1e-6, atol=1e-9 * radius)
    torch.testing.assert_close(translate(-m, translate(m, x, 1.3), 1.3), x, rtol=1e-6, atol=1e-7 * radius)


def exact_distance(x, y):
    """The hyperbolic law of cosines in 60 digits."""
    with mpmath.workdps(60):
        a, b = (mpmath.sqrt(sum(mpmath.mpf(v) ** 2 for v in p)) for p in (x.tolist(), y.tolist()))
        dot = sum(mpmath.mpf(v) * mpmath.mpf(w) for v, w in zip(x.tolist(), y.tolist(), strict=True))
        return float(mpmath.acosh(mpmath.cosh(a) * mpmath.cosh(b) - mpmath.sinh(a) * mpmath.sinh(b) * dot / (a * b)))


@pytest.mark.parametrize("radius", [1e-8, 1e-3, 1.0, 20.0, 300.0, 3000.0])
def test_distances_at_every_scale(radius):
    for seed in range(5):
        x, y = radius * unit(noise(4, seed=seed)), 0.7 * radius * unit(noise(4, seed=seed + 50))
        assert hyperbolic_distance(x, y, 1.0).item() == pytest.approx(exact_distance(x, y), rel=1e-9)


def test_nothing_overflows_and_gradients_are_finite():
    zero = torch.zeros(1, 4, dtype=torch.float64)
    points = [zero, *(scale * unit(noise(1, 4, seed=s)) for s, scale in enumerate((1e-9, 1.0, 1e3, 1e6)))]
    for m in points:
        for v in [*points, -m, m]:
            m, v = m.clone().requires_grad_(), v.clone().requires_grad_()
            moved = translate(m, v, 1.0)
            gradients = torch.autograd.grad(moved.sum(), (m, v))
            assert moved.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("c", [0.5, 2.0])
def test_gradients_of_the_translation(c):
    m, v = (noise(6, 3, seed=seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda m, v: translate(m, v, c), (m, v))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 8.0])
def test_geodesics_have_constant_speed_and_both_ends(scale):
    start, end = (scale * noise(4, 1, 3, seed=seed) for seed in (0, 1))
    t = torch.linspace(0, 1, 6, dtype=torch.float64).view(1, -1, 1)
    path = hyperbolic_geodesic(start, end, t, 0.8)
    torch.testing.assert_close(path[:, 0], start[:, 0])
    torch.testing.assert_close(path[:, -1], end[:, 0])
    steps = hyperbolic_distance(path[:, 1:], path[:, :-1], 0.8)
    whole = hyperbolic_distance(start, end, 0.8)
    torch.testing.assert_close(steps, (whole / 5).expand_as(steps), rtol=1e-5, atol=1e-9)


def test_a_flat_space_is_the_limit():
    x, y = noise(5, 3), noise(5, 3, seed=1)
    torch.testing.assert_close(translate(x, y, 1e-12), x + y)
    torch.testing.assert_close(hyperbolic_distance(x, y, 1e-12), (x - y).norm(dim=-1))


def test_log_sinhc():
    x = double(1e-12, 1e-4, 0.05, 0.0999, 0.1001, 1.0, 30.0, 1e5)
    exact = [float(mpmath.log(mpmath.sinh(v) / v)) if v < 1e4 else v - np.log(2 * v) for v in map(float, x)]
    torch.testing.assert_close(log_sinhc(x), double(*exact), rtol=1e-12, atol=1e-300)


def test_the_volume_of_a_ball():
    """What the densities are by: the area of a sphere of radius r is that of the unit one times (sinh r)^(d - 1)."""
    volume, _ = integrate.quad(lambda r: 2 * pi * r * np.exp(log_sinhc(double(r)).item()), 0, 2)
    assert volume == pytest.approx(2 * pi * (np.cosh(2) - 1))
