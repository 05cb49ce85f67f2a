"""Posteriors that are a Gaussian transformed by a normalizing flow."""

__all__ = ["FlowPosterior"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .posteriors import DiagonalGaussian, Posterior

Step = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass
class FlowPosterior(Posterior):
    """q(z_K|x), the density of z_K = f_K(... f_1(z_0)) for z_0 from a Gaussian.

    Args:
        base: q(z_0|x).
        steps: f_1 to f_K. Each maps z, (batch, *draws, latent_dim), to z' and log |det dz'/dz|, (batch, *draws).
    """

    base: DiagonalGaussian
    steps: Sequence[Step]

    def transform(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z_K and log |det dz_K/dz_0| for z_0, (batch, *draws, latent_dim), in nats."""
        total = torch.zeros_like(z[..., 0])
        for step in self.steps:
            z, log_det = step(z)
            total = total + log_det
        return z, total

    @property
    def mean(self) -> Tensor:
        """(batch, latent_dim): the transformed mean of the base. The mean of z_K has no closed form."""
        return self.transform(self.base.mean)[0]

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised samples."""
        return self.transform(self.base.rsample(*shape, generator=generator))[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """Not available: raises NotImplementedError. The steps have no inverse in closed form."""
        raise NotImplementedError(
            "the density of a flow without an inverse is known at its own samples only; use rsample_and_log_prob"
        )

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Samples z_K, (batch, *shape, latent_dim), and log q(z_0|x) - log |det dz_K/dz_0|, (batch, *shape)."""
        z_0, log_q = self.base.rsample_and_log_prob(*shape, generator=generator)
        z, log_det = self.transform(z_0)
        return z, log_q - log_det

    def diagnostics(self) -> dict[str, Tensor]:
        """Diagnostics of the base, without its KL: it says nothing about the KL of z_K."""
        return Posterior.diagnostics(self.base)
