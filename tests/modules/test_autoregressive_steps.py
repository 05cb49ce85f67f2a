"""Autoregressive steps: the papers' formulas, log determinants, inverses and their gradients; in float64.

zuko's flows are an independent implementation.
"""

from functools import partial

import pytest
import torch
import zuko
from flow_checks import ORDERS, STEPS, assert_log_det, build_step, integral, noise

from gae_hub.modules.autoregressive_steps import bound_log_scale

KINDS = pytest.mark.parametrize("kind", STEPS)
UPDATES = pytest.mark.parametrize("update", ["gated", "affine"])


def build_inverse_step(d, update="gated", scale=3.0, **options):
    return build_step(update, d, scale, hidden_size=7, **options)


# The step


@UPDATES
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("context_size", [0, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_log_determinants_with_draws_and_context(update, d, context_size, batch):
    context = noise(batch, context_size, seed=3) if context_size else None
    step = partial(build_inverse_step(d, update, context_size=context_size), context=context)
    assert_log_det(step, noise(batch, 2, d))


def test_gated_update():
    step, z = build_inverse_step(4, forget_bias=1.5), noise(5, 4)
    m, s = step.made(z)
    sigma = torch.sigmoid(s + 1.5)
    moved, log_det = step(z)
    torch.testing.assert_close(moved, sigma * z + (1 - sigma) * m)
    torch.testing.assert_close(log_det, sigma.log().sum(-1))


def test_affine_update():
    step, z = build_inverse_step(4, "affine"), noise(5, 4)
    m, a = step.made(z)
    moved, log_det = step(z)
    torch.testing.assert_close(moved, m + bound_log_scale(a).exp() * z)
    torch.testing.assert_close(log_det, bound_log_scale(a).sum(-1))


def test_bound_of_log_scales():
    x = torch.linspace(-1e3, 1e3, 2001, dtype=torch.float64)
    assert bound_log_scale(x).abs().max() <= 5 and (bound_log_scale(x).diff() >= 0).all()
    small = torch.linspace(-0.1, 0.1, 11, dtype=torch.float64)
    torch.testing.assert_close(bound_log_scale(small), small, atol=1e-4, rtol=1e-3)


def test_large_forget_bias_is_the_identity():
    step, z = build_inverse_step(4, forget_bias=1000.0), noise(5, 4)
    moved, log_det = step(z)
    assert torch.equal(moved, z) and torch.equal(log_det, torch.zeros_like(log_det))


@UPDATES
@pytest.mark.parametrize("reverse", [False, True])
def test_step_can_be_undone_dimension_by_dimension(update, reverse):
    step, z = build_inverse_step(4, update, reverse=reverse), noise(5, 4)
    moved, _ = step(z)
    found = torch.zeros_like(z)
    for i in reversed(range(4)) if reverse else range(4):
        at_zero = step(found)[0][:, i]
        at_one = found.clone()
        at_one[:, i] = 1
        found[:, i] = (moved[:, i] - at_zero) / (step(at_one)[0][:, i] - at_zero)
    torch.testing.assert_close(found, z)


@UPDATES
def test_integral_of_two_steps(update):
    first, second = (build_inverse_step(2, update, 1.5, seed=seed, reverse=bool(seed)) for seed in (0, 1))

    def flow(z):
        z, first_log_det = first(z)
        z, second_log_det = second(z)
        return z, first_log_det + second_log_det

    assert integral(flow, [0.3, -0.2]) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("kind", ["masked", "affine"])
def test_affine_steps_equal_zuko(kind):
    step, z = build_step(kind, 5, num_hidden_layers=2, **ORDERS["permuted"]), noise(8, 5)

    def meta(z):
        shift, scale = step.made(z)
        log_scale = 5 * torch.tanh(scale / 5) * (1 if kind == "affine" else -1)
        transform = zuko.transforms.MonotonicAffineTransform(shift, scale)
        transform.log_scale, transform.scale = log_scale, log_scale.exp()  # zuko's own bound is another function
        if kind == "masked":
            transform.shift = -shift * transform.scale
        return transform

    oracle = zuko.transforms.AutoregressiveTransform(meta, passes=5)
    moved, log_derivatives = oracle.call_and_ladj(z)
    torch.testing.assert_close(step(z)[0], moved)
    torch.testing.assert_close(step(z)[1], log_derivatives.sum(-1))
    torch.testing.assert_close(step.inverse(moved)[0], oracle.inv(moved))


# The inverse


@KINDS
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("num_hidden_layers", [1, 3])
@pytest.mark.parametrize("grad", [False, True])
def test_inverse(kind, order, num_hidden_layers, grad):
    step = build_step(kind, 5, num_hidden_layers=num_hidden_layers, **ORDERS[order])
    z = 2 * noise(40, 5)
    moved, log_det = step(z)
    assert_log_det(step, z[:4])
    with torch.set_grad_enabled(grad):
        again, inverse_log_det = step.inverse(moved)
    assert again.requires_grad == grad
    torch.testing.assert_close(step(again)[0], moved, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(again, z, atol=1e-5, rtol=1e-5)  # splines have log determinants down to -54 here
    torch.testing.assert_close(inverse_log_det, -log_det, atol=1e-6, rtol=1e-6)


@KINDS
@pytest.mark.parametrize(("d", "hidden_size"), [(1, 3), (2, 1), (9, 4), (4, 30)])
@pytest.mark.parametrize("grad", [False, True])
def test_inverse_of_any_size(kind, d, hidden_size, grad):
    """Narrow networks have degrees without a hidden unit, wide ones several units per degree."""
    step, z = build_step(kind, d, hidden_size=hidden_size, num_hidden_layers=2, context_size=2), noise(6, d)
    context = noise(6, 2, seed=1)
    with torch.set_grad_enabled(grad):
        moved = step(z, context)[0]
        again = step.inverse(moved, context)[0]
        torch.testing.assert_close(step(again, context)[0], moved, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(again, z, atol=1e-4, rtol=1e-4)  # splines are steep and flat here


@KINDS
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_of_the_inverse(kind, order):
    """Compare with autograd through d passes, each of which makes one more dimension right."""
    step, moved = build_step(kind, 5, num_hidden_layers=3, context_size=2, **ORDERS[order]), noise(7, 5)
    context = noise(7, 2, seed=1).requires_grad_()
    moved.requires_grad_()
    weights, tilt = noise(7, 5, seed=2), noise(7, seed=3)

    def invert_by_autograd():
        z = torch.zeros_like(moved)
        for _ in range(5):
            z = step.invert(moved, *step.made(z, context))
        return z, -step.transform(z, *step.made(z, context))[1].sum(-1)

    leaves = [moved, context, *step.parameters()]
    found = []
    for z, log_det in (invert_by_autograd(), step.inverse(moved, context)):
        loss = (z * weights).sum() + (z.square().sum(-1) * tilt).sum() + (log_det * tilt).sum()
        found.append(torch.autograd.grad(loss, leaves))
    for expected, gradient in zip(*found, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-8, rtol=1e-7)
    assert all(gradient.abs().max() > 0 for gradient in found[1])


def test_chunks_of_the_inverse():
    """More points than fit into one chunk, with a context."""
    step, z, context = build_step("gated", 3, context_size=2), noise(2500, 3), noise(2500, 2, seed=1)
    with torch.no_grad():
        again, _ = step.inverse(step(z, context)[0], context)
    torch.testing.assert_close(again, z, atol=1e-8, rtol=1e-8)
