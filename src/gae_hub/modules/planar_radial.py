"""Planar and radial steps of flows (Rezende & Mohamed, 2015), arXiv:1505.05770, and their inverses.

A step maps z, (batch, *draws, d), to z' of the same shape, and returns log |det dz'/dz|, (batch, *draws), in nats. Its
parameters are (batch, num_parameters), or (1, num_parameters) for all examples. They are free: any values give an
invertible step.
"""

__all__ = ["ELEMENTARY_FLOWS", "constrain_above_minus_one", "planar", "planar_inverse", "radial", "radial_inverse"]

from collections.abc import Callable
from math import e
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .posteriors import expand


def constrain_above_minus_one(x: Tensor) -> Tensor:
    """0.999 (softplus(x + log(e - 1)) - 1): a smooth increasing map from the real numbers to (-0.999, inf).

    0 maps to exactly 0. The factor of 0.999 keeps log(1 + result) finite.
    """
    small = x.clamp(max=20)
    return 0.999 * (torch.log1p((1 - 1 / e) * torch.expm1(small)) + (x - small))


def planar(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """z + u' tanh(w.z + b), where u' is u with its part along w changed so that w.u' > -1.

    Args:
        z: (batch, *draws, d).
        parameters: (batch or 1, 2 d + 1): u, w and b. u = 0 is the identity.

    Returns:
        z', (batch, *draws, d), and the log determinant, (batch, *draws).
    """
    u, w, b, w_dot_u = _planar_parameters(parameters, z)
    h = torch.tanh((w * z).sum(-1, keepdim=True) + b)
    return z + u * h, torch.log1p(w_dot_u * (1 - h.square())).squeeze(-1)


def planar_inverse(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The points that [`planar`] maps to z, and the log determinant of this inverse map.

    w.z solves an increasing equation in one unknown, by bisection to the last digit.
    """
    u, w, b, w_dot_u = _planar_parameters(parameters, z)
    target = (w * z).sum(-1, keepdim=True)
    with torch.no_grad():
        low, high = target - w_dot_u.abs(), target + w_dot_u.abs()
        for _ in range(100):
            middle = 0.5 * (low + high)
            is_above = middle + w_dot_u * torch.tanh(middle + b) > target
            low, high = torch.where(is_above, low, middle), torch.where(is_above, middle, high)
    before = z - u * torch.tanh(0.5 * (low + high) + b)
    return before, -planar(before, parameters)[1]


def _planar_parameters(parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u', w, b and w.u'."""
    d = z.shape[-1]
    u, w, b = expand(parameters, z.dim() - 2).split([d, d, 1], -1)
    along, square = (w * u).sum(-1, keepdim=True), w.square().sum(-1, keepdim=True)
    w_dot_u = constrain_above_minus_one(along)
    return u + (w_dot_u - along) * w / square.clamp(min=1e-20), w, b, w_dot_u


def radial(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """z + beta (z - c) / (alpha + |z - c|), with alpha = softplus(a) and beta = alpha constrained(b) > -alpha.

    Args:
        z: (batch, *draws, d).
        parameters: (batch or 1, d + 2): b, a and c. b = 0 is the identity.

    Returns:
        z', (batch, *draws, d), and the log determinant, (batch, *draws).
    """
    d = z.shape[-1]
    b, a, c = expand(parameters, z.dim() - 2).split([1, 1, d], -1)
    offset = z - c
    alpha = F.softplus(a) + 1e-6  # a divisor at the centre
    nearness = alpha / (alpha + torch.linalg.vector_norm(offset, dim=-1, keepdim=True))  # 1 at c, 0 far away
    pull = constrain_above_minus_one(b) * nearness
    return z + pull * offset, ((d - 1) * torch.log1p(pull) + torch.log1p(pull * nearness)).squeeze(-1)


def radial_inverse(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The points that [`radial`] maps to z, and the log determinant of this inverse map.

    Their distance r from c solves r^2 + (alpha + beta - r') r = alpha r', where r' is the distance of z.
    """
    b, a, c = expand(parameters, z.dim() - 2).split([1, 1, z.shape[-1]], -1)
    alpha = F.softplus(a) + 1e-6
    distance = torch.linalg.vector_norm(z - c, dim=-1, keepdim=True)
    half = 0.5 * (alpha * (1 + constrain_above_minus_one(b)) - distance)
    root = (half.square() + alpha * distance).sqrt()
    r = torch.where(half > 0, alpha * distance / (root + half), root - half)  # avoids cancellation
    before = c + (z - c) / (1 + alpha * constrain_above_minus_one(b) / (alpha + r))
    return before, -radial(before, parameters)[1]


class ElementaryStep(Protocol):
    """A step with free parameters, such as [`planar`]."""

    def __call__(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]: ...


class ElementaryFlow(NamedTuple):
    """A step and the sizes of its parameters in d dimensions. Zeros in the first parameter give the identity."""

    step: ElementaryStep
    parameter_sizes: Callable[[int], list[int]]


ELEMENTARY_FLOWS = {
    "planar": ElementaryFlow(planar, lambda d: [d, d, 1]),
    "radial": ElementaryFlow(radial, lambda d: [1, 1, d]),
}
"""Name to step, with its parameters' sizes."""
