"""Gaussian mixtures: density, samples, and expectation maximization on the device of the data."""

__all__ = ["CovarianceType", "GaussianMixture", "maximize_likelihood"]

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gae_hub.core.argument_checks import generator_device

from .kmeans import kmeans, proximity_scores
from .noise import randn
from .precision import full_precision, to_float64
from .projected_normal import projected_normal_log_prob

CovarianceType = Literal["full", "diag", "tied"]
_MAX_ROWS = 8192  # points in a pass


@dataclass
class GaussianMixture:
    r""":math:`\sum_k \pi_k N(z; \mu_k, \Sigma_k)`, in tensors that `assign` updates in place.

    Args:
        weights: (k,), the pi.
        means: (k, d).
        scales: (k, d) standard deviations for "diag"; lower Cholesky factors of the covariances otherwise, (k, d, d)
            for "full" and (1, d, d) for "tied".
        covariance_type: "full", "diag", or "tied", one full covariance for all components.
    """

    weights: Tensor
    means: Tensor
    scales: Tensor
    covariance_type: CovarianceType

    def assign(self, weights: Tensor, means: Tensor, covariances: Tensor, covariance_regularization: float):
        """Set the parameters.

        Args:
            weights: (k,).
            means: (k, d).
            covariances: variances (k, d) for "diag", else covariances (k, d, d) or (1, d, d).
            covariance_regularization: the value that was added to the variances, for the error.

        Raises:
            ValueError: if a covariance is singular.
        """
        if self.covariance_type == "diag":
            scales = covariances.sqrt()
        else:
            scales, faults = torch.linalg.cholesky_ex(covariances)
            if faults.any():
                raise ValueError(
                    "the covariance of a component is singular, because its latents lie in a plane: raise "
                    f"covariance_regularization, which is {covariance_regularization}, or use covariance_type='diag'"
                )
        for own, value in ((self.weights, weights), (self.means, means), (self.scales, scales)):
            own.copy_(value.view(own.shape))

    def component_log_prob(self, points: Tensor) -> Tensor:
        """(num, k): log pi_k N(z; mu_k, Sigma_k), in nats, for points (num, d)."""
        d = self.means.shape[1]
        if self.covariance_type == "diag":
            pairs = zip(self.means, self.scales, strict=True)
            square = torch.stack([((points - mean) / std).square().sum(-1) for mean, std in pairs], -1)
            log_det = self.scales.log().sum(-1)
        else:
            identity = torch.eye(d, dtype=self.means.dtype, device=self.means.device)
            inverses = torch.linalg.solve_triangular(self.scales, identity, upper=False)
            with full_precision(points):
                if len(inverses) == 1:
                    z, means = (points - self.means[0]) @ inverses[0].T, (self.means - self.means[0]) @ inverses[0].T
                    square = torch.cdist(z, means, compute_mode="donot_use_mm_for_euclid_dist").square()
                else:
                    pairs = zip(self.means, inverses, strict=True)
                    square = torch.stack([((points - mean) @ inv.T).square().sum(-1) for mean, inv in pairs], -1)
            log_det = self.scales.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.weights.log() - 0.5 * (square + d * log(2 * pi)) - log_det

    def log_prob(self, points: Tensor) -> Tensor:
        """(num,) log density of points (num, d), in nats."""
        return torch.cat([self.component_log_prob(part).logsumexp(-1) for part in points.split(_MAX_ROWS)])

    def direction_log_prob(self, directions: Tensor) -> Tensor:
        """(num,) log density of the directions of samples, in nats per area of the unit sphere.

        Args:
            directions: (num, d) of length 1.
        """
        means, scales = to_float64(self.means), to_float64(self.scales).expand(len(self.means), *self.scales.shape[1:])
        log_probs = []
        for part in to_float64(directions).split(_MAX_ROWS):
            each = []
            for mean, scale in zip(means, scales, strict=True):
                if self.covariance_type == "diag":
                    white, white_mean, log_det = part / scale, mean / scale, scale.log().sum()
                else:
                    white = torch.linalg.solve_triangular(scale.mT, part, upper=True, left=False)
                    white_mean = torch.linalg.solve_triangular(scale.mT, mean.unsqueeze(0), upper=True, left=False)
                    log_det = scale.diagonal().log().sum()
                each.append(projected_normal_log_prob(white, white_mean.view(1, -1)).squeeze(1) - log_det)
            log_probs.append((torch.stack(each, -1) + self.weights.log()).logsumexp(-1))
        return torch.cat(log_probs).to(directions.dtype)

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, d) samples, whose components are drawn independently."""
        device = generator_device(generator, self.weights.device)
        components = torch.multinomial(self.weights.to(device), num_samples, replacement=True, generator=generator)
        components = components.to(self.weights.device)
        noise = randn((num_samples, self.means.shape[1]), self.means, generator)
        if self.covariance_type == "diag":
            return self.means[components] + self.scales[components] * noise
        if len(self.scales) == 1:
            return self.means[components] + noise @ self.scales[0].T
        for k, (mean, scale) in enumerate(zip(self.means, self.scales, strict=True)):
            own = components == k
            noise[own] = mean + noise[own] @ scale.T
        return noise

    def num_parameters(self) -> int:
        """Number of free parameters."""
        k, d = self.means.shape
        per_covariance = d if self.covariance_type == "diag" else d * (d + 1) // 2
        return k - 1 + k * d + per_covariance * (1 if self.covariance_type == "tied" else k)


def maximize_likelihood(
    mixture: GaussianMixture,
    points: Tensor,
    num_iterations: int,
    tolerance: float,
    covariance_regularization: float,
    seed: int = 0,
    after_iteration: Callable[[], Any] | None = None,
):
    """Fit a mixture to points (num, d) in place, by expectation maximization from the clusters of k-means.

    Args:
        mixture: its current parameters do not matter.
        points: (num, d).
        num_iterations: maximum number of iterations.
        tolerance: iterations stop when the mean log density of a point rises by less, in nats.
        covariance_regularization: added to the variances.
        seed: seed of k-means.
        after_iteration: called after each iteration, for progress bars.

    Raises:
        ValueError: if a covariance is singular.
    """
    k = len(mixture.weights)
    generator = torch.Generator().manual_seed(seed)
    subset = points[torch.randperm(len(points), generator=generator)[: 256 * k].to(points.device)]
    centres = kmeans(subset, k, 10, generator)
    moments = _Moments(centres, mixture.covariance_type)
    for part in points.split(_MAX_ROWS):
        moments.add(part, F.one_hot(proximity_scores(part, centres).argmax(-1), k))
    mixture.assign(*moments.maximize(len(points), covariance_regularization), covariance_regularization)

    last = -float("inf")
    for _ in range(num_iterations):
        moments, total = _Moments(mixture.means, mixture.covariance_type), to_float64(points.new_zeros(()))
        for part in points.split(_MAX_ROWS):
            log_probs = mixture.component_log_prob(part)
            total += to_float64(log_probs.logsumexp(-1)).sum()
            moments.add(part, log_probs.softmax(-1))
        mixture.assign(*moments.maximize(len(points), covariance_regularization), covariance_regularization)
        if after_iteration is not None:
            after_iteration()
        mean_log_prob = (total / len(points)).item()
        if mean_log_prob - last < tolerance:
            break
        last = mean_log_prob


class _Moments:
    """Sums over points, weighted by responsibilities, from which a mixture's parameters follow.

    Points are taken relative to centres near the means of the components: variances as differences of large numbers
    would lose their digits.

    Args:
        centres: (k, d).
        covariance_type: as in `GaussianMixture`.
    """

    def __init__(self, centres: Tensor, covariance_type: CovarianceType):
        k, d = centres.shape
        self.covariance_type: CovarianceType = covariance_type
        self.centres = to_float64(centres)
        self.counts, self.sums = self.centres.new_zeros(k), self.centres.new_zeros(k, d)
        shapes = {"diag": (k, d), "tied": (1, d, d), "full": (k, d, d)}
        self.squares = self.centres.new_zeros(shapes[covariance_type])
        self.overlap = self.centres.new_zeros(k, k)  # sums of products of two responsibilities, for "tied"

    def add(self, points: Tensor, responsibilities: Tensor):
        """Add points (num, d), with responsibilities (num, k) whose rows sum to 1."""
        points, r = to_float64(points), to_float64(responsibilities.to(points.dtype))
        self.counts += r.sum(0)
        with full_precision(points):
            if self.covariance_type == "tied":  # relative to the centres' mean, weighted by r
                z = points - r @ self.centres
                self.sums += r.T @ z
                self.squares += z.T @ z
                self.overlap += r.T @ r
                return
            for k, (own, centre) in enumerate(zip(r.T, self.centres, strict=True)):
                z = points - centre
                self.sums[k] += own @ z
                if self.covariance_type == "diag":
                    self.squares[k] += own @ z.square()
                else:
                    self.squares[k] += (z * own.unsqueeze(1)).T @ z

    def maximize(self, num_points: int, covariance_regularization: float) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, means and covariances with the largest expected likelihood."""
        counts, sums, squares = self.counts + 1e-15 * num_points, self.sums, self.squares
        if self.covariance_type == "tied":  # from moments about the weighted means to moments about the centres
            overlap = self.overlap.clone().fill_diagonal_(0)
            between = overlap.sum(1).diag() - overlap
            sums = sums - between @ self.centres
            squares = squares + self.centres.T @ between @ self.centres
        moves = sums / counts.unsqueeze(1)
        if self.covariance_type == "diag":
            covariances = (squares / counts.unsqueeze(1) - moves.square()).clamp(min=0) + covariance_regularization
        else:
            if self.covariance_type == "tied":
                covariances = (squares - (moves.T * counts) @ moves) / counts.sum()
            else:
                covariances = squares / counts.view(-1, 1, 1) - moves.unsqueeze(-1) * moves.unsqueeze(-2)
            covariances.diagonal(dim1=-2, dim2=-1).add_(covariance_regularization)
        return counts / counts.sum(), self.centres + moves, covariances
