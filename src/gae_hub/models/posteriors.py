"""What an encoder says about the latents of an image: small objects of tensors with `mean`, `rsample` and `log_prob`.

`torch.distributions` is not used: its objects do not survive transformers' loading on the meta device, nor a
full-graph compile.
"""

__all__ = ["DiagonalGaussian", "PointMass", "gaussian_log_prob", "randn"]

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor


def randn(shape, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise on the device and in the dtype of `like`.

    It is drawn on the generator's device and then moved, so that a CPU generator gives the same numbers everywhere.
    """
    device = generator.device if generator is not None else like.device
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def gaussian_log_prob(z: Tensor, mean: Tensor | float = 0.0, log_var: Tensor | float = 0.0) -> Tensor:
    """Element-wise log density of N(mean, exp(log_var)) at z, constants included."""
    precision = torch.exp(-log_var) if isinstance(log_var, Tensor) else 1.0
    return -0.5 * (log(2 * pi) + log_var + (z - mean).square() * precision)


@dataclass
class PointMass:
    """A deterministic encoding: all mass on `mean`, (batch, latent_dim)."""

    mean: Tensor

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim): the same point each time."""
        batch, *dims = self.mean.shape
        return self.mean.view(batch, *[1] * len(shape), *dims).expand(batch, *shape, *dims)


@dataclass
class DiagonalGaussian:
    """q(z|x) = N(mean, diag(exp(log_var))); both are (batch, latent_dim)."""

    mean: Tensor
    log_var: Tensor

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised draws."""
        mean, std = self._expand(self.mean, len(shape)), self._expand((0.5 * self.log_var).exp(), len(shape))
        return mean + std * randn((mean.shape[0], *shape, mean.shape[-1]), mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """(batch, *shape) log density at z, which is (batch, *shape, latent_dim), in nats."""
        mean, log_var = (self._expand(t, z.dim() - 2) for t in (self.mean, self.log_var))
        return gaussian_log_prob(z, mean, log_var).sum(-1)

    def kl(self) -> Tensor:
        """(batch,) KL(q(z|x) || N(0, I)), in nats."""
        return 0.5 * (self.mean.square() + self.log_var.exp() - 1 - self.log_var).sum(-1)

    @staticmethod
    def _expand(t: Tensor, num_axes: int) -> Tensor:
        return t.view(t.shape[0], *[1] * num_axes, t.shape[-1])
