r"""Poincaré VAE: Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders (Mathieu, Le Lan,
Maddison, Tomioka & Teh, 2019), arXiv:1901.06033.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \left[ \log p(x|z) + \log p(z) - \log q(z|x) \right], \quad
    q = \begin{cases} (\exp_\mu \circ PT_{0 \to \mu})_\# N(0, \sigma^2) & \text{wrapped} \\
    \propto \exp(-d(\mu, z)^2 / 2 \sigma^2) & \text{Riemannian} \end{cases}

Latents lie in the hyperbolic space of curvature -c, where trees have room. Densities are by its volume.

Latents are normal coordinates at the origin: the vector of length d(0, z) towards z, :math:`\log_0 z`. This is what
the encoder gives for :math:`\mu = \exp_0`, and what the decoder reads: a network after :math:`\log_0` is one of the
paper's decoders; the other, whose first layer is of gyroplanes, can be passed as `decoder`. `to_ball` turns latents
into points of the Poincaré ball, for a picture.

Changes: geometry.
Use it when: the data are hierarchical: latents in hyperbolic space.

Relations:
    As the curvature goes to 0, the VAE, with a Monte Carlo estimate of its KL. The SVAE has the opposite curvature.
    Pythae takes the encoder's output for points of the ball, which it may lie outside of, and its Riemannian normal
    fails in 40 dimensions; there and in the paper, rejection draws the radius: here its distribution function does.
"""

__all__ = ["PoincareVAEConfig", "PoincareVAEModel", "RiemannianNormal", "WrappedNormal"]

from dataclasses import dataclass
from math import log, prod
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.hyperbolic_space import (
    from_ball,
    hyperbolic_geodesic,
    hyperbolic_translate,
    log_sinhc,
    to_ball,
)
from gae_hub.modules.inverse_cdf import find_support, log_integral, sample_by_cdf
from gae_hub.modules.noise import rand, randn
from gae_hub.modules.posteriors import Posterior, expand, gaussian_log_prob
from gae_hub.modules.precision import at_least_float32, to_float64
from gae_hub.modules.sphere import log_sphere_area, normalize

from .base import register_model
from .vae import MonteCarloVAEModel, VAEConfig

Normal = Literal["wrapped_normal", "riemannian_normal"]


@strict
class PoincareVAEConfig(VAEConfig):
    """
    Args:
        posterior, prior: "wrapped_normal", a Gaussian of each direction at the mean, carried along geodesics, or
            "riemannian_normal", the density of most entropy for its mean square distance, with one scale.
        coordinates: what the encoder gives and the decoder reads: "normal" coordinates, or points of the "ball", as in
            checkpoints of Pythae, where a mean outside is moved to the edge.
        curvature: c, so that the curvature is -c.
        prior_scale: standard deviation sigma of the prior, which is centred at the origin.
    """

    model_type = "gae_poincare_vae"

    posterior: Normal = "wrapped_normal"
    prior: Normal = "wrapped_normal"
    coordinates: Literal["normal", "ball"] = "normal"
    curvature: float | int = 1.0
    prior_scale: float | int = 1.0

    def validate_space(self):
        self.require_positive("curvature", "prior_scale")


