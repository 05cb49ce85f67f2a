r"""Riemannian metric of RHVAE's latent space (Chadebec, Mantoux & Allassonnière, 2020), arXiv:2010.11518.

.. math::
    G^{-1}(z) = \sum_i L_i L_i^\top \exp \left( -\frac{\|z - c_i\|^2}{T^2} \right) + \lambda I
"""

__all__ = ["LocalMetric", "RiemannianMetric", "matrix_vector_product"]

from dataclasses import dataclass

import torch
from torch import Tensor

from .distances import squared_distances
from .precision import full_precision


@dataclass
class RiemannianMetric:
    """G, with the quantities that Hamiltonian dynamics need. No tensor of size (batch, num_centroids, d, d) is made.

    Args:
        centroids: (num_centroids, d), the c.
        matrices: (num_centroids, d, d), the L L^T. Zeros leave a centroid out.
        temperature: T.
        regularization: lambda.
    """

    centroids: Tensor
    matrices: Tensor
    temperature: float
    regularization: float

    def weights(self, z: Tensor) -> Tensor:
        """(*batch, num_centroids): the exponentials at points z, (*batch, d)."""
        return (-squared_distances(z, self.centroids) / self.temperature**2).exp()

    def inverse(self, z: Tensor, weights: Tensor | None = None) -> Tensor:
        """(*batch, d, d): G^-1 at points z, (*batch, d). `weights` are those at z, if they are known already."""
        d = z.shape[-1]
        with full_precision(z):
            mixture = (self.weights(z) if weights is None else weights) @ self.matrices.flatten(1)
        return mixture.unflatten(-1, (d, d)) + self.regularization * torch.eye(d, dtype=z.dtype, device=z.device)

    def traces(self, matrix: Tensor) -> Tensor:
        """(*batch, num_centroids): tr(matrix L L^T) for symmetric matrices (*batch, d, d)."""
        with full_precision(matrix):
            return matrix.flatten(-2) @ self.matrices.flatten(1).T

    def apply_matrices(self, vector: Tensor) -> Tensor:
        """(*batch, num_centroids, d): L L^T vector for vectors (*batch, d)."""
        with full_precision(vector):
            return (vector @ self.matrices.flatten(0, 1).T).unflatten(-1, self.centroids.shape)

    def combine(self, weights: Tensor, images: Tensor, vector: Tensor) -> Tensor:
        """(*batch, d): G^-1 vector, from the weights at the points and `images = apply_matrices(vector)`."""
        with full_precision(vector):
            return (weights.unsqueeze(-2) @ images).squeeze(-2) + self.regularization * vector

    def velocity_jacobian(self, z: Tensor, weights: Tensor, images: Tensor) -> Tensor:
        """(*batch, d, d): derivative of `combine` with respect to z, at points z with these weights."""
        scaled = weights.unsqueeze(-1) * images
        with full_precision(z):
            moment = scaled.mT @ self.centroids
        return (moment - scaled.sum(-2).unsqueeze(-1) * z.unsqueeze(-2)) * (2 / self.temperature**2)

    def at(self, z: Tensor) -> "LocalMetric":
        """The metric at points z, (*batch, d). It is nan where G^-1 is not positive definite in floating point.

        So a step of training that diverges is undone by the divergence guard, and one of a chain is rejected.
        """
        weights = self.weights(z)
        inverse = self.inverse(z, weights)
        factor, fault = torch.linalg.cholesky_ex(inverse)
        factor = factor.masked_fill((fault != 0).view(*fault.shape, 1, 1), torch.nan)
        return LocalMetric(self, z, weights, inverse, factor, self.traces(torch.cholesky_inverse(factor)))


@dataclass
class LocalMetric:
    """G at points z, computed once.

    Args:
        metric: the metric of the whole space.
        z: (*batch, d).
        weights: (*batch, num_centroids), the exponentials.
        inverse: (*batch, d, d), G^-1.
        factor: (*batch, d, d), the Cholesky factor of G^-1.
        traces: (*batch, num_centroids), tr(G L L^T).
    """

    metric: RiemannianMetric
    z: Tensor
    weights: Tensor
    inverse: Tensor
    factor: Tensor
    traces: Tensor

    def sample_momentum(self, noise: Tensor) -> Tensor:
        """(*batch, d): a sample of N(0, G) from standard normal noise (*batch, d)."""
        return torch.linalg.solve_triangular(self.factor.mT, noise.unsqueeze(-1), upper=True).squeeze(-1)

    def where(self, condition: Tensor, other: "LocalMetric") -> "LocalMetric":
        """The other points where `condition`, (*batch,), is true, and these points elsewhere."""

        def select(name: str) -> Tensor:
            own, theirs = getattr(self, name), getattr(other, name)
            return torch.where(condition.view(*condition.shape, *[1] * (own.dim() - condition.dim())), theirs, own)

        return LocalMetric(self.metric, *map(select, ("z", "weights", "inverse", "factor", "traces")))

    def half_log_det(self) -> Tensor:
        """(*batch,): log(det G) / 2."""
        return -self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def kinetic_gradient(self, momentum: Tensor) -> Tensor:
        """(*batch, d): gradient of (rho^T G^-1 rho + log det G) / 2 with respect to z."""
        return self._kinetic_gradient(momentum, self.metric.apply_matrices(momentum))

    def kinetic_gradient_and_jacobian(self, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient, and its derivative with respect to the momentum, (*batch, d, d), in the columns."""
        images = self.metric.apply_matrices(momentum)
        jacobian = self.metric.velocity_jacobian(self.z, self.weights, images).mT
        return self._kinetic_gradient(momentum, images), jacobian

    def _kinetic_gradient(self, momentum: Tensor, images: Tensor) -> Tensor:
        pull = self.weights * ((images * momentum.unsqueeze(-2)).sum(-1) - self.traces)
        with full_precision(pull):
            moment = pull @ self.metric.centroids
        return (moment - pull.sum(-1, keepdim=True) * self.z) / self.metric.temperature**2


def matrix_vector_product(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices (*batch, d, d) times vectors (*batch, d)."""
    return (matrix * vector.unsqueeze(-2)).sum(-1)
