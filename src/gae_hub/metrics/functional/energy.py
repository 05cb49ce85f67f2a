"""Energy distance between two sets of points."""

__all__ = ["energy_distance"]

from itertools import combinations

import torch
from torch import Tensor

CHUNK = 2048  # points of each side whose distances are in memory at a time


def energy_distance(x: Tensor, y: Tensor) -> float:
    r"""Unbiased estimate of :math:`2 E|X - Y| - E|X - X'| - E|Y - Y'|` (Székely & Rizzo, 2013,
    doi:10.1016/j.jspi.2013.03.018).

    It is zero in expectation if and only if both sets come from one distribution, and may come out slightly negative.

    Args:
        x, y: (num, ...) points; flattened, and compared by Euclidean distance in float64. At least two of each.
    """
    if len(x) < 2 or len(y) < 2:
        raise ValueError(f"the energy distance needs at least 2 points on each side, got {len(x)} and {len(y)}")
    x, y = (t.detach().flatten(1).split(CHUNK) for t in (x, y))
    num = [sum(map(len, parts)) for parts in (x, y)]
    between = sum(_sum(a, b) for a in x for b in y) / (num[0] * num[1])
    within = [_sum_of_pairs(parts) / (n * (n - 1) / 2) for parts, n in zip((x, y), num, strict=True)]
    return (2 * between - within[0] - within[1]).item()


def _sum(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x.double(), y.double()).sum()


def _sum_of_pairs(parts: tuple[Tensor, ...]) -> Tensor:
    """Each pair once: the diagonal is left out."""
    inside = sum(torch.pdist(part.double()).sum() for part in parts)
    return inside + sum(_sum(*pair) for pair in combinations(parts, 2))
