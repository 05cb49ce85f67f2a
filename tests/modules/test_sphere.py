"""Great circles, and von Mises-Fisher constants against Bessel functions in high precision."""

from math import pi

import mpmath
import numpy as np
import pytest
import torch
from cases import generator

from gae_hub.modules.sphere import great_circle, log_sphere_area, normalize, vmf_moments

DIMS = (2, 3, 16, 64, 128, 256)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_normalize():
    torch.testing.assert_close(normalize(double([3.0, -4.0], [0.0, 0.0])), double([0.6, -0.8], [1.0, 0.0]))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kappa", [1e-8, 1e-3, 1.0, 7.0, 50.0, 300.0, 1e4, 1e8])
def test_vmf_moments_are_bessel_functions(dim, kappa):
    log_mean, mean, rest = (value.item() for value in vmf_moments(dim, double(kappa)))
    with mpmath.workdps(40):
        order, k = mpmath.mpf(dim) / 2 - 1, mpmath.mpf(kappa)
        bessel = mpmath.besseli(order, k)
        exact_mean = mpmath.besseli(order + 1, k) / bessel
        exact_log = mpmath.log(mpmath.gamma(order + 1) * (2 / k) ** order * bessel) - k
        assert log_mean == pytest.approx(float(exact_log), rel=1e-11, abs=1e-14)
        assert mean == pytest.approx(float(exact_mean), rel=1e-11)
        assert rest == pytest.approx(float(1 - exact_mean), rel=1e-10)


@pytest.mark.parametrize("dim", [2, 16, 256])
def test_gradients_of_vmf_moments(dim):
    """dL/dk = A - 1, and dA/dk = 1 - A^2 - (d - 1) A / k."""
    kappa = double(0.1, 3.0, 100.0, 1e4).requires_grad_()
    log_mean, mean, rest = vmf_moments(dim, kappa)
    (slope,) = torch.autograd.grad(log_mean.sum(), kappa, retain_graph=True)
    torch.testing.assert_close(slope, -rest.detach(), rtol=1e-9, atol=0)
    (slope,) = torch.autograd.grad(mean.sum(), kappa)
    variance = rest * (1 + mean) - (dim - 1) * mean / kappa
    torch.testing.assert_close(slope, variance.detach(), rtol=1e-4, atol=0)


def test_vmf_moments_in_float32():
    exact = vmf_moments(256, double(0.5, 50.0, 5e4))
    for found, value in zip(vmf_moments(256, torch.tensor([0.5, 50.0, 5e4])), exact, strict=True):
        torch.testing.assert_close(found.double(), value, rtol=1e-4, atol=1e-5)


def test_log_sphere_area():
    assert [log_sphere_area(d) for d in (1, 2, 3)] == pytest.approx(np.log([2, 2 * pi, 4 * pi]))


def test_great_circle_has_constant_speed_and_both_ends():
    start, end = normalize(noise(5, 1, 4)), normalize(noise(5, 1, 4, seed=1))
    t = torch.linspace(0, 1, 7, dtype=torch.float64).view(1, -1, 1)
    path = great_circle(start, end, t)
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(5, 7, dtype=torch.float64))
    torch.testing.assert_close(path[:, 0], start[:, 0])
    torch.testing.assert_close(path[:, -1], end[:, 0])
    steps = (path[:, 1:] * path[:, :-1]).sum(-1).acos()
    angle = (start * end).sum(-1).acos()
    torch.testing.assert_close(steps, (angle / 6).expand_as(steps))


def test_great_circle_between_equal_and_opposite_points():
    start = normalize(noise(3, 1, 4))
    t = torch.linspace(0, 1, 5, dtype=torch.float64).view(1, -1, 1)
    torch.testing.assert_close(great_circle(start, start, t), start.expand(3, 5, 4))
    path = great_circle(start, -start, t)
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(3, 5, dtype=torch.float64))
    torch.testing.assert_close(path[:, -1], -start[:, 0])
    assert (path[:, 2] * start[:, 0]).sum(-1).abs().max() < 1e-12  # the middle is orthogonal to the ends


@pytest.mark.parametrize("gap", [1e-3, 1e-7, 1e-10])
def test_great_circle_between_nearly_opposite_points(gap):
    """The middle is the direction of the sum of the ends, whose difference has no correct digits."""
    start, across = normalize(noise(1, 3)), noise(1, 3, seed=1)
    across = normalize(across - (across * start).sum(-1, keepdim=True) * start)
    end = normalize(-start + gap * across)
    middle = great_circle(start, end, double(0.5))
    assert (middle * across).sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(great_circle(start, end, double(1.0)), end, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dim", [2, 3, 256])
def test_great_circle_between_opposite_points_is_exact(dim):
    start = normalize(noise(3000, dim))
    middle = great_circle(start, -start, double(0.5))
    torch.testing.assert_close(middle.norm(dim=-1), torch.ones(3000).double(), atol=2e-15, rtol=0)
    assert (middle * start).sum(-1).abs().max() < 2e-15
