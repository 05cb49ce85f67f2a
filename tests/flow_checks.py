"""Steps of flows with random weights, and checks of their log determinants; in float64."""

from functools import partial

import torch
from cases import generator
from torch.autograd.functional import jacobian

from gae_hub.modules.autoregressive_steps import (
    InverseAutoregressiveStep,
    MaskedAutoregressiveStep,
    SplineAutoregressiveStep,
)
from gae_hub.modules.posteriors import gaussian_log_prob

STEPS = {
    "gated": partial(InverseAutoregressiveStep, update="gated"),
    "affine": partial(InverseAutoregressiveStep, update="affine"),
    "masked": MaskedAutoregressiveStep,
    "spline": partial(SplineAutoregressiveStep, num_bins=5, tail_bound=3.0),
}
ORDERS = {"natural": {}, "reversed": {"reverse": True}, "permuted": {"order": [2, 0, 4, 1, 3]}}


def noise(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def build_step(kind, d, scale=2.0, seed=0, hidden_size=11, **options):
    """An autoregressive step with weights large enough to matter."""
    torch.manual_seed(seed)
    step = STEPS[kind](d, hidden_size=hidden_size, **options).double()
    with torch.no_grad():
        for p in step.parameters():
            p.mul_(scale)
    return step


def assert_log_det(step, z):
    """Compare the log determinant with autograd's Jacobian, for independent points z, (*batch, d)."""
    log_det = step(z)[1]
    assert log_det.shape == z.shape[:-1]
    num, d = log_det.numel(), z.shape[-1]
    full = jacobian(lambda z: step(z)[0], z).reshape(num, d, num, d)
    blocks = torch.einsum("kikj->kij", full)
    assert full.count_nonzero() == blocks.count_nonzero()  # no point depends on another
    sign, exact = torch.linalg.slogdet(blocks)
    assert (sign > 0).all()
    torch.testing.assert_close(log_det.flatten(), exact)


def integral(step, mean):
    """The integral of N(f(z); mean, I) |det df/dz| over the plane: 1 for a bijection with a right log determinant."""
    axis = torch.linspace(-30, 30, 1201, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    moved, log_det = step(z.unsqueeze(0))
    density = gaussian_log_prob(moved, torch.tensor(mean, dtype=torch.float64)).sum(-1) + log_det
    return (density.exp().sum() * (axis[1] - axis[0]) ** 2).item()
