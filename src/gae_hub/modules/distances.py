"""Squared distances between points, by matrix products that keep their digits."""

__all__ = ["squared_distances"]

from torch import Tensor

from .precision import full_precision, to_float64


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """||point - other||^2 for all pairs.

    The squares are computed in float64, after all points are shifted by the mean of the others: the distances stay the
    same, but they become differences of small squares, which keep their digits.

    Args:
        points: (*batch, dim).
        others: (num, dim).

    Returns:
        (*batch, num).
    """
    dtype, points, others = points.dtype, to_float64(points), to_float64(others)
    mean = others.detach().mean(0)
    points, others = points - mean, others - mean
    with full_precision(points):
        squares = points.square().sum(-1, keepdim=True) + others.square().sum(-1) - 2 * points @ others.T
    return squares.clamp(min=0).to(dtype)
