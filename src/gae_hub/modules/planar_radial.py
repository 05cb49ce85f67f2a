"""TODO docstring."""

__all__ = ["ELEMENTARY_FLOWS", "planar", "planar_inverse", "radial", "radial_inverse", "stretch"]

from collections.abc import Callable
from math import e

import torch
import torch.nn.functional as F
from torch import Tensor

from .posteriors import expand


def stretch(x: Tensor) -> Tensor:
    """A smooth increasing map of the reals to (-1, inf), with 0 at 0: 0.999 (softplus(x + log(e - 1)) - 1).

    It is exact at 0 in this form. The factor keeps 1 + stretch(x) away from 0, and its logarithm finite.
    """
    small = x.clamp(max=20)
    return 0.999 * (torch.log1p((1 - 1 / e) * torch.expm1(small)) + (x - small))


def planar(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """z + u' tanh(w.z + b). Of u, its part along w is moved so that w.u' = stretch(w.u) > -1: always invertible.

    Args:
        z: (batch, *draws, d).
        parameters: (batch, 2 d + 1), or one row for all: u, w and b. u = 0 is the identity.
    """
    u, w, b, allowed = _planar_parameters(parameters, z)
    h = torch.tanh((w * z).sum(-1, keepdim=True) + b)
    return z + u * h, torch.log1p(allowed * (1 - h.square())).squeeze(-1)


def planar_inverse(moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The z that [`planar`] moves there: w.z solves one increasing equation, by bisection to the last digit."""
    u, w, b, allowed = _planar_parameters(parameters, moved)
    target = (w * moved).sum(-1, keepdim=True)
    with torch.no_grad():
        low, high = target - allowed.abs(), target + allowed.abs()
        for _ in range(100):
            middle = 0.5 * (low + high)
            above = middle + allowed * torch.tanh(middle + b) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    z = moved - u * torch.tanh(0.5 * (low + high) + b)
    return z, -planar(z, parameters)[1]


def _planar_parameters(parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u', w, b, and w.u'."""
    d = z.shape[-1]
    u, w, b = expand(parameters, z.dim() - 2).split([d, d, 1], -1)
    along, square = (w * u).sum(-1, keepdim=True), w.square().sum(-1, keepdim=True)
    allowed = stretch(along)
    return u + (allowed - along) * w / square.clamp(min=1e-20), w, b, allowed


def radial(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """z + beta (z - c) / (alpha + |z - c|), with alpha = softplus(a) and beta = alpha stretch(b) > -alpha: always
    invertible.

    Args:
        z: (batch, *draws, d).
        parameters: (batch, d + 2), or one row for all: b, a and c. b = 0 is the identity.
    """
    d = z.shape[-1]
    b, a, c = expand(parameters, z.dim() - 2).split([1, 1, d], -1)
    offset = z - c
    alpha = F.softplus(a) + 1e-6  # which divides at the centre
    nearness = alpha / (alpha + torch.linalg.vector_norm(offset, dim=-1, keepdim=True))  # 1 at the centre, 0 far away
    pull = stretch(b) * nearness
    return z + pull * offset, ((d - 1) * torch.log1p(pull) + torch.log1p(pull * nearness)).squeeze(-1)


def radial_inverse(moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The z that [`radial`] moves there: its distance r from c solves r^2 + (alpha + beta - r') r = alpha r'."""
    b, a, c = expand(parameters, moved.dim() - 2).split([1, 1, moved.shape[-1]], -1)
    alpha = F.softplus(a) + 1e-6
    distance = torch.linalg.vector_norm(moved - c, dim=-1, keepdim=True)
    half = 0.5 * (alpha * (1 + stretch(b)) - distance)
    root = (half.square() + alpha * distance).sqrt()
    r = torch.where(half > 0, alpha * distance / (root + half), root - half)  # without a difference of near numbers
    z = c + (moved - c) / (1 + alpha * stretch(b) / (alpha + r))
    return z, -radial(z, parameters)[1]


ELEMENTARY_FLOWS: dict[str, tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], Callable[[int], list[int]]]] = {
    "planar": (planar, lambda d: [d, d, 1]),
    "radial": (radial, lambda d: [1, 1, d]),
}
"""Name to step, and to the sizes of its parameters in d dimensions. Zeros for the first one make it the identity."""
