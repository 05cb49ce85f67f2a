r"""Frechet distance: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel,
Ramsauer, Unterthiner, Nessler & Hochreiter, 2017), arXiv:1706.08500.

.. math::
    d^2 = |m_1 - m_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1 C_2)^{1/2}

With :math:`C_i = A_i^T A_i` the last trace is the sum of the singular values of :math:`A_1 A_2^T`. They are the
square roots of the eigenvalues of the symmetric :math:`A_1 C_2 A_1^T`, and therefore real for covariances of any rank.
"""

__all__ = ["frechet_distance", "frechet_infinity"]

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...core.argument_checks import check_count
from ..results import Estimate
from .checks import check_features, check_same_dim
from .moments import Moments, add_gram


def frechet_distance(samples: Moments, references: Moments) -> float:
    """Squared Frechet distance of two sets of features. With Inception features this is FID.

    It is the distance of two Gaussians with the moments of both sets. It is never negative, and 0 for equal moments,
    up to rounding. With fewer rows than dimensions the covariance is singular, and the distance is between two
    singular Gaussians.

    Args:
        samples, references: moments of the features of each side.

    Raises:
        ValueError: for fewer than 2 rows on a side, or features with different dim.
    """
    offset, first, second = _offset_and_factors(samples, references)
    product = second @ first.T
    if _have_full_rank(first, second):
        triangle = add_gram(torch.zeros_like(product), product)
        singular_values = torch.linalg.eigvalsh(triangle, UPLO="U").clamp(min=0).sqrt()
    else:
        singular_values = torch.linalg.svdvals(product)
    return _distance(offset, first, second, singular_values)


def frechet_infinity(
    samples: Tensor, references: Tensor, num_groups: int = 5, seed: int = 0, progress: bool = False
) -> Estimate:
    r"""Frechet distance of infinitely many samples and references, by extrapolation.

    [`frechet_distance`] is too large by about a / num_samples + b / num_references. As in Effectively Unbiased FID and
    Inception Score (Chong & Forsyth, 2020), arXiv:1911.07023, a line in the inverse number of images is evaluated at
    0. The line goes through the distance of all images and the mean distance without one of `num_groups` random
    groups of both sides. All rows have the same weight in that mean, so the result is hardly noisier than the distance
    itself (the jackknife of Quenouille, 1956, doi:10.1093/biomet/43.3-4.353). The paper extrapolates in the samples
    only, from random subsets. The result can be slightly negative.

    The interval is about the distance of both distributions' moments. The derivative of the distance in direction x is
    :math:`2 (m_1 - m_2)^T x + x^T (I - T) x`, where T is the optimal map from one Gaussian to the other; its variance
    over the rows is the squared standard error, for features of any distribution. The derivative vanishes for equal
    moments, so the squared error is at least the variance of the second order, from the spectrum of the covariances
    and the extrapolated bias. There is no interval if a side has fewer than two rows for each dimension, because the
    bias is not linear there.

    Args:
        samples, references: (num, dim) features.
        num_groups: number of groups.
        seed: seed of the groups. Equal numbers of rows get the same groups, so paired rows stay together.
        progress: show a progress bar.

    Raises:
        ValueError: if num_groups is below 2, a side has fewer than 2 rows for each group, values are not finite, or
            the sides differ in dim.
    """
    check_count("num_groups", num_groups, minimum=2)
    for argument, side in (("samples", samples), ("references", references)):
        check_features("fid_infinity", argument, side, 2 * num_groups, f"images on each side for {num_groups} groups")
    x, y = samples.double(), references.double()
    check_same_dim(x.shape[1], y.shape[1])
    distance, variance = _distance_and_variance(x, y)
    first, second = (_draw_groups(len(side), num_groups, seed).to(side.device) for side in (x, y))
    smaller = [
        frechet_distance(Moments(x[first != group]), Moments(y[second != group]))
        for group in tqdm(range(num_groups), desc="extrapolating", disable=not progress, leave=False)
    ]
    value = num_groups * distance - (num_groups - 1) * sum(smaller) / num_groups
    if min(len(x), len(y)) < 2 * x.shape[1]:
        return Estimate(value)
    error = max(variance, _second_order_variance(x, y, distance - value)) ** 0.5
    return Estimate.normal(value, error, "delta method on all rows")


