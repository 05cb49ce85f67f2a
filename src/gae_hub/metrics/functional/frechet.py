r"""Frechet distance: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel,
Ramsauer, Unterthiner, Nessler & Hochreiter, 2017), arXiv:1706.08500.

.. math::
    d^2 = |m_1 - m_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1 C_2)^{1/2}

With :math:`C_i = A_i^T A_i` the last trace is the sum of the singular values of :math:`A_1 A_2^T`, the roots of the
eigenvalues of the symmetric :math:`A_1 C_2 A_1^T`: real by construction, whatever the rank.
"""

__all__ = ["frechet_distance", "frechet_estimate", "frechet_infinity"]

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..estimate import Estimate
from .moments import Moments, plus_gram


def frechet_distance(samples: Moments, references: Moments) -> float:
    """Squared Frechet distance of two Gaussians with the moments of two sets of features: FID, if Inception gave them.

    It is never negative; 0 for equal moments, up to rounding. With fewer rows than dimensions the covariance is
    singular, and the distance is that of the singular Gaussians.

    Raises:
        ValueError: with fewer than two rows on a side, or features of unlike dimension.
    """
    offset, first, second = _factors(samples, references)
    product = second @ first.T
    if _full(first, second):
        triangle = plus_gram(torch.zeros_like(product), product)
        sigma = torch.linalg.eigvalsh(triangle, UPLO="U").clamp(min=0).sqrt()
    else:
        sigma = torch.linalg.svdvals(product)
    return _distance(offset, first, second, sigma)


def frechet_estimate(samples: Moments, references: Moments) -> Estimate:
    r"""The distance with its standard error by the delta method, if features are Gaussian, as the distance takes them.

    The distance's derivative in direction x is :math:`2 (m_1 - m_2)^T x + x^T (I - T) x`, with T the optimal map
    from one Gaussian to the other, and :math:`Var = 4 (m_1 - m_2)^T C_1 (m_1 - m_2) + 2 tr ((I - T) C_1)^2`. It tells
    how far another draw of as many images would move the value; not the bias, for which see `frechet_infinity`.
    """
    offset, first, second = _factors(samples, references)
    product = first @ second.T
    if _full(first, second):
        values, left = torch.linalg.eigh(product @ product.T)
        sigma = values.clamp(min=torch.finfo(values.dtype).tiny).sqrt()
        right = product.T @ left / sigma
    else:
        left, sigma, right = torch.linalg.svd(product, full_matrices=False)
        right = right.T
    cross = sigma.square().sum()  # tr C_1 C_2
    variance = 0.0
    for factor, vectors, count in ((first, left, samples.count), (second, right, references.count)):
        gram = (factor @ factor.T).square().sum()  # tr C^2
        mapped = (sigma * (factor.T @ vectors).square().sum(0)).sum()  # tr T C C
        spread = 4 * (factor @ offset).square().sum() + 2 * (gram - 2 * mapped + cross).clamp(min=0)
        variance += spread / count
    value, method = _distance(offset, first, second, sigma), "closed form: delta method for Gaussian features"
    return Estimate.normal(value, variance.sqrt().item(), method, least=0.0)


def frechet_infinity(
    samples: Tensor, references: Moments, num_points: int = 15, seed: int = 0, progress: bool = False
) -> float:
    """The distance for infinitely many samples: a line in 1 / num through distances of subsets, at 0 (Chong & Forsyth,
    Effectively Unbiased FID and Inception Score, 2020, arXiv:1911.07023).

    Args:
        samples: (num, dim) features.
        references: moments of the other side; their own bias stays.
        num_points: subsets, of sizes evenly spaced from a tenth of all samples to all.
        seed: of the subsets.
    """
    least = max(2, len(samples) // 10)
    if num_points < 2 or len(samples) - least < num_points:
        raise ValueError(f"num_points must be 2 or more, and less than the samples, got {num_points}, {len(samples)}")
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.linspace(least, len(samples), num_points, dtype=torch.float64).round().long().tolist()
    distances = []
    for size in tqdm(sizes, desc="extrapolating", disable=not progress, leave=False):
        chosen = torch.randperm(len(samples), generator=generator)[:size]
        distances.append(frechet_distance(Moments(samples[chosen]), references))
    design = torch.tensor([[1.0, 1 / size] for size in sizes], dtype=torch.float64)
    target = torch.tensor(distances, dtype=torch.float64).unsqueeze(1)
    return torch.linalg.lstsq(design, target).solution[0].item()


def _factors(samples: Moments, references: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Difference of the means, and factors A of both covariances A^T A, each (rank, dim)."""
    if samples.count and references.count and samples.dim != references.dim:
        raise ValueError(f"the two sides have features of {samples.dim} and {references.dim} dimensions")
    means, factors = zip(*map(_mean_and_factor, (samples, references)), strict=True)
    return means[0] - means[1], *factors


def _mean_and_factor(moments: Moments) -> tuple[Tensor, Tensor]:
    found = moments.low_rank()
    if found is not None:
        return found
    _, mean, covariance = moments.totals()
    triangle, failed = torch.linalg.cholesky_ex(covariance)
    diagonal = triangle.diagonal()
    if not failed and diagonal.min() > 1e-5 * diagonal.max():
        return mean, triangle.T
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > len(values) * torch.finfo(values.dtype).eps * values.abs().max()
    return mean, (vectors[:, kept] * values[kept].sqrt()).T


def _full(first: Tensor, second: Tensor) -> bool:
    """Whether both covariances have full rank. The symmetric eigenproblem of A_1 C_2 A_1^T is then several times
    faster than a singular value decomposition, and the digits that squaring costs are those of the smallest values,
    which do not show in the sum."""
    return len(first) == len(second) == first.shape[1]


def _distance(offset: Tensor, first: Tensor, second: Tensor, sigma: Tensor) -> float:
    traces = first.square().sum() + second.square().sum()
    return max(0.0, (offset.square().sum() + traces - 2 * sigma.sum()).item())
