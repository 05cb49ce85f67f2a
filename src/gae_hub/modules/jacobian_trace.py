r"""The trace of the Jacobian of a field, exact or estimated (Hutchinson, 1990, doi:10.1080/03610919008812866).

.. math::
    \operatorname{tr} J = \mathbb{E}\, e^\top J e, \quad \mathbb{E}\, e e^\top = I

The directions e are the unit vectors, whose sum is exact, or random signs.
"""

__all__ = ["draw_probes", "trace_jacobian"]

from collections.abc import Callable

import torch
from torch import Tensor


def trace_jacobian(function: Callable[[Tensor], Tensor], points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Values of a function and the trace of its Jacobian. They have no gradients in turn if gradients are off.

    Args:
        function: maps points (num, dim) to (num, dim), each row by itself.
        points: (num, dim).
        directions: (num_directions, dim), whose outer products add up to the identity, at least on average: the unit
            vectors `torch.eye(dim)`, or those of [`draw_probes`].

    Returns:
        function(points), (num, dim), and the traces, (num,): the sum of e^T J e over the directions.
    """

    # in reverse mode: the first use of forward mode compiles code of PyTorch, with a warning
    values, multiply, *_ = torch.func.vjp(function, points)
    traces = torch.func.vmap(lambda direction: multiply(direction.expand_as(points))[0] @ direction)(directions)
    return values, traces.sum(0)


def draw_probes(num_probes: int, like: Tensor, seed: int) -> Tensor:
    """(num_probes, dim) random signs, divided by sqrt(num_probes), with the dim, device and dtype of `like`."""
    generator = torch.Generator().manual_seed(seed)
    signs = 2 * torch.randint(2, (num_probes, like.shape[-1]), generator=generator) - 1
    return signs.to(like) / num_probes**0.5
