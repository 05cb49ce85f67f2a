"""Squared distances between points, by matrix products that keep their digits."""

__all__ = ["squared_distances"]

from torch import Tensor

from .precision import full_precision


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """||point - other||^2 for all pairs.

    All points are shifted by the mean of the others. The distances stay the same, but they become differences of small
    squares, which keep their digits if the points lie far from the origin.

    Args:
        points: (*batch, dim).
        others: (num, dim).

    Returns:
        (*batch, num).
    """
    mean = others.detach().mean(0)
    points, others = points - mean, others - mean
    with full_precision(points):
        squares = points.square().sum(-1, keepdim=True) + others.square().sum(-1) - 2 * points @ others.T
    return squares.clamp(min=0)
