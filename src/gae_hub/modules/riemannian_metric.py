r"""The latent space's metric of RHVAE (Chadebec, Mantoux & Allassonnière, 2020), arXiv:2010.11518.

.. math::
    G^{-1}(z) = \sum_i L_i L_i^\top \exp \left( -\frac{\|z - c_i\|^2}{T^2} \right) + \lambda I
"""

__all__ = ["Metric", "Place", "product"]

from dataclasses import dataclass

import torch
from torch import Tensor

from .precision import full_precision


@dataclass
class Metric:
    """G and what the dynamics need of it. Points are (*batch, d); nothing of size (batch, centroids, d, d) is made.

    Args:
        centroids: (n, d).
        matrices: (n, d, d), the L L^T; an empty place holds zeros.
        temperature, regularization: T and lambda.
    """

    centroids: Tensor
    matrices: Tensor
    temperature: float
    regularization: float

    def weights(self, z: Tensor) -> Tensor:
        """(*batch, n): how much of each centroid is felt at z."""
        with full_precision(z):
            square = z.square().sum(-1, keepdim=True) + self.centroids.square().sum(-1) - 2 * z @ self.centroids.T
        return (-square.clamp(min=0) / self.temperature**2).exp()

    def inverse(self, z: Tensor, weights: Tensor | None = None) -> Tensor:
        """(*batch, d, d): the inverse of G at z."""
        d = z.shape[-1]
        with full_precision(z):
            mixture = (self.weights(z) if weights is None else weights) @ self.matrices.flatten(1)
        return mixture.unflatten(-1, (d, d)) + self.regularization * torch.eye(d, dtype=z.dtype, device=z.device)

    def with_matrices(self, matrix: Tensor) -> Tensor:
        """(*batch, n): traces of the products of a symmetric matrix, (*batch, d, d), with each L L^T."""
        with full_precision(matrix):
            return matrix.flatten(-2) @ self.matrices.flatten(1).T

    def at(self, z: Tensor) -> "Place":
        weights = self.weights(z)
        inverse = self.inverse(z, weights)
        factor = torch.linalg.cholesky(inverse)
        return Place(self, z, weights, inverse, factor, self.with_matrices(torch.cholesky_inverse(factor)))


@dataclass
class Place:
    """The metric at z, computed once.

    Args:
        inverse, factor: the inverse of G, and its Cholesky factor.
        traces: those of the products of G with each L L^T.
    """

    metric: Metric
    z: Tensor
    weights: Tensor
    inverse: Tensor
    factor: Tensor
    traces: Tensor

    def momentum(self, noise: Tensor) -> Tensor:
        """A draw of N(0, G) from standard normal noise."""
        return torch.linalg.solve_triangular(self.factor.mT, noise.unsqueeze(-1), upper=True).squeeze(-1)

    def where(self, chosen: Tensor, other: "Place") -> "Place":
        """The other place where `chosen`, (*batch,), and this one elsewhere."""

        def pick(name: str) -> Tensor:
            own, theirs = getattr(self, name), getattr(other, name)
            return torch.where(chosen.view(*chosen.shape, *[1] * (own.dim() - chosen.dim())), theirs, own)

        return Place(self.metric, *map(pick, ("z", "weights", "inverse", "factor", "traces")))

    def half_log_det(self) -> Tensor:
        """(*batch,): half of log det G."""
        return -self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def kinetic_gradient(self, momentum: Tensor) -> Tensor:
        """Gradient by z of (rho^T G^-1 rho + log det G) / 2."""
        outer = momentum.unsqueeze(-1) * momentum.unsqueeze(-2)
        pull = self.weights * (self.metric.with_matrices(outer) - self.traces)
        with full_precision(pull):
            moment = pull @ self.metric.centroids
        return (moment - pull.sum(-1, keepdim=True) * self.z) / self.metric.temperature**2


def product(matrix: Tensor, vector: Tensor) -> Tensor:
    """(*batch, d, d) times (*batch, d)."""
    return (matrix * vector.unsqueeze(-2)).sum(-1)
