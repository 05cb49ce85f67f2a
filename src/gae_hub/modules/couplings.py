"""Couplings of a batch of noise with a batch of points: which noise a path to a point starts from."""

__all__ = ["compute_angle_costs", "compute_distance_costs", "pair_optimally"]

from collections.abc import Callable

import torch
from torch import Tensor

from .precision import to_float64


def compute_distance_costs(points: Tensor, noise: Tensor) -> Tensor:
    """(num, num): half the squared distances from points to noise, up to sums that no pairing changes."""
    return -(points @ noise.T)


def compute_angle_costs(points: Tensor, noise: Tensor) -> Tensor:
    """(num, num): the squared angles between unit vectors."""
    return (points @ noise.T).clamp(-1, 1).acos().square()


def pair_optimally(
    noise: Tensor,
    points: Tensor,
    groups: Tensor | None = None,
    compute_costs: Callable[[Tensor, Tensor], Tensor] = compute_distance_costs,
) -> Tensor:
    """Permute noise so that the sum of its costs to the points in the same rows is the smallest possible.

    The assignment is exact, on the CPU, and takes about num^3 operations at worst.

    Args:
        noise, points: (num, dim) each.
        compute_costs: the costs, (num, num), of points and noise in float64.
        groups: (num,) integers. Noise is permuted within each group only, so that noise and groups stay independent.

    Returns:
        (num, dim): the rows of noise in another order.
    """
    from scipy.optimize import linear_sum_assignment  # takes 0.2 s to import

    costs = compute_costs(to_float64(points), to_float64(noise))
    if groups is not None:
        costs = costs.masked_fill(groups.unsqueeze(1) != groups, torch.inf)
    _, chosen = linear_sum_assignment(costs.cpu().numpy())
    return noise[torch.as_tensor(chosen, device=noise.device)]
