"""Posteriors q(z|x): small objects that hold an encoder's output for a batch, with `mean`, `rsample` and `log_prob`.

`torch.distributions` is not used: its objects do not work on the meta device, where transformers builds a model
before loading it, nor in a full-graph compile.
"""

__all__ = [
    "DiagonalGaussian",
    "GaussianPosterior",
    "PointMass",
    "Posterior",
    "bound_log_var",
    "expand",
    "gaussian_log_prob",
]

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from .noise import randn

LOG_VAR_RANGE = (-160.0, 80.0)


def gaussian_log_prob(z: Tensor, mean: Tensor | float = 0.0, log_var: Tensor | float = 0.0) -> Tensor:
    """Element-wise log density of N(mean, exp(log_var)) at z, in nats, constants included.

    The density of a sample is more accurate from its noise: see [`GaussianPosterior.rsample_and_noise`].
    """
    if isinstance(log_var, Tensor):
        # the square of a larger factor would overflow, with nan gradients
        inverse_std = torch.exp(-0.5 * log_var.clamp(min=-0.9 * log(torch.finfo(log_var.dtype).max)))
    else:
        inverse_std = 1.0
    return -0.5 * (log(2 * pi) + log_var + ((z - mean) * inverse_std).square())


def bound_log_var(log_var: Tensor) -> Tensor:
    """Log variances clamped to [-160, 80], where float32 can represent standard deviations and KL divergences.

    The gradient is that of the identity, so that values outside can return. nan and infinite values become nan.
    """
    return log_var.detach().clamp(*LOG_VAR_RANGE) + (log_var - log_var.detach())


def expand(t: Tensor, num_axes: int) -> Tensor:
    """(batch, *rest) to (batch, 1, ..., 1, *rest), with `num_axes` new axes."""
    return t.view(t.shape[0], *[1] * num_axes, *t.shape[1:])


class Posterior:
    """Base of q(z|x) for a batch.

    Args:
        mean: (batch, latent_dim), in the space of the decoder's input.
    """

    mean: Tensor

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised samples."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """(batch, *shape) log density, in nats, at z (batch, *shape, latent_dim)."""
        raise NotImplementedError

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Samples and their log density. Some posteriors know their density at their own samples only."""
        z = self.rsample(*shape, generator=generator)
        return z, self.log_prob(z)

    def diagnostics(self) -> dict[str, Tensor]:
        """Scalars for the log that show collapse and divergence.

        `active_units` counts the dimensions whose mean varies over the batch with a variance above 0.01 (Burda et al.,
        2016, arXiv:1509.00519); `latent_rms` is the root mean square of the means.
        """
        variance, mean = torch.var_mean(self.mean.detach(), 0, correction=0)
        active = (variance > 0.01).sum().to(variance.dtype)
        return {"active_units": active, "latent_rms": (variance + mean.square()).mean().sqrt()}


@dataclass
class PointMass(Posterior):
    """A deterministic encoding: all mass on `mean`, (batch, latent_dim)."""

    mean: Tensor

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim): copies of the mean."""
        batch, *dims = self.mean.shape
        return expand(self.mean, len(shape)).expand(batch, *shape, *dims)


@dataclass
class GaussianPosterior(Posterior):
    """q(z|x) = N(mean, diag(exp(log_var))), for models whose prior is not N(0, I).

    Args:
        mean, log_var: (batch, latent_dim) each. Log variances are clamped to [-160, 80], see [`bound_log_var`].
    """

    mean: Tensor
    log_var: Tensor

    def __post_init__(self):
        self.log_var = bound_log_var(self.log_var)

    def rsample_and_noise(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Reparametrised samples mean + std noise, and the standard normal noise, (batch, *shape, latent_dim) each."""
        mean, std = expand(self.mean, len(shape)), expand((0.5 * self.log_var).exp(), len(shape))
        noise = randn((mean.shape[0], *shape, mean.shape[-1]), mean, generator)
        return mean + std * noise, noise

    def log_prob_of_noise(self, noise: Tensor) -> Tensor:
        """(batch, *shape, latent_dim): log density of the samples with this noise, per dimension, in nats.

        Samples of a small variance have lost the digits of their noise, if the mean is not small.
        """
        return gaussian_log_prob(noise) - 0.5 * expand(self.log_var, noise.dim() - 2)

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised samples."""
        return self.rsample_and_noise(*shape, generator=generator)[0]

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        z, noise = self.rsample_and_noise(*shape, generator=generator)
        return z, self.log_prob_of_noise(noise).sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """(batch, *shape) log density, in nats, at z (batch, *shape, latent_dim)."""
        mean, log_var = (expand(t, z.dim() - 2) for t in (self.mean, self.log_var))
        return gaussian_log_prob(z, mean, log_var).sum(-1)


class DiagonalGaussian(GaussianPosterior):
    """A Gaussian posterior with its divergence from the prior N(0, I)."""

    def kl_per_dimension(self) -> Tensor:
        """(batch, latent_dim): KL(q(z_j|x) || N(0, 1)), in nats."""
        return 0.5 * (self.mean.square() + self.log_var.expm1() - self.log_var)

    def kl(self) -> Tensor:
        """(batch,): KL(q(z|x) || N(0, I)), in nats."""
        return self.kl_per_dimension().sum(-1)

    def diagnostics(self) -> dict[str, Tensor]:
        """As for every posterior, and `kl_per_dimension`, (latent_dim,), the batch's mean."""
        with torch.no_grad():
            return {**super().diagnostics(), "kl_per_dimension": self.kl_per_dimension().mean(0)}
