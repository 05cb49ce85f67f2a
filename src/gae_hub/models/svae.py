r"""SVAE: Hyperspherical Variational Auto-Encoders (Davidson, Falorsi, De Cao, Kipf & Tomczak, 2018), arXiv:1804.00891.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + KL(q(z|x) \| p(z)), \quad
    q(z|x) = vMF(\mu, \kappa), \quad p(z) = U(S^{m-1})

The von Mises-Fisher density is proportional to :math:`\exp(\kappa \mu^\top z)` on the unit sphere. Its KL to the
uniform prior has a closed form, which depends on :math:`\kappa` only.

Changes: geometry.
Use it when: directions matter more than magnitudes: latents on a sphere, with a uniform prior.

Relations:
    The VAE on a sphere, where no point is a centre to which the prior pulls all means, as a Gaussian prior does.
    The paper draws samples by rejection, whose gradients need a correction term; here the angle between a sample and
    its mean is drawn by its inverse CDF, which has complete gradients.
    Pythae omits the correction term, uses different kappas in the loss and in the likelihood, embeds points that are
    not on the sphere, and returns nan in 128 dimensions; here loss and likelihood share one kappa, all latents lie on
    the sphere, and 256 dimensions are tested.
"""

__all__ = ["SVAEConfig", "SVAEModel"]

from math import prod

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.precision import at_least_float32, to_float64
from gae_hub.modules.sphere import great_circle, log_sphere_area, normalize
from gae_hub.modules.von_mises_fisher import VonMisesFisher

from .base import register_model
from .vae import VAEConfig, VAEModel


@strict
class SVAEConfig(VAEConfig):
    """
    Args:
        latent_dim: m, the dimension of the space that contains the sphere, at least 2.
    """

    model_type = "gae_svae"

    def validate_sphere(self):
        if self.latent_dim < 2:
            raise ValueError(f"latent_dim must be 2 or more, since latents lie on a sphere, got {self.latent_dim}")


class SVAEModel(VAEModel):
    config: SVAEConfig

    config_class = SVAEConfig
    supports_maps = False

    def setup(self, config: SVAEConfig):
        self.head = nn.Linear(prod(self.feature_shape), config.latent_dim + 1)

    def encode(self, pixel_values: Tensor) -> VonMisesFisher:
        direction, concentration = at_least_float32(self.head(self.encode_features(pixel_values))).tensor_split(
            [self.config.latent_dim], dim=-1
        )
        return VonMisesFisher(normalize(to_float64(direction)).to(direction.dtype), F.softplus(concentration) + 1)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws): log density of the uniform prior with respect to the surface, a constant."""
        return torch.full_like(latents[..., 0], -log_sphere_area(self.config.latent_dim))

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim): uniformly distributed unit vectors."""
        return normalize(at_least_float32(super().sample_prior(num_samples, generator)))

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, latent_dim): points at t, (steps,), on the great circle from start to end."""
        start, end = (normalize(to_float64(point)).unsqueeze(1) for point in (start, end))
        return great_circle(start, end, to_float64(t).view(1, -1, 1)).to(t.dtype)

    def traverse_latents(self, latents: Tensor, dimensions: Tensor, values: Tensor) -> Tensor:
        """As in the base class, on the sphere: other coordinates are scaled, and values end at the poles, -1 and 1."""
        values = values.clamp(-1, 1)
        moved = super().traverse_latents(latents, dimensions, values)
        is_moved = F.one_hot(dimensions, self.config.latent_dim).bool()[None, :, None]
        at_pole = ~((moved != 0) & ~is_moved).any(-1, keepdim=True)  # all directions away from it are alike
        others = normalize((moved + at_pole).masked_fill(is_moved, 0))
        return torch.where(is_moved, moved, others * (1 - values.to(moved).square()).sqrt()[None, ..., None])


register_model(SVAEConfig, SVAEModel)
