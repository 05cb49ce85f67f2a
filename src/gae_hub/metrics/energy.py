"""Energy distance between two sets of points."""

__all__ = ["energy_distance"]

import torch
from torch import Tensor


def energy_distance(x: Tensor, y: Tensor) -> float:
    r"""Unbiased estimate of :math:`2 E|X - Y| - E|X - X'| - E|Y - Y'|` (Székely & Rizzo, 2013,
    doi:10.1016/j.jspi.2013.03.018).

    It is zero in expectation if and only if both sets come from one distribution, and may come out slightly negative.

    Args:
        x, y: (num, ...) points; flattened, and compared by Euclidean distance in float64. At least two of each.
    """
    if len(x) < 2 or len(y) < 2:
        raise ValueError(f"the energy distance needs at least 2 points on each side, got {len(x)} and {len(y)}")
    x, y = (t.detach().flatten(1).double() for t in (x, y))

    def within(t: Tensor) -> Tensor:
        return torch.pdist(t).mean()  # each pair once: the diagonal is left out

    return (2 * torch.cdist(x, y).mean() - within(x) - within(y)).item()
