"""Normalizing flows: determinants against autograd, inverses, integrals, and who sees whom; in float64."""

from copy import deepcopy
from functools import partial
from math import e

import pytest
import torch
import torch.nn.functional as F
from cases import generator
from torch.autograd.functional import jacobian

from gae_hub.modules.flows import InverseAutoregressiveStep, bounded
from gae_hub.modules.made import MADE, MaskedLinear
from gae_hub.modules.planar_radial import ELEMENTARY_FLOWS, planar, radial, stretch
from gae_hub.modules.posteriors import gaussian_log_prob

BOTH = pytest.mark.parametrize("name", ["planar", "radial"])
UPDATES = pytest.mark.parametrize("update", ["gated", "affine"])
DIMS = pytest.mark.parametrize("d", [1, 2, 5])


def noise(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def elementary(name, batch, d, scale=3.0, seed=1):
    """A step with wild parameters of its own for each example."""
    step, sizes = ELEMENTARY_FLOWS[name]
    return partial(step, parameters=scale * noise(batch, sum(sizes(d)), seed=seed))


def autoregressive(d, update="gated", context_size=0, seed=0, scale=3.0, **fields):
    """A step with weights large enough to matter."""
    torch.manual_seed(seed)
    step = InverseAutoregressiveStep(d, update, hidden_size=7, context_size=context_size, **fields).double()
    with torch.no_grad():
        for p in step.parameters():
            p.mul_(scale)
    return step


def assert_log_det_is_that_of_autograd(step, z):
    """For z (batch, draws, d): the Jacobian of all outputs by all inputs has a block for each point, 0 elsewhere."""
    log_det = step(z)[1]
    assert log_det.shape == z.shape[:-1]
    full = jacobian(lambda z: step(z)[0], z)
    blocks = torch.einsum("bsibsj->bsij", full)
    assert full.count_nonzero() == blocks.count_nonzero()  # no point depends on another
    sign, exact = torch.linalg.slogdet(blocks)
    assert (sign > 0).all()
    torch.testing.assert_close(log_det, exact)


def volume(step, mean):
    """The integral of N(f(z); mean, I) |det df/dz| over the plane: 1 if f is one to one and onto, and its log
    determinant right."""
    axis = torch.linspace(-30, 30, 1201, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    moved, log_det = step(z.unsqueeze(0))
    density = gaussian_log_prob(moved, torch.tensor(mean, dtype=torch.float64)).sum(-1) + log_det
    return density.exp().sum() * (axis[1] - axis[0]) ** 2


# Planar and radial


def test_stretch_is_its_formula_and_exact_at_zero():
    x = torch.linspace(-50, 50, 1001, dtype=torch.float64).requires_grad_()
    expected = 0.999 * (F.softplus(x + torch.tensor(e - 1).double().log()) - 1)
    torch.testing.assert_close(stretch(x), expected, atol=1e-7, rtol=1e-7)
    assert (stretch(x) > -1).all() and (stretch(x).diff() >= 0).all()
    zero = torch.zeros(1, requires_grad=True)
    assert stretch(zero) == 0
    torch.testing.assert_close(torch.autograd.grad(stretch(zero), zero)[0].item(), 0.999 * (1 - 1 / e))
    wild = torch.tensor([-1e30, -100, 100, 1e30])
    assert torch.log1p(stretch(wild)).isfinite().all()


@BOTH
@DIMS
@pytest.mark.parametrize("batch", [1, 3])
def test_log_determinants(name, d, batch):
    assert_log_det_is_that_of_autograd(elementary(name, batch, d), 2 * noise(batch, 2, d))


@BOTH
def test_one_row_of_parameters_serves_all(name):
    """(1, n) parameters are those of each example, and axes of draws change nothing."""
    step, sizes = ELEMENTARY_FLOWS[name]
    parameters, z = noise(1, sum(sizes(3)), seed=1), noise(4, 2, 5, 3)
    together, log_det = step(z, parameters)
    assert log_det.shape == (4, 2, 5)
    each, log_dets = step(z.flatten(0, 2), parameters.expand(40, -1))
    torch.testing.assert_close(together.flatten(0, 2), each)
    torch.testing.assert_close(log_det.flatten(), log_dets)


def test_planar_is_the_papers():
    """f(z) = z + u' tanh(w.z + b), with u' of its appendix A.1, up to the 0.999 that bounds the determinant."""
    z, parameters = noise(6, 3), 2 * noise(6, 7, seed=1)
    u, w, b = parameters.split([3, 3, 1], -1)
    dot = (w * u).sum(-1, keepdim=True)
    allowed = -1 + F.softplus(dot + torch.tensor(e - 1).double().log())
    u = u + (0.999 * allowed - dot) * w / w.square().sum(-1, keepdim=True)
    torch.testing.assert_close(planar(z, parameters)[0], z + u * ((w * z).sum(-1, keepdim=True) + b).tanh())
    torch.testing.assert_close((w * u).sum(-1, keepdim=True), stretch(dot))


def test_radial_is_the_papers():
    """f(z) = z + beta h(alpha, r) (z - c) with h = 1 / (alpha + r), and the determinant of its equation 14."""
    z, parameters = noise(6, 3), 2 * noise(6, 5, seed=1)
    b, a, c = parameters.split([1, 1, 3], -1)
    alpha, r = F.softplus(a) + 1e-6, (z - c).norm(dim=-1, keepdim=True)
    beta, h = alpha * stretch(b), 1 / (alpha + r)
    moved, log_det = radial(z, parameters)
    torch.testing.assert_close(moved, z + beta * h * (z - c))
    exact = (1 + beta * h) ** 2 * (1 + beta * h - beta * r * h**2)
    torch.testing.assert_close(log_det, exact.log().squeeze(-1))


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_planar_is_increasing_along_w(scale):
    """It moves points along u' by an amount that depends on w.z alone, so that increasing in w.z is invertible."""
    parameters = scale * noise(500, 7, seed=2)
    u, w, _ = parameters.split([3, 3, 1], -1)
    assert ((w * u).sum(-1) < -1).any()  # as they are, some are not invertible
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
    torch.testing.assert_close(moved - centre, radius.unsqueeze(-1) * ray)  # and stay on their ray


@BOTH
def test_zero_is_the_identity_and_can_be_left(name):
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
def test_nothing_overflows(name, scale):
    """Values and gradients stay finite in float32: at the centre, for w = 0, and for huge inputs."""
    step, sizes = ELEMENTARY_FLOWS[name]
    parameters = (scale * noise(50, sum(sizes(3)), seed=1)).float().requires_grad_()
    for z in (torch.zeros(50, 3), parameters.detach()[:, -3:], 1e4 * torch.randn(50, 3)):
        z.requires_grad_()
        moved, log_det = step(z, parameters)
        gradients = torch.autograd.grad(moved.sum() + log_det.sum(), [z, parameters])
        assert all(t.isfinite().all() for t in (moved, log_det, *gradients))


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_elementary_flows_keep_the_total_mass(name, seed):
    step = elementary(name, 1, 2, scale=1.5, seed=seed)
    torch.testing.assert_close(volume(step, [0.3, -1.0]).item(), 1.0, atol=2e-3, rtol=0)


# MADE


def dependencies(made, d, context=None):
    """(outputs, d, d): derivative of output i by input j, for each of the kinds of output."""
    x = noise(1, d)
    return torch.stack([j[0, :, 0] for j in jacobian(lambda x: tuple(made(x, context)), x)]).abs()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("num_hidden_layers", [1, 3])
@pytest.mark.parametrize(("d", "hidden_size"), [(2, 1), (5, 1), (5, 2), (5, 4), (5, 15), (6, 4), (9, 7), (4, 10)])
def test_an_output_sees_all_inputs_before_it_and_no_other(d, hidden_size, num_hidden_layers, reverse):
    torch.manual_seed(0)
    made = MADE(d, hidden_size, num_hidden_layers, num_outputs=3, reverse=reverse).double()
    seen = dependencies(made, d)
    if reverse:
        seen = seen.flip(1, 2)
    before = torch.ones(d, d).tril(-1).bool()
    assert (seen[:, ~before] == 0).all()
    assert (seen[:, -1, :-1] > 0).all()  # however narrow: the last output sees all
    if hidden_size >= d - 1:
        assert (seen[:, before] > 0).all()


def test_one_input():
    """With nothing before it, the output is a constant, or a function of the context."""
    made = MADE(1, 4).double()
    a, b = made(noise(6, 1))[0], made(noise(6, 1, seed=1))[0]
    assert torch.equal(a, b) and torch.equal(a, a[:1].expand(6, 1))
    made = MADE(1, 4, context_size=2).double()
    context = noise(6, 2)
    a, b = made(noise(6, 1), context)[0], made(noise(6, 1, seed=1), context)[0]
    assert torch.equal(a, b) and len(a.unique()) == 6


@pytest.mark.parametrize(("d", "hidden_size"), [(1, 3), (2, 1), (5, 2), (5, 20)])
def test_the_context_reaches_all_outputs(d, hidden_size):
    made = MADE(d, hidden_size, context_size=3).double()
    x = noise(1, d)
    for derivative in jacobian(lambda context: tuple(made(x, context)), noise(1, 3, seed=1)):
        assert (derivative[0, :, 0] != 0).all()
    assert (dependencies(made, d, noise(1, 3))[:, torch.ones(d, d).triu().bool()] == 0).all()  # and breaks no order


def test_the_hidden_layer_uses_the_context_beside_the_inputs():
    """Inputs and context interact: the effect of one depends on the other."""
    made = MADE(3, 16, context_size=2).double()
    one, other = (dependencies(made, 3, noise(1, 2, seed=seed)) for seed in (1, 2))
    assert not torch.allclose(one, other)


def test_context_is_the_same_for_all_draws():
    made = MADE(3, 8, context_size=2).double()
    x, context = noise(4, 6, 3), noise(4, 2, seed=1)
    for together, each in zip(made(x, context), made(x.flatten(0, 1), context.repeat_interleave(6, 0)), strict=True):
        torch.testing.assert_close(together.flatten(0, 1), each)


def test_masks_are_made_anew_and_not_stored():
    made = MADE(4, 6, 2)
    assert not any("mask" in name for name in made.state_dict())
    with torch.device("meta"):
        empty = MADE(4, 6, 2)
    empty.to_empty(device="cpu")
    for module in empty.modules():
        if isinstance(module, MaskedLinear):
            module.mask.fill_(True)
            module.reset_parameters()
    for copy in (empty, deepcopy(made), deepcopy(made).bfloat16().float()):
        for (name, mask), (_, other) in zip(made.named_buffers(), copy.named_buffers(), strict=True):
            assert set(mask.unique().tolist()) == {0, 1} and torch.equal(mask, other), name
    half = deepcopy(made).bfloat16()
    assert half(torch.randn(2, 4))[0].dtype == torch.float32


# Inverse autoregressive steps


@UPDATES
@DIMS
@pytest.mark.parametrize("context_size", [0, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_log_determinants_of_autoregressive_steps(update, d, context_size, batch):
    context = noise(batch, context_size, seed=3) if context_size else None
    step = partial(autoregressive(d, update, context_size), context=context)
    assert_log_det_is_that_of_autograd(step, noise(batch, 2, d))


def test_gated_update_is_the_papers():
    step, z = autoregressive(4, forget_bias=1.5), noise(5, 4)
    m, s = step.made(z)
    sigma = torch.sigmoid(s + 1.5)
    moved, log_det = step(z)
    torch.testing.assert_close(moved, sigma * z + (1 - sigma) * m)
    torch.testing.assert_close(log_det, sigma.log().sum(-1))


def test_affine_update_has_a_bounded_scale():
    step, z = autoregressive(4, "affine"), noise(5, 4)
    m, a = step.made(z)
    moved, log_det = step(z)
    torch.testing.assert_close(moved, m + bounded(a).exp() * z)
    torch.testing.assert_close(log_det, bounded(a).sum(-1))
    x = torch.linspace(-1e3, 1e3, 2001, dtype=torch.float64)
    assert bounded(x).abs().max() <= 5 and (bounded(x).diff() >= 0).all()
    small = torch.linspace(-0.1, 0.1, 11, dtype=torch.float64)
    torch.testing.assert_close(bounded(small), small, atol=1e-4, rtol=1e-3)


def test_a_large_forget_bias_is_the_identity():
    step, z = autoregressive(4, forget_bias=1000.0), noise(5, 4)
    moved, log_det = step(z)
    assert torch.equal(moved, z) and torch.equal(log_det, torch.zeros_like(log_det))


@UPDATES
@pytest.mark.parametrize("reverse", [False, True])
def test_a_step_is_undone_one_dimension_at_a_time(update, reverse):
    step, z = autoregressive(4, update, reverse=reverse), noise(5, 4)
    moved, _ = step(z)
    found = torch.zeros_like(z)
    for i in reversed(range(4)) if reverse else range(4):
        at_zero = step(found)[0][:, i]
        unit = found.clone()
        unit[:, i] = 1
        found[:, i] = (moved[:, i] - at_zero) / (step(unit)[0][:, i] - at_zero)
    torch.testing.assert_close(found, z)


@UPDATES
def test_autoregressive_flows_keep_the_total_mass(update):
    first, second = (autoregressive(2, update, scale=1.5, seed=seed, reverse=bool(seed)) for seed in (0, 1))

    def flow(z):
        z, one = first(z)
        z, two = second(z)
        return z, one + two

    torch.testing.assert_close(volume(flow, [0.3, -0.2]).item(), 1.0, atol=2e-3, rtol=0)