def _draw_groups(num: int, num_groups: int, seed: int) -> Tensor:
    """(num,) random groups of equal size, up to one row."""
    return torch.randperm(num, generator=torch.Generator().manual_seed(seed)) % num_groups


def _distance_and_variance(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Frechet distance of two sets of rows, and its variance by the delta method.

    With centred rows X = Q R, the quadratic forms x^T T x of all rows are the diagonal of Q U S U^T Q^T, where U S V^T
    is the singular value decomposition of R_1 R_2^T. Nothing is inverted, so the covariances may be singular.
    """
    offset = x.mean(0) - y.mean(0)
    sides = [(rows - rows.mean(0), (len(rows) - 1) ** 0.5) for rows in (x, y)]
    (q1, first), (q2, second) = (torch.linalg.qr(rows / scale) for rows, scale in sides)
    left, singular_values, right = torch.linalg.svd(first @ second.T, full_matrices=False)
    variance = 0.0
    for (rows, scale), basis, direction in ((sides[0], q1 @ left, offset), (sides[1], q2 @ right.T, -offset)):
        mapped = scale**2 * basis.square() @ singular_values  # x^T T x
        derivative = 2 * rows @ direction + rows.square().sum(1) - mapped
        variance += (derivative.var() / len(rows)).item()
    return _distance(offset, first, second, singular_values), variance


def _second_order_variance(x: Tensor, y: Tensor, bias: float) -> float:
    """Variance of the distance of two sets of Gaussian rows with equal moments, from its bias.

    The distance is then a sum of independent squares. The offset of the means contributes squares with the spectrum of
    C = C_1 / num_x + C_2 / num_y, and the covariances contribute the rest of the bias, through about r (r + 1) / 2
    squares, where r = (tr C)^2 / tr C^2 is the effective number of dimensions.
    """
    covariance = torch.cov(x.T).view(x.shape[1], -1) / len(x) + torch.cov(y.T).view(x.shape[1], -1) / len(y)
    trace, squares = covariance.trace().item(), covariance.square().sum().item()
    if not squares:
        return 0.0
    rank = trace**2 / squares
    return 2 * squares + 2 * max(0.0, bias - trace) ** 2 / (rank * (rank + 1) / 2)


def _offset_and_factors(samples: Moments, references: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Difference of the means, and factors A of both covariances A^T A, each (rank, dim)."""
    if samples.count and references.count:
        check_same_dim(samples.dim, references.dim)
    (first_mean, first), (second_mean, second) = _mean_and_factor(samples), _mean_and_factor(references)
    return first_mean - second_mean, first, second


def _mean_and_factor(moments: Moments) -> tuple[Tensor, Tensor]:
    found = moments.factorize_low_rank()
    if found is not None:
        return found
    _, mean, covariance = moments.compute_statistics()
    triangle, failed = torch.linalg.cholesky_ex(covariance)
    diagonal = triangle.diagonal()
    if not failed and diagonal.min() > 1e-5 * diagonal.max():
        return mean, triangle.T
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > len(values) * torch.finfo(values.dtype).eps * values.abs().max()
    return mean, (vectors[:, kept] * values[kept].sqrt()).T


def _have_full_rank(first: Tensor, second: Tensor) -> bool:
    """Whether both covariances have full rank.

    The symmetric eigenproblem of A_1 C_2 A_1^T is then several times faster than a singular value decomposition.
    Squaring costs digits of the smallest values only, which do not show in the sum.
    """
    return len(first) == len(second) == first.shape[1]


def _distance(offset: Tensor, first: Tensor, second: Tensor, singular_values: Tensor) -> float:
    traces = first.square().sum() + second.square().sum()
    return max(0.0, (offset.square().sum() + traces - 2 * singular_values.sum()).item())
