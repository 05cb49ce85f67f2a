r"""KID: Demystifying MMD GANs (Bińkowski, Sutherland, Arbel & Gretton, 2018), arXiv:1801.01401.

.. math::
    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), \quad k(x, y) = (x^T y / dim + 1)^3

The unbiased estimate from all pairs. The paper averages it over subsets of 1000, which has the same expectation and
more noise; `kernel_distance_of_subsets` does that.
"""

__all__ = ["kernel_distance", "kernel_distance_of_subsets"]

import torch
from torch import Tensor

from ..estimate import Estimate, require_features

CHUNK = 2048  # rows whose kernel is in memory at a time


def kernel_distance(samples: Tensor, references: Tensor, degree: int = 3) -> Estimate:
    """Unbiased squared MMD of two sets of features under the polynomial kernel: KID, if Inception gave them.

    It is 0 in expectation for equal distributions, and may come out slightly negative. Its standard error is that of
    the linear part of the statistic, which vanishes as the distributions become equal; the variance of the rest,
    which remains then, is not in it.

    Args:
        samples, references: (num, dim); numbers may differ, and must be 2 or more.
        degree: of the polynomial.
    """
    for side in (samples, references):
        require_features("KID", side, 2)
    x, y = samples.double(), references.double()
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"the two sides have features of {x.shape[1]} and {y.shape[1]} dimensions")
    within_x, within_y = (_row_means(t, t, degree, own=True) for t in (x, y))
    x_to_y, y_to_x = _row_means(x, y, degree), _row_means(y, x, degree)
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
    """As published: the mean of [`kernel_distance`] over random subsets, and their standard deviation as a detail."""
    least = min(len(samples), len(references))
    if not 2 <= subset_size <= least:
        raise ValueError(f"subset_size must be from 2 to the images of the smaller side, {least}, got {subset_size}")
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor(
        [
            kernel_distance(
                *(t[torch.randperm(len(t), generator=generator)[:subset_size]] for t in (samples, references)), degree
            ).value
            for _ in range(num_subsets)
        ],
        dtype=torch.float64,
    )
    return Estimate(values.mean().item(), details={"deviation_of_subsets": values.std(correction=0).item()})


def _row_means(x: Tensor, y: Tensor, degree: int, own: bool = False) -> Tensor:
    """(num_x,) means over y of k(x_i, y_j); without j = i if both are the same."""
    means = []
    for rows in x.split(CHUNK):
        means.append((rows @ y.T / x.shape[1] + 1).pow_(degree).sum(1))
    sums = torch.cat(means)
    if not own:
        return sums / len(y)
    return (sums - (x.square().sum(1) / x.shape[1] + 1) ** degree) / (len(y) - 1)
