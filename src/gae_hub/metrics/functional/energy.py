"""Energy distance between two sets of points."""

__all__ = ["energy_distance"]

from itertools import combinations

import torch
from torch import Tensor

from .checks import check_rows, check_same_dim

CHUNK = 2048  # points of each side whose distances are in memory at a time


def energy_distance(x: Tensor, y: Tensor) -> float:
    r"""Energy distance of two sets of points (Székely & Rizzo, 2013, doi:10.1016/j.jspi.2013.03.018).

    The unbiased estimate of :math:`2 E|X - Y| - E|X - X'| - E|Y - Y'|`. Its expectation is zero if and only if both
    sets have the same distribution; the estimate can be slightly negative.

    Args:
        x, y: (num, ...) points, at least 2 each. They are flattened and compared by Euclidean distance in float64.

    Raises:
        ValueError: if a side has fewer than 2 points or values that are not finite, or the sides differ in dim.
    """
    for argument, side in (("x", x), ("y", y)):
        check_rows("the energy distance", argument, side, 2, "points on each side")
    x, y = (points.detach().reshape(len(points), -1) for points in (x, y))
    check_same_dim(x.shape[1], y.shape[1])
    x_parts, y_parts = (points.split(CHUNK) for points in (x, y))
    between = float(sum(_sum_of_distances(a, b) for a in x_parts for b in y_parts)) / (len(x) * len(y))
    return 2 * between - _mean_within(x_parts, len(x)) - _mean_within(y_parts, len(y))


def _sum_of_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x.double(), y.double()).sum()


def _mean_within(parts: tuple[Tensor, ...], num: int) -> float:
    """Mean distance between two different points of one side."""
    inside = sum(torch.pdist(part.double()).sum() for part in parts)
    across = sum(_sum_of_distances(a, b) for a, b in combinations(parts, 2))
    return float(inside + across) / (num * (num - 1) / 2)
