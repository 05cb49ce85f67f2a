"""The von Mises-Fisher distribution on the unit sphere, as a posterior (Davidson et al., 2018, arXiv:1804.00891)."""

__all__ = ["VonMisesFisher"]

from dataclasses import dataclass

import torch
from torch import Tensor

from .inverse_cdf import sample_by_cdf
from .noise import rand, randn
from .posteriors import PointMass, Posterior, expand
from .precision import to_float64
from .sphere import log_sphere_area, normalize, vmf_moments


@dataclass
class VonMisesFisher(Posterior):
    """q(z|x) proportional to exp(concentration mean.z) on the unit sphere, with densities with respect to its surface.

    The angle between a sample and the mean is drawn by its inverse CDF, which has complete gradients. The gradients of
    a rejection sampler would need a correction term.

    Args:
        mean: (batch, latent_dim) unit vectors, the mode.
        concentration: (batch, 1), kappa.
    """

    mean: Tensor
    concentration: Tensor

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised samples."""
        return self._draw(shape, generator)[0].to(self.mean.dtype)

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        z, versine = self._draw(shape, generator)
        return z.to(self.mean.dtype), self._log_prob(versine)

    def log_prob(self, z: Tensor) -> Tensor:
        mean = expand(normalize(to_float64(self.mean)), z.dim() - 2)
        return self._log_prob((normalize(to_float64(z)) - mean).square().sum(-1) / 2)

    def kl(self) -> Tensor:
        """(batch,): KL(q(z|x) || uniform), in nats. It depends on the concentration only."""
        concentration = to_float64(self.concentration)
        mean_log, _, mean_versine = vmf_moments(self.mean.shape[-1], concentration)
        return (-concentration * mean_versine - mean_log).squeeze(-1).to(self.mean.dtype)

    def diagnostics(self) -> dict[str, Tensor]:
        """As for every posterior, with means scaled so that coordinates have variance 1 under the prior, and
        `concentration`, its mean."""
        scaled = PointMass(self.mean * self.mean.shape[-1] ** 0.5)
        return {**scaled.diagnostics(), "concentration": self.concentration.detach().mean()}

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Samples (batch, *shape, latent_dim), and 1 - cosine of their angle to the mean, (batch, *shape)."""
        mean, concentration = normalize(to_float64(self.mean)), to_float64(self.concentration)
        batch, dim = mean.shape

        def log_density(angle: Tensor) -> Tensor:
            density = -2 * concentration * (angle / 2).sin().square()
            return density + (dim - 2) * angle.sin().clamp(min=torch.finfo(angle.dtype).tiny).log()

        # below its mode, the density of the angle falls faster than a Gaussian's, and above it slower
        with torch.no_grad():
            k = concentration
            cosine = 2 * k / (dim - 2 + ((dim - 2) ** 2 + 4 * k.square()).sqrt())
            mode, std = torch.atan2(((dim - 2) * cosine / k).sqrt(), cosine), (k * (cosine + 1 / cosine)).rsqrt()
            low, high = (mode - 10 * std).clamp(min=0), (mode + 20 * std).clamp(max=torch.pi)
        angle = sample_by_cdf(log_density, low, high, rand((batch, *shape), mean, generator)).unsqueeze(-1)
        mean = expand(mean, len(shape))
        noise = randn((batch, *shape, dim), mean, generator)
        tangent = normalize(noise - (noise * mean).sum(-1, keepdim=True) * mean)
        return angle.cos() * mean + angle.sin() * tangent, 2 * (angle / 2).sin().square().squeeze(-1)

    def _log_prob(self, versine: Tensor) -> Tensor:
        """(batch, *shape): log density at points with 1 - cosine of their angle to the mean in `versine`."""
        concentration, dim = to_float64(self.concentration), self.mean.shape[-1]
        mean_log = vmf_moments(dim, concentration)[0]
        concentration, mean_log = (t.view(-1, *[1] * (versine.dim() - 1)) for t in (concentration, mean_log))
        return (-concentration * versine - mean_log - log_sphere_area(dim)).to(self.mean.dtype)
