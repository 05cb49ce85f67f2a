"""Posteriors whose samples are moved by Hamiltonian dynamics."""

__all__ = ["HamiltonianPosterior"]

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .noise import randn
from .posteriors import DiagonalGaussian, Posterior


@dataclass
class HamiltonianPosterior(Posterior):
    """q(z_K|x), where z_K is the end of a trajectory that starts at a sample z_0 of a Gaussian, with random momentum.

    Args:
        base: q(z_0|x).
        flow: maps z_0 and standard normal noise, (batch, *draws, latent_dim) each, to z_K; to
            log N(rho_0) - log N(rho_K), (batch, *draws), the ratio of the momenta's densities, which includes the
            change of volume; and to diagnostics of the trajectories by name, scalars.
    """

    base: DiagonalGaussian
    flow: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, dict[str, Tensor]]]
    flow_diagnostics: dict[str, Tensor] = field(default_factory=dict, init=False)  # of the latest samples

    @property
    def mean(self) -> Tensor:
        """(batch, latent_dim): the end of the trajectory that starts at the base's mean, with momentum 0."""
        return self.flow(self.base.mean, torch.zeros_like(self.base.mean))[0]

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised samples."""
        return self.rsample_and_log_prob(*shape, generator=generator)[0]

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Samples z_K, and log q(z_0|x) + log N(rho_0) - log N(rho_K), which replaces their log density in bounds."""
        z, log_q = self.base.rsample_and_log_prob(*shape, generator=generator)
        moved, log_ratio, self.flow_diagnostics = self.flow(z, randn(z.shape, z, generator))
        return moved, log_q + log_ratio

    def diagnostics(self) -> dict[str, Tensor]:
        """Diagnostics of the base and of the latest trajectories. The base's KL says nothing about that of z_K."""
        return {**Posterior.diagnostics(self.base), **self.flow_diagnostics}
