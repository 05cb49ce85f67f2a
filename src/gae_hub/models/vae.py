r"""VAE: Auto-Encoding Variational Bayes (Kingma & Welling, 2013), arXiv:1312.6114.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + KL(q(z|x) \| p(z)), \quad p(z) = N(0, I)

The first term is estimated from one sample of z per example; the second has a closed form.

Changes: objective.
Use it when: you need a likelihood and a prior to sample from, with few settings.

Relations:
    Without the noise and the KL it is the AE. Most other methods change one term of this loss, the posterior or the
    prior.
"""

__all__ = ["MonteCarloVAEModel", "VAEConfig", "VAEModel"]

from math import log, prod
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.network_blocks import MapHead
from gae_hub.modules.posteriors import DiagonalGaussian, gaussian_log_prob
from gae_hub.modules.precision import at_least_float32
from gae_hub.modules.spatial_layers import has_spatial_axes

from .base import GAEConfig, GAEOutput, GAEPreTrainedModel, register_model


@strict
class VAEConfig(GAEConfig):
    """
    Args:
        kl_warmup_fraction: share of the training steps over which the weight of the KL increases from 0 to its full
            value (Bowman et al., 2016, arXiv:1511.06349); 0 for no warm-up. Evaluation always uses the full weight.
        latent_layout: "flat", mean and log variance are a linear layer of all features; or "spatial", a convolution of
            size 1 of the encoder's feature map, (channels, *sizes). The latent vector is then a flattened map of the
            same sizes, and latent_dim a multiple of their product.
    """

    model_type = "gae_vae"

    kl_warmup_fraction: float | int = 0.0
    latent_layout: Literal["flat", "spatial"] = "flat"

    def validate_warmup(self):
        if not 0 <= self.kl_warmup_fraction <= 1:
            raise ValueError(f"kl_warmup_fraction must lie in [0, 1], got {self.kl_warmup_fraction}")


class VAEModel(GAEPreTrainedModel):
    """The VAE, and the base of its variants, which override `regularizers`, `loss_weights`, posterior or prior."""

    config: VAEConfig
    head: nn.Linear | MapHead

    config_class = VAEConfig
    supports_maps = True  # False if the head has outputs that do not belong to one dimension of the latents
    kl_terms: tuple[str, ...] = ("kl",)  # the terms whose weights the warm-up scales

    def setup(self, config: VAEConfig):
        if self.has_maps:
            self.head = MapHead(self.feature_shape, 2 * config.latent_dim)
        else:
            self.head = nn.Linear(prod(self.feature_shape), 2 * config.latent_dim)

    @property
    def has_maps(self) -> bool:
        """Whether a latent vector is a flattened map. Never for a config without the field, such as AAEConfig."""
        return getattr(self.config, "latent_layout", "flat") == "spatial"

    def latent_shape_for(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.has_maps:
            sizes = feature_shape[1:]
            if not self.supports_maps:
                raise ValueError(f"{type(self).__name__} has no latent_layout 'spatial'; choose 'flat'")
            if not has_spatial_axes(feature_shape) or self.config.latent_dim % prod(sizes):
                raise ValueError(
                    "latent_layout 'spatial' needs an encoder with features (channels, *sizes), and a latent_dim that "
                    f"is a multiple of the sizes' product, got features of shape {tuple(feature_shape)} and "
                    f"latent_dim {self.config.latent_dim}"
                )
        return super().latent_shape_for(feature_shape)

    @property
    def latent_map_shape(self) -> tuple[int, ...]:
        """(channels, *sizes): shape of the map that a latent vector is, of one pixel unless the layout is spatial."""
        sizes = self.feature_shape[1:] if self.has_maps else (1, 1)
        return (self.config.latent_dim // prod(sizes), *sizes)

    def encode(self, pixel_values: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(*at_least_float32(self.head(self.encode_features(pixel_values))).chunk(2, dim=-1))

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch, with one sample per example."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior, sample=True, generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p}
        if return_loss:
            terms |= self.regularizers(latents, posterior, generator)
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def regularizers(
        self, latents: Tensor, posterior: DiagonalGaussian, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Name to term of the loss, in addition to the reconstruction: (batch,) or scalars, in nats."""
        return {"kl": posterior.kl()}

    def compute_kl_warmup(self) -> Tensor | float:
        """Factor of the KL's weight: increases from 0 to 1 during the warm-up; 1 in evaluation."""
        return self.compute_warmup(self.config.kl_warmup_fraction)

    def current_loss_weights(self) -> dict[str, float | Tensor]:
        weights = self.loss_weights()
        return weights | {name: weights.get(name, 1.0) * self.compute_kl_warmup() for name in self.kl_terms}

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws): log density of the prior at latents (batch, *draws, latent_dim), in nats."""
        return gaussian_log_prob(latents).sum(-1)

    def estimate_log_likelihood(
        self, pixel_values: Tensor, num_samples: int, generator: torch.Generator | None, batch_size: int
    ) -> Tensor:
        posterior = self.encode(pixel_values)
        chunk, log_weights = max(1, batch_size // len(pixel_values)), []
        for first in range(0, num_samples, chunk):
            z, log_q = posterior.rsample_and_log_prob(min(chunk, num_samples - first), generator=generator)
            log_p, _ = self.log_prob(pixel_values, z)
            log_weights.append(log_p + self.prior_log_prob(z) - log_q)
        return torch.cat(log_weights, 1).logsumexp(1) - log(num_samples) + self.likelihood.constant()


class MonteCarloVAEModel(VAEModel):
    """Base of the methods whose KL is estimated as log q(z|x) - log p(z) at the sample that is decoded."""

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch, with one sample per example."""
        posterior = self.encode(pixel_values)
        latents, log_q = posterior.rsample_and_log_prob(generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p, "kl": log_q - self.prior_log_prob(latents)}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )


register_model(VAEConfig, VAEModel)
