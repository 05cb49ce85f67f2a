r"""SVAE: Hyperspherical Variational Auto-Encoders (Davidson, Falorsi, De Cao, Kipf & Tomczak, 2018), arXiv:1804.00891.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + KL(q(z|x) \| p(z)), \quad
    q(z|x) = vMF(\mu, \kappa), \quad p(z) = U(S^{m-1})

The von Mises-Fisher density is proportional to :math:`\exp(\kappa \mu^\top z)` on the unit sphere, and its KL to the
uniform prior is in closed form: it depends on :math:`\kappa` only.

Changes: geometry.
Use it when: directions matter more than magnitudes: latents on a sphere, with a uniform prior.

Relations:
    The VAE on a sphere, where no place is the centre that a Gaussian prior pulls all means to.
    The angle between a draw and its mean is drawn by its inverted distribution function, with no rejection: gradients
    are whole, where those of the paper's rejection sampler need a correction term, which Pythae leaves out.
    Pythae has another kappa in its likelihood than in its loss, embeds off the sphere, and is nan in 128 dimensions.
"""

__all__ = ["SVAEConfig", "SVAEModel", "VonMisesFisher"]

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.inverse_cdf import sample_by_cdf
from gae_hub.modules.noise import rand, randn
from gae_hub.modules.posteriors import PointMass, Posterior, expand
from gae_hub.modules.precision import at_least_float32, to_float64
from gae_hub.modules.sphere import great_circle, log_sphere_area, normalize, vmf_moments

from .base import register_model
from .vae import VAEConfig, VAEModel


@strict
class SVAEConfig(VAEConfig):
    """No field beside the common ones: `latent_dim` is m, that of the space around the sphere, at least 2."""

    model_type = "gae_svae"

    def validate_sphere(self):
        if self.latent_dim < 2:
            raise ValueError(f"latent_dim must be 2 or more, since latents lie on a sphere, got {self.latent_dim}")


@dataclass
class VonMisesFisher(Posterior):
    """q(z|x) on the unit sphere, with densities by its surface.

    Args:
        mean: (batch, latent_dim) unit vectors, the mode.
        concentration: (batch, 1), kappa.
    """

    mean: Tensor
    concentration: Tensor

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised draws."""
        return self._draw(shape, generator)[0].to(self.mean.dtype)

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        z, versine = self._draw(shape, generator)
        return z.to(self.mean.dtype), self._log_prob(versine)

    def log_prob(self, z: Tensor) -> Tensor:
        mean = expand(normalize(to_float64(self.mean)), z.dim() - 2)
        return self._log_prob((normalize(to_float64(z)) - mean).square().sum(-1) / 2)

    def kl(self) -> Tensor:
        """(batch,) KL(q(z|x) || uniform), in nats."""
        concentration = to_float64(self.concentration)
        mean_log, _, mean_versine = vmf_moments(self.mean.shape[-1], concentration)
        return (-concentration * mean_versine - mean_log).squeeze(-1).to(self.mean.dtype)

    def diagnostics(self) -> dict[str, Tensor]:
        """`active_units`, as of a sphere whose coordinates have variance 1 under the prior, and `concentration`."""
        scaled = PointMass(self.mean * self.mean.shape[-1] ** 0.5)
        return {**scaled.diagnostics(), "concentration": self.concentration.detach().mean()}

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draws, and 1 - cosine of their angle to the mean."""
        mean, concentration = normalize(to_float64(self.mean)), to_float64(self.concentration)
        batch, dim = mean.shape

        def log_density(angle):
            density = -2 * concentration * (angle / 2).sin().square()
            return density + (dim - 2) * angle.sin().clamp(min=torch.finfo(angle.dtype).tiny).log()

        with torch.no_grad():  # left of the mode the angle's density falls faster than a Gaussian, right of it slower
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
        concentration, dim = to_float64(self.concentration), self.mean.shape[-1]
        mean_log = vmf_moments(dim, concentration)[0]
        concentration, mean_log = (t.view(-1, *[1] * (versine.dim() - 1)) for t in (concentration, mean_log))
        return (-concentration * versine - mean_log - log_sphere_area(dim)).to(self.mean.dtype)


class SVAEModel(VAEModel):
    config_class = SVAEConfig

    def setup(self, config: SVAEConfig):
        self.head = nn.Linear(prod(self.feature_shape), config.latent_dim + 1)

    def encode(self, pixel_values: Tensor) -> VonMisesFisher:
        direction, concentration = at_least_float32(self.head(self.encode_features(pixel_values))).tensor_split(
            [self.config.latent_dim], dim=-1
        )
        return VonMisesFisher(normalize(to_float64(direction)).to(direction.dtype), F.softplus(concentration) + 1)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws) log density of the uniform prior by the surface: the same everywhere."""
        return torch.full_like(latents[..., 0], -log_sphere_area(self.config.latent_dim))

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        return normalize(at_least_float32(super().sample_prior(num_samples, generator)))

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, latent_dim): points at t, (steps,), on the great circle from start to end."""
        start, end = (normalize(to_float64(point)).unsqueeze(1) for point in (start, end))
        return great_circle(start, end, to_float64(t).view(1, -1, 1)).to(t.dtype)


register_model(SVAEConfig, SVAEModel)