@dataclass
class HyperbolicPosterior(Posterior):
    """Draws are tangent vectors at the origin, carried to the mean by an isometry.

    Args:
        mean: (batch, latent_dim), in normal coordinates.
        log_var: log of sigma^2: (batch, latent_dim), or (batch, 1) for one scale.
        curvature: c.
    """

    mean: Tensor
    log_var: Tensor
    curvature: float

    def tangents(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """(batch, *shape, latent_dim) draws around the origin."""
        raise NotImplementedError

    def centred_log_prob(self, tangent: Tensor) -> Tensor:
        """(batch, *draws) log density at these normal coordinates, as if the mean were the origin."""
        raise NotImplementedError

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *shape, latent_dim) reparametrised draws, in normal coordinates."""
        return self.carry(self.tangents(shape, generator))

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        tangents = self.tangents(shape, generator)  # to find them again from z would cost digits
        return self.carry(tangents), self.centred_log_prob(tangents).to(self.mean.dtype)

    def carry(self, tangent: Tensor) -> Tensor:
        mean = expand(to_float64(self.mean), tangent.dim() - 2)
        return hyperbolic_translate(mean, tangent, self.curvature).to(self.mean.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        mean = expand(to_float64(self.mean), z.dim() - 2)
        return self.centred_log_prob(hyperbolic_translate(-mean, to_float64(z), self.curvature)).to(self.mean.dtype)

    def diagnostics(self) -> dict[str, Tensor]:
        """`active_units`, and `radius`, the mean distance of the means from the origin."""
        radius = torch.linalg.vector_norm(self.mean.detach(), dim=-1).mean()
        return {**super().diagnostics(), "radius": radius}


class WrappedNormal(HyperbolicPosterior):
    """The push-forward of N(0, diag(exp(log_var))) in the tangent space of the origin."""

    def tangents(self, shape, generator):
        batch, dim = self.mean.shape
        std = expand((0.5 * to_float64(self.log_var)).exp(), len(shape))
        return std * to_float64(randn((batch, *shape, dim), self.mean, generator))

    def centred_log_prob(self, tangent):
        flat = gaussian_log_prob(tangent, 0.0, expand(to_float64(self.log_var), tangent.dim() - 2)).sum(-1)
        stretch = log_sinhc(self.curvature**0.5 * torch.linalg.vector_norm(tangent, dim=-1))
        return flat - (tangent.shape[-1] - 1) * stretch


class RiemannianNormal(HyperbolicPosterior):
    """The density exp(-distance^2 / (2 sigma^2)) / Z; `log_var` is (batch, 1)."""

    def tangents(self, shape, generator):
        noise = randn((len(self.mean), *shape, self.mean.shape[-1]), to_float64(self.mean), generator)
        uniform = rand((len(self.mean), *shape), noise, generator)
        return sample_by_cdf(self._log_density, *self._bounds(), uniform).unsqueeze(-1) * normalize(noise)

    def centred_log_prob(self, tangent):
        variance, dim = to_float64(self.log_var).exp(), self.mean.shape[-1]
        radial = log_integral(self._log_density, *find_support(self._log_density, *self._bounds()))
        log_z = radial + 0.5 * variance * self.curvature * (dim - 1) ** 2 + log_sphere_area(dim)
        log_z, variance = (t.view(-1, *[1] * (tangent.dim() - 2)) for t in (log_z, variance))
        return -0.5 * tangent.square().sum(-1) / variance - log_z

    def _log_density(self, radius: Tensor) -> Tensor:
        """Log of exp(-r^2 / (2 sigma^2)) (sinh(sqrt(c) r) / sqrt(c))^(d - 1) without the constant sigma^2 c (d - 1)^2
        / 2, which makes the exponentials one square: for a large sigma they would cancel."""
        variance, power, root = to_float64(self.log_var).exp(), self.mean.shape[-1] - 1, self.curvature**0.5
        room = (-(-2 * root * radius).expm1() / (2 * root)).clamp(min=torch.finfo(radius.dtype).tiny)
        return -0.5 * (radius - power * root * variance).square() / variance + power * room.log()

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """(batch, 1) each: radii that hold the mass. The mode solves r = a coth(sqrt(c) r), with a = (d - 1) sqrt(c)
        sigma^2, and coth x is between max(1, 1 / x) and 1 + 1 / x; the log density bends more than a Gaussian's."""
        with torch.no_grad():
            std, power = (0.5 * to_float64(self.log_var)).exp(), self.mean.shape[-1] - 1
            far, near = power * self.curvature**0.5 * std.square(), power**0.5 * std
            low, high = torch.maximum(far, near), 0.5 * (far + (far.square() + 4 * near.square()).sqrt())
            return (low - 10 * std).clamp(min=0), high + 10 * std


FAMILIES = {"wrapped_normal": WrappedNormal, "riemannian_normal": RiemannianNormal}


class PoincareVAEModel(MonteCarloVAEModel):
    config_class = PoincareVAEConfig

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
        return FAMILIES[self.config.posterior](mean, log_var, self.config.curvature)

    def for_decoder(self, latents: Tensor) -> Tensor:
        return latents if self.config.coordinates == "normal" else self.to_ball(latents)

    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(self.for_decoder(latents))

    def log_prob(self, pixel_values: Tensor, latents: Tensor, **kwargs) -> tuple[Tensor, Tensor]:
        return super().log_prob(pixel_values, self.for_decoder(latents), **kwargs)

    def prior(self, like: Tensor) -> HyperbolicPosterior:
        """The prior as a batch of one, on the device and in the dtype of `like`."""
        mean = torch.zeros(1, self.config.latent_dim, device=like.device, dtype=like.dtype)
        log_var = torch.full_like(mean[:, :1], 2 * log(self.config.prior_scale))
        return FAMILIES[self.config.prior](mean, log_var, self.config.curvature)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        return self.prior(latents).centred_log_prob(to_float64(latents)).to(latents.dtype)

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        like = at_least_float32(torch.empty(0, device=self.device, dtype=self.dtype))
        return self.prior(like).rsample(num_samples, generator=generator)[0]

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, latent_dim): points at t, (steps,), on the geodesic from start to end."""
        start, end = (to_float64(point).unsqueeze(1) for point in (start, end))
        return hyperbolic_geodesic(start, end, to_float64(t).view(1, -1, 1), self.config.curvature).to(t.dtype)

    def to_ball(self, latents: Tensor) -> Tensor:
        """(..., latent_dim): the points of the Poincaré ball of radius 1 / sqrt(curvature) that latents stand for."""
        return to_ball(latents, self.config.curvature)


register_model(PoincareVAEConfig, PoincareVAEModel)
