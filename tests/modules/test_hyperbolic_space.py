"""Translations, distances and geodesics of hyperbolic space, against definitions and high precision."""

from math import pi

import mpmath
import numpy as np
import pytest
import torch
from cases import generator
from scipy import integrate

from gae_hub.modules.hyperbolic_space import (
    from_ball,
    hyperbolic_distance,
    hyperbolic_geodesic,
    hyperbolic_translate,
    log_sinhc,
    to_ball,
)
from gae_hub.modules.sphere import normalize


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def mobius(x, y, c):
    """Möbius addition in the Poincaré ball, by its definition."""
    xy, xx, yy = (x * y).sum(-1, keepdim=True), x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    return ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c**2 * xx * yy)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
def test_translation_is_mobius_addition(c):
    x, y = noise(200, 3), noise(200, 3, seed=1)
    expected = mobius(to_ball(x, c), to_ball(y, c), c)
    torch.testing.assert_close(to_ball(hyperbolic_translate(x, y, c), c), expected)
    torch.testing.assert_close(from_ball(to_ball(x, c), c), x)


@pytest.mark.parametrize("radius", [1e-6, 1e-2, 1.0, 5.0])
@pytest.mark.parametrize("dim", [1, 2, 16])
def test_translation_is_an_isometry_with_an_inverse(radius, dim):
    m, x, y = (radius * noise(50, dim, seed=seed) / dim**0.5 for seed in range(3))
    distance = hyperbolic_distance(x, y, 1.3)
    moved = hyperbolic_distance(hyperbolic_translate(m, x, 1.3), hyperbolic_translate(m, y, 1.3), 1.3)
    torch.testing.assert_close(moved, distance, rtol=1e-6, atol=1e-9 * radius)
    torch.testing.assert_close(
        hyperbolic_translate(-m, hyperbolic_translate(m, x, 1.3), 1.3), x, rtol=1e-6, atol=1e-7 * radius
    )


def exact_distance(x, y):
    """The hyperbolic law of cosines, in 60 digits."""
    with mpmath.workdps(60):
        a, b = (mpmath.sqrt(sum(mpmath.mpf(v) ** 2 for v in p)) for p in (x.tolist(), y.tolist()))
        dot = sum(mpmath.mpf(v) * mpmath.mpf(w) for v, w in zip(x.tolist(), y.tolist(), strict=True))
        return float(mpmath.acosh(mpmath.cosh(a) * mpmath.cosh(b) - mpmath.sinh(a) * mpmath.sinh(b) * dot / (a * b)))


@pytest.mark.parametrize("radius", [1e-8, 1e-3, 1.0, 20.0, 300.0, 3000.0])
def test_distances_at_all_scales(radius):
    for seed in range(5):
        x, y = radius * normalize(noise(4, seed=seed)), 0.7 * radius * normalize(noise(4, seed=seed + 50))
        assert hyperbolic_distance(x, y, 1.0).item() == pytest.approx(exact_distance(x, y), rel=1e-9)


def test_translations_and_gradients_are_finite():
    zero = torch.zeros(1, 4, dtype=torch.float64)
    points = [zero, *(scale * normalize(noise(1, 4, seed=s)) for s, scale in enumerate((1e-9, 1.0, 1e3, 1e6)))]
    for m in points:
        for v in [*points, -m, m]:
            m, v = m.clone().requires_grad_(), v.clone().requires_grad_()
            moved = hyperbolic_translate(m, v, 1.0)
            gradients = torch.autograd.grad(moved.sum(), (m, v))
            assert moved.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("c", [0.5, 2.0])
def test_gradients_of_translations(c):
    m, v = (noise(6, 3, seed=seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda m, v: hyperbolic_translate(m, v, c), (m, v))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 8.0])
def test_geodesic_has_constant_speed_and_both_ends(scale):
    start, end = (scale * noise(4, 1, 3, seed=seed) for seed in (0, 1))
    t = torch.linspace(0, 1, 6, dtype=torch.float64).view(1, -1, 1)
    path = hyperbolic_geodesic(start, end, t, 0.8)
    torch.testing.assert_close(path[:, 0], start[:, 0])
    torch.testing.assert_close(path[:, -1], end[:, 0])
    steps = hyperbolic_distance(path[:, 1:], path[:, :-1], 0.8)
    whole = hyperbolic_distance(start, end, 0.8)
    torch.testing.assert_close(steps, (whole / 5).expand_as(steps), rtol=1e-5, atol=1e-9)


def test_small_curvature_is_flat():
    x, y = noise(5, 3), noise(5, 3, seed=1)
    torch.testing.assert_close(hyperbolic_translate(x, y, 1e-12), x + y)
    torch.testing.assert_close(hyperbolic_distance(x, y, 1e-12), (x - y).norm(dim=-1))


def test_log_sinhc():
    x = double(1e-12, 1e-4, 0.05, 0.0999, 0.1001, 1.0, 30.0, 1e5)
    with mpmath.workdps(40):
        exact = [float(mpmath.log(mpmath.sinh(v) / v)) if v < 1e4 else v - np.log(2 * v) for v in map(float, x)]
    torch.testing.assert_close(log_sinhc(x), double(*exact), rtol=1e-12, atol=1e-300)


def test_area_of_a_disk():
    """A circle of radius r has length 2 pi sinh(r): the volume element of the densities."""
    area, _ = integrate.quad(lambda r: 2 * pi * r * np.exp(log_sinhc(double(r)).item()), 0, 2)
    assert area == pytest.approx(2 * pi * (np.cosh(2) - 1))
