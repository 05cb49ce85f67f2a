r"""Frechet distance: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel,
Ramsauer, Unterthiner, Nessler & Hochreiter, 2017), arXiv:1706.08500.

.. math::
    d^2 = |m_1 - m_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1 C_2)^{1/2}

With :math:`C_i = A_i^T A_i` the last trace is the sum of the singular values of :math:`A_1 A_2^T`. They are the
square roots of the eigenvalues of the symmetric :math:`A_1 C_2 A_1^T`, and therefore real for covariances of any rank.
"""

__all__ = ["frechet_distance", "frechet_estimate", "frechet_infinity"]

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


def frechet_estimate(samples: Moments, references: Moments) -> Estimate:
    r"""[`frechet_distance`] with its standard error by the delta method, for Gaussian features.

    The derivative of the distance in direction x is :math:`2 (m_1 - m_2)^T x + x^T (I - T) x`, where T is the optimal
    map from one Gaussian to the other. Its variance is
    :math:`4 (m_1 - m_2)^T C_1 (m_1 - m_2) + 2 tr ((I - T) C_1)^2`. The standard error says how much the value varies
    between draws of as many images. It does not include the bias, which `frechet_infinity` removes.

    Args:
        samples, references: moments of the features of each side.

    Raises:
        ValueError: as `frechet_distance`.
    """
    offset, first, second = _offset_and_factors(samples, references)
    product = first @ second.T
    if _have_full_rank(first, second):
        values, left = torch.linalg.eigh(product @ product.T)
        singular_values = values.clamp(min=torch.finfo(values.dtype).tiny).sqrt()
        right = product.T @ left / singular_values
    else:
        left, singular_values, right = torch.linalg.svd(product, full_matrices=False)
        right = right.T
    cross = singular_values.square().sum()  # tr C_1 C_2
    variance = offset.new_zeros(())
    for factor, vectors, count in ((first, left, samples.count), (second, right, references.count)):
        gram = (factor @ factor.T).square().sum()  # tr C^2
        mapped = (singular_values * (factor.T @ vectors).square().sum(0)).sum()  # tr T C C
        spread = 4 * (factor @ offset).square().sum() + 2 * (gram - 2 * mapped + cross).clamp(min=0)
        variance = variance + spread / count
    value = _distance(offset, first, second, singular_values)
    method = "closed form: delta method for Gaussian features"
    return Estimate.normal(value, variance.sqrt().item(), method, lower_bound=0.0)


def frechet_infinity(
    samples: Tensor, references: Moments, num_points: int = 15, seed: int = 0, progress: bool = False
) -> float:
    """Frechet distance for infinitely many samples, by extrapolation.

    Effectively Unbiased FID and Inception Score (Chong & Forsyth, 2020), arXiv:1911.07023. A line in 1 / num is fitted
    to the distances of subsets, and evaluated at 0. The bias of the references remains.

    Args:
        samples: (num, dim) features.
        references: moments of the other side.
        num_points: number of subsets, with sizes evenly spaced from a tenth of the samples to all of them.
        seed: seed of the subsets.
        progress: show a progress bar.

    Raises:
        ValueError: if num_points is below 2, or there are too few samples for so many subsets.
    """
    check_features("fid_infinity", "samples", samples, 2)
    check_count("num_points", num_points, minimum=2)
    smallest = max(2, len(samples) // 10)
    if len(samples) - smallest < num_points:
        raise ValueError(
            f"{num_points} points need at least num_points + {smallest} = {num_points + smallest} samples, got "
            f"{len(samples)}"
        )
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.linspace(smallest, len(samples), num_points, dtype=torch.float64).round().long().tolist()
    distances = []
    for size in tqdm(sizes, desc="extrapolating", disable=not progress, leave=False):
        chosen = torch.randperm(len(samples), generator=generator)[:size]
        distances.append(frechet_distance(Moments(samples[chosen]), references))
    design = torch.tensor([[1.0, 1 / size] for size in sizes], dtype=torch.float64)
    target = torch.tensor(distances, dtype=torch.float64).unsqueeze(1)
    return torch.linalg.lstsq(design, target).solution[0].item()


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
