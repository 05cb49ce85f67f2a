"""Couplings of a batch of noise with a batch of points: which noise a path to a point starts from."""

__all__ = ["pair_optimally"]

import torch
from torch import Tensor

from .precision import to_float64


def pair_optimally(noise: Tensor, points: Tensor, groups: Tensor | None = None) -> Tensor:
    """Permute noise so that the sum of squared distances to the points in the same rows is the smallest possible.

    The assignment is exact, on the CPU, and takes about num^3 operations at worst.

    Args:
        noise, points: (num, dim) each.
        groups: (num,) integers. Noise is permuted within each group only, so that noise and groups stay independent.

    Returns:
        (num, dim): the rows of noise in another order.
    """
    from scipy.optimize import linear_sum_assignment  # takes 0.2 s to import

    cost = -(to_float64(points) @ to_float64(noise).T)  # half the squared distances, up to sums that do not change
    if groups is not None:
        cost = cost.masked_fill(groups.unsqueeze(1) != groups, torch.inf)
    _, chosen = linear_sum_assignment(cost.cpu().numpy())
    return noise[torch.as_tensor(chosen, device=noise.device)]
