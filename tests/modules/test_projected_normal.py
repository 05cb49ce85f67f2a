"""Directions of Gaussian vectors: the radial integral, and the density on the sphere."""

from math import exp, lgamma, log, pi, sqrt

import pytest
import torch
from scipy.integrate import quad
from scipy.special import log_ndtr

from gae_hub.modules.projected_normal import log_radial_integral, projected_normal_log_prob
from gae_hub.modules.sphere import log_sphere_area

SLOPES = torch.tensor([-300.0, -30.0, -3.0, -0.1, 0.0, 0.5, 4.0, 40.0, 1000.0], dtype=torch.float64)


def test_one_and_two_dimensions():
    """In closed form, with the normal distribution function: I_1 = M and I_2 = 1 + b M."""
    log_mills = 0.5 * log(2 * pi) + SLOPES.square() / 2 + torch.from_numpy(log_ndtr(SLOPES.numpy()))
    torch.testing.assert_close(log_radial_integral(1, SLOPES), log_mills, atol=2e-6, rtol=1e-12)
    near = SLOPES.abs() < 10  # else the closed form cancels or overflows
    expected = (1 + SLOPES * log_mills.exp())[near].log()
    torch.testing.assert_close(log_radial_integral(2, SLOPES)[near], expected, atol=4e-8, rtol=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 8, 50])
def test_equals_adaptive_quadrature(dim):
    for slope in SLOPES:
        b = slope.item()
        root = sqrt(b * b + 4 * dim)
        peak = (b + root) / 2 if b > 0 else 2 * dim / (root - b)
        width = peak / sqrt(peak * peak + dim)

        def integrand(s, b=b, peak=peak):  # relative to its value at the peak
            return exp((dim - 1) * log(s / peak) - (s * s - peak * peak) / 2 + b * (s - peak))

        value, _ = quad(integrand, max(peak - 12 * width, 0), peak + 40 * width, points=[peak], epsabs=0, epsrel=1e-10)
        expected = log(value) + (dim - 1) * log(peak) - peak * peak / 2 + b * peak
        assert abs(log_radial_integral(dim, slope).item() - expected) < 4e-8 + 1e-11 * abs(expected)


@pytest.mark.parametrize("dim", [2, 3, 20])
def test_centred_normal_is_uniform(dim):
    directions = torch.nn.functional.normalize(torch.randn(5, dim, dtype=torch.float64))
    found = projected_normal_log_prob(directions, torch.zeros(1, dim))
    torch.testing.assert_close(found, torch.full_like(found, -log_sphere_area(dim)), atol=4e-8, rtol=0)
    # I_d(0) = 2^(d / 2 - 1) Gamma(d / 2)
    expected = (dim / 2 - 1) * log(2) + lgamma(dim / 2)
    assert abs(log_radial_integral(dim, torch.zeros((), dtype=torch.float64)).item() - expected) < 4e-8
