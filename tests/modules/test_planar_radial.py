"""Planar and radial steps: the paper's formulas, log determinants, inverses; in float64."""

from functools import partial
from math import e

import pytest
import torch
import torch.nn.functional as F
from flow_checks import assert_log_det, integral, noise

from gae_hub.modules.planar_radial import (
    ELEMENTARY_FLOWS,
    constrain_above_minus_one,
    planar,
    planar_inverse,
    radial,
    radial_inverse,
)

BOTH = pytest.mark.parametrize("name", ["planar", "radial"])


def build(name, batch, d, scale=3.0, seed=1):
    """A step with large random parameters for each example."""
    step, sizes = ELEMENTARY_FLOWS[name]
    return partial(step, parameters=scale * noise(batch, sum(sizes(d)), seed=seed))


def test_constraint():
    """It is its formula, and exactly 0 at 0."""
    x = torch.linspace(-50, 50, 1001, dtype=torch.float64)
    values = constrain_above_minus_one(x)
    expected = 0.999 * (F.softplus(x + torch.tensor(e - 1).double().log()) - 1)
    torch.testing.assert_close(values, expected, atol=1e-7, rtol=1e-7)
    assert (values > -1).all() and (values.diff() >= 0).all()
    zero = torch.zeros(1, requires_grad=True)
    assert constrain_above_minus_one(zero) == 0
    (slope,) = torch.autograd.grad(constrain_above_minus_one(zero), zero)
    torch.testing.assert_close(slope.item(), 0.999 * (1 - 1 / e))
    large = torch.tensor([-1e30, -100, 100, 1e30])
    assert torch.log1p(constrain_above_minus_one(large)).isfinite().all()


@BOTH
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3])
def test_log_determinants(name, d, batch):
    assert_log_det(build(name, batch, d), 2 * noise(batch, 2, d))


@BOTH
def test_one_row_of_parameters_for_all_examples(name):
    """(1, n) parameters equal the same parameters for each example, with any number of axes for draws."""
    step, sizes = ELEMENTARY_FLOWS[name]
    parameters, z = noise(1, sum(sizes(3)), seed=1), noise(4, 2, 5, 3)
    together, log_det = step(z, parameters)
    assert log_det.shape == (4, 2, 5)
    each, log_dets = step(z.flatten(0, 2), parameters.expand(40, -1))
    torch.testing.assert_close(together.flatten(0, 2), each)
    torch.testing.assert_close(log_det.flatten(), log_dets)


def test_planar_formula():
    """f(z) = z + u' tanh(w.z + b), with u' of appendix A.1, up to the 0.999 that bounds the determinant."""
    z, parameters = noise(6, 3), 2 * noise(6, 7, seed=1)
    u, w, b = parameters.split([3, 3, 1], -1)
    dot = (w * u).sum(-1, keepdim=True)
    m = -1 + F.softplus(dot + torch.tensor(e - 1).double().log())
    u = u + (0.999 * m - dot) * w / w.square().sum(-1, keepdim=True)
    torch.testing.assert_close(planar(z, parameters)[0], z + u * ((w * z).sum(-1, keepdim=True) + b).tanh())
    torch.testing.assert_close((w * u).sum(-1, keepdim=True), constrain_above_minus_one(dot))


def test_radial_formula():
    """f(z) = z + beta h(alpha, r) (z - c) with h = 1 / (alpha + r), and the determinant of equation 14."""
    z, parameters = noise(6, 3), 2 * noise(6, 5, seed=1)
    b, a, c = parameters.split([1, 1, 3], -1)
    alpha, r = F.softplus(a) + 1e-6, (z - c).norm(dim=-1, keepdim=True)
    beta, h = alpha * constrain_above_minus_one(b), 1 / (alpha + r)
    moved, log_det = radial(z, parameters)
    torch.testing.assert_close(moved, z + beta * h * (z - c))
    exact = (1 + beta * h) ** 2 * (1 + beta * h - beta * r * h**2)
    torch.testing.assert_close(log_det, exact.log().squeeze(-1))


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_planar_is_increasing_along_w(scale):
    """It moves points along u' by an amount that depends on w.z only, so increasing in w.z means invertible."""
    parameters = scale * noise(500, 7, seed=2)
    u, w, _ = parameters.split([3, 3, 1], -1)
    assert ((w * u).sum(-1) < -1).any()  # without the constraint, some of these would not be invertible
    t = torch.linspace(-3, 3, 400, dtype=torch.float64).view(1, -1, 1)
    direction = (w / w.norm(dim=-1, keepdim=True)).unsqueeze(1)
    moved, log_det = planar(t * direction, parameters)
    assert ((moved * direction).sum(-1).diff(dim=1) > 0).all() and log_det.isfinite().all()


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_radial_is_increasing_along_rays(scale):
    parameters = scale * noise(500, 5, seed=2)
    centre = parameters[:, 2:].unsqueeze(1)
    t = torch.linspace(0, 300, 1000, dtype=torch.float64).view(1, -1, 1)
    ray = F.normalize(noise(500, 1, 3, seed=3), dim=-1)
    moved, log_det = radial(centre + t * ray, parameters)
    radius = ((moved - centre) * ray).sum(-1)
    assert (radius.diff(dim=1) > 0).all() and log_det.isfinite().all()
    torch.testing.assert_close(moved - centre, radius.unsqueeze(-1) * ray)  # points stay on their ray


@BOTH
def test_zeros_are_the_identity_with_a_gradient(name):
    step, sizes = ELEMENTARY_FLOWS[name]
    first = sizes(4)[0]
    parameters = torch.randn(5, sum(sizes(4)))
    parameters[:, :first] = 0
    z = torch.randn(5, 4)
    parameters.requires_grad_()
    moved, log_det = step(z, parameters)
    assert torch.equal(moved, z) and torch.equal(log_det, torch.zeros(5))
    (gradient,) = torch.autograd.grad((moved * torch.randn(5, 4)).sum() + log_det.sum(), parameters)
    assert (gradient[:, :first] != 0).all()


@BOTH
@pytest.mark.parametrize("scale", [0.0, 1e-8, 1e4, 1e8])
def test_no_overflow(name, scale):
    """Values and gradients are finite in float32: at the centre, for w = 0, and for large inputs."""
    step, sizes = ELEMENTARY_FLOWS[name]
    parameters = (scale * noise(50, sum(sizes(3)), seed=1)).float().requires_grad_()
    for z in (torch.zeros(50, 3), parameters.detach()[:, -3:], 1e4 * torch.randn(50, 3)):
        z.requires_grad_()
        moved, log_det = step(z, parameters)
        gradients = torch.autograd.grad(moved.sum() + log_det.sum(), [z, parameters])
        assert all(t.isfinite().all() for t in (moved, log_det, *gradients))


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_integral(name, seed):
    step = build(name, 1, 2, scale=1.5, seed=seed)
    assert integral(step, [0.3, -1.0]) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(("name", "inverse"), [("planar", planar_inverse), ("radial", radial_inverse)])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_inverses(name, inverse, scale):
    step, sizes = ELEMENTARY_FLOWS[name]
    parameters, z = scale * noise(20, sum(sizes(3)), seed=1), 2 * noise(20, 4, 3)
    moved, log_det = step(z, parameters)
    again, inverse_log_det = inverse(moved, parameters)
    torch.testing.assert_close(again, z, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(inverse_log_det, -log_det, atol=1e-6, rtol=1e-6)
