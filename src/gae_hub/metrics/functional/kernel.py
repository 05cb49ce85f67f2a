r"""KID: Demystifying MMD GANs (Bińkowski, Sutherland, Arbel & Gretton, 2018), arXiv:1801.01401.

.. math::
    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), \quad k(x, y) = (x^T y / dim + 1)^3

`kernel_distance` is the unbiased estimate from all pairs. The paper averages it over subsets of 1000 images, which has
the same expectation and more noise: `kernel_distance_of_subsets`.
"""

__all__ = ["kernel_distance", "kernel_distance_of_subsets"]

import torch
from torch import Tensor

from ...core.argument_checks import check_count
from ..results import Estimate
from .checks import check_features, check_same_dim

CHUNK = 2048  # rows whose kernel is in memory at a time


def kernel_distance(samples: Tensor, references: Tensor, degree: int = 3) -> Estimate:
    """Unbiased squared MMD of two sets of features under the polynomial kernel. With Inception features this is KID.

    Its expectation is 0 for equal distributions; the estimate can be slightly negative. The interval is about the
    population's distance. The standard error is the linear part of the U-statistic, with the noise of both sides'
    mean kernels. That noise exceeds what the linear part leaves out when the distributions become equal: in
    simulations of equal distributions the interval covers 0 in 97 to 99 % of the cases.

    Args:
        samples, references: (num, dim) features; the two sides can have different numbers, at least 2.
        degree: degree of the polynomial.

    Raises:
        ValueError: for fewer than 2 rows, values that are not finite, or sides with different dim.
    """
    check_count("degree", degree)
    _check_sides(samples, references)
    x, y = samples.double(), references.double()
    within_x, within_y = (_mean_kernels(side, side, degree, same=True) for side in (x, y))
    x_to_y, y_to_x = _mean_kernels(x, y, degree), _mean_kernels(y, x, degree)
    value = within_x.mean() + within_y.mean() - 2 * x_to_y.mean()
    variance = 4 * ((within_x - x_to_y).var() / len(x) + (within_y - y_to_x).var() / len(y))
    return Estimate.normal(value.item(), variance.sqrt().item(), "closed form: linear part of the U-statistic")


def kernel_distance_of_subsets(
    samples: Tensor,
    references: Tensor,
    subset_size: int = 1000,
    num_subsets: int = 100,
    seed: int = 0,
    degree: int = 3,
) -> Estimate:
    """Mean of [`kernel_distance`] over random subsets, as published. `details` holds the subsets' standard deviation.

    Args:
        samples, references: (num, dim) features.
        subset_size: rows of each side in a subset.
        num_subsets: number of subsets.
        seed: seed of the subsets.
        degree: degree of the polynomial.

    Raises:
        ValueError: if a side has fewer than `subset_size` rows, or for the reasons of `kernel_distance`.
    """
    check_count("num_subsets", num_subsets)
    check_count("subset_size", subset_size, minimum=2)
    _check_sides(samples, references)
    smaller = min(len(samples), len(references))
    if not 2 <= subset_size <= smaller:
        raise ValueError(
            f"subset_size must be from 2 to the number of images on the smaller side, {smaller}, got {subset_size}"
        )
    generator = torch.Generator().manual_seed(seed)

    def draw(side: Tensor) -> Tensor:
        return side[torch.randperm(len(side), generator=generator)[:subset_size]]

    values = [kernel_distance(draw(samples), draw(references), degree).value for _ in range(num_subsets)]
    distances = torch.tensor(values, dtype=torch.float64)
    return Estimate(distances.mean().item(), details={"deviation_of_subsets": distances.std(correction=0).item()})


def _check_sides(samples: Tensor, references: Tensor):
    for argument, side in (("samples", samples), ("references", references)):
        check_features("KID", argument, side, 2, "images on each side")
    check_same_dim(samples.shape[1], references.shape[1])


def _mean_kernels(x: Tensor, y: Tensor, degree: int, same: bool = False) -> Tensor:
    """(num_x,) mean of k(x_i, y_j) over j. With `same`, x and y are one set and j = i is left out."""
    sums = torch.cat([(rows @ y.T / x.shape[1] + 1).pow_(degree).sum(1) for rows in x.split(CHUNK)])
    if not same:
        return sums / len(y)
    return (sums - (x.square().sum(1) / x.shape[1] + 1) ** degree) / (len(y) - 1)
