"""k-means clustering of points, by matrix products."""

__all__ = ["count_and_sum", "kmeans", "proximity_scores"]

import torch
from torch import Tensor

from .noise import rand
from .precision import full_precision


def kmeans(points: Tensor, num_clusters: int, num_iterations: int, generator: torch.Generator | None = None) -> Tensor:
    """Centres of clusters, by k-means++ (Arthur & Vassilvitskii, 2007) and Lloyd's iterations.

    With fewer points than clusters, points are used several times, with a little noise.

    Args:
        points: (num, dim).
        num_clusters: number of centres.
        num_iterations: Lloyd's iterations after the k-means++ initialisation.
        generator: draws the initial centres.

    Returns:
        (num_clusters, dim).
    """
    num = len(points)
    uniform, square = rand((num_clusters, 1), points, generator), torch.zeros_like(points[:, 0])
    centres = torch.empty_like(points[:1]).repeat(num_clusters, 1)
    for i in range(num_clusters):
        weights = torch.where(square.sum() > 0, square, 1.0)  # 1 for the first centre, and once all points are centres
        sums = weights.cumsum(0)
        centres[i] = points[torch.searchsorted(sums, uniform[i] * sums[-1], right=True).clamp(max=num - 1)]
        distance = (points - centres[i]).square().sum(-1)
        square = torch.minimum(square, distance) if i else distance
    noise = rand(centres.shape, points, generator) - 0.5
    centres[num:] += 0.01 * points.std(0, correction=0) * noise[num:]
    for _ in range(num_iterations):
        groups = proximity_scores(points, centres).argmax(-1)
        counts, sums = count_and_sum(points, groups, num_clusters).tensor_split([1], 1)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def proximity_scores(points: Tensor, centres: Tensor) -> Tensor:
    """-||point - centre||^2, up to a constant per point, by one matrix product.

    Points and centres are shifted by the mean of the centres. The distances stay the same, but they become differences
    of small squares, which keep their digits.

    Args:
        points: (*batch, dim).
        centres: (num, dim).

    Returns:
        (*batch, num).
    """
    mean = centres.detach().mean(0)
    centres = centres - mean
    with full_precision(points):
        return 2 * (points - mean) @ centres.T - centres.square().sum(-1)


def count_and_sum(points: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Number and sum of the points in each group, in one tensor, so that processes add them up at once.

    Args:
        points: (num, dim).
        groups: (num,), the group of each point.
        num_groups: number of groups.

    Returns:
        (num_groups, 1 + dim): the number in the first column, the sum in the others.
    """
    rows = torch.cat([torch.ones_like(points[:, :1]), points], 1)
    return rows.new_zeros(num_groups, rows.shape[1]).index_add_(0, groups, rows)
