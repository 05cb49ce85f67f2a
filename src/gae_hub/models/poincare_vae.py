r"""Poincaré VAE: Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders (Mathieu, Le Lan,
Maddison, Tomioka & Teh, 2019), arXiv:1901.06033.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \left[ \log p(x|z) + \log p(z) - \log q(z|x) \right], \quad
    q = \begin{cases} (\exp_\mu \circ PT_{0 \to \mu})_\# N(0, \sigma^2) & \text{wrapped} \\
    \propto \exp(-d(\mu, z)^2 / 2 \sigma^2) & \text{Riemannian} \end{cases}

Latents lie in the hyperbolic space of curvature -c, where trees can be embedded. Densities are with respect to its
volume.

Latents are normal coordinates at the origin: the vector of length d(0, z) in the direction of z, :math:`\log_0 z`. The
encoder returns them, with :math:`\mu = \exp_0` of its output, and the decoder receives them: a network that is applied
to :math:`\log_0 z` is one of the paper's decoders. The paper's other decoder, whose first layer is made of gyroplanes,
can be passed as `decoder`. `to_ball` maps latents to points of the Poincaré ball, for example to plot them.

Changes: geometry.
Use it when: the data are hierarchical: latents in hyperbolic space.

Relations:
    As the curvature goes to 0, it becomes the VAE with a Monte Carlo estimate of its KL. The SVAE has the opposite
    curvature.
    Pythae uses the encoder's output as points of the ball although they may lie outside, and its Riemannian normal
    fails in 40 dimensions. Pythae and the paper draw the radius by rejection; here it is drawn by its inverse CDF.
"""

__all__ = ["PoincareVAEConfig", "PoincareVAEModel"]

from math import log, prod
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.hyperbolic_posteriors import HYPERBOLIC_POSTERIORS, HyperbolicPosterior
from gae_hub.modules.hyperbolic_space import from_ball, hyperbolic_geodesic, to_ball
from gae_hub.modules.precision import at_least_float32, to_float64

from .base import register_model
from .vae import MonteCarloVAEModel, VAEConfig

Normal = Literal["wrapped_normal", "riemannian_normal"]


@strict
class PoincareVAEConfig(VAEConfig):
    """
    Args:
        posterior: "wrapped_normal", a Gaussian in the tangent space, with one scale per direction; or
            "riemannian_normal", the density of maximum entropy for its mean squared distance, with one scale.
        prior: "wrapped_normal" or "riemannian_normal", both with one scale.
        coordinates: of the encoder's output and the decoder's input: "normal" coordinates, or "ball", points of the
            Poincaré ball, as in checkpoints of Pythae. Means outside the ball are moved to its edge.
        curvature: c; the curvature of the space is -c.
        prior_scale: sigma of the prior, which is centred at the origin.
    """

    model_type = "gae_poincare_vae"

    posterior: Normal = "wrapped_normal"
    prior: Normal = "wrapped_normal"
    coordinates: Literal["normal", "ball"] = "normal"
    curvature: float | int = 1.0
    prior_scale: float | int = 1.0

    def validate_space(self):
        self.require_positive("curvature", "prior_scale")


class PoincareVAEModel(MonteCarloVAEModel):
    config: PoincareVAEConfig

    config_class = PoincareVAEConfig
    supports_maps = False

    def setup(self, config: PoincareVAEConfig):
        sizes = [config.latent_dim, config.latent_dim if config.posterior == "wrapped_normal" else 1]
        self.head = nn.Linear(prod(self.feature_shape), sum(sizes))

    def encode(self, pixel_values: Tensor) -> HyperbolicPosterior:
        mean, log_var = at_least_float32(self.head(self.encode_features(pixel_values))).tensor_split(
            [self.config.latent_dim], dim=-1
        )
        if self.config.coordinates == "ball":
            norm = self.config.curvature**0.5 * torch.linalg.vector_norm(mean, dim=-1, keepdim=True)
            mean = from_ball(mean * ((1 - 1e-5) / norm.clamp(min=1 - 1e-5)), self.config.curvature)
        return HYPERBOLIC_POSTERIORS[self.config.posterior](mean, log_var, self.config.curvature)

    def to_decoder_coordinates(self, latents: Tensor) -> Tensor:
        return latents if self.config.coordinates == "normal" else self.to_ball(latents)

    def build_prior(self, like: Tensor) -> HyperbolicPosterior:
        """The prior as a batch of one, on the device and in the dtype of `like`."""
        mean = torch.zeros(1, self.config.latent_dim, device=like.device, dtype=like.dtype)
        log_var = torch.full_like(mean[:, :1], 2 * log(self.config.prior_scale))
        return HYPERBOLIC_POSTERIORS[self.config.prior](mean, log_var, self.config.curvature)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        return self.build_prior(latents).centred_log_prob(to_float64(latents)).to(latents.dtype)

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim): samples of the prior, in normal coordinates."""
        like = at_least_float32(torch.empty(0, device=self.device, dtype=self.dtype))
        return self.build_prior(like).rsample(num_samples, generator=generator)[0]

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, latent_dim): points at t, (steps,), on the geodesic from start to end."""
        start, end = (to_float64(point).unsqueeze(1) for point in (start, end))
        return hyperbolic_geodesic(start, end, to_float64(t).view(1, -1, 1), self.config.curvature).to(t.dtype)

    def to_ball(self, latents: Tensor) -> Tensor:
        """(..., latent_dim): latents as points of the Poincaré ball, whose radius is 1 / sqrt(curvature)."""
        return to_ball(latents, self.config.curvature)


register_model(PoincareVAEConfig, PoincareVAEModel)
