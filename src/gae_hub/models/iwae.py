r"""IWAE: Importance Weighted Autoencoders (Burda, Grosse & Salakhutdinov, 2016), arXiv:1509.00519.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{z_1 \dots z_K \sim q(z|x)} \log \frac{1}{K} \sum_k w_k, \quad
    w_k = \frac{p(x|z_k)\, p(z_k)}{q(z_k|x)}

Changes: bound.
Use it when: you need a tight bound of log p(x) and can decode several samples per image.

Relations:
    K = 1 is the VAE with a Monte Carlo estimate of its KL. The bound increases with K towards log p(x).
    MIWAE averages several such bounds, CIWAE mixes one with the ELBO, PIWAE trains encoder and decoder on different
    ones.
    Pythae reports the self-normalised average of the losses instead of the bound, with the gradients of the bound;
    here the loss is the bound itself.
"""

__all__ = ["IWAEConfig", "IWAEModel"]

from math import log

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import GAEOutput, register_model
from .vae import VAEConfig, VAEModel


@strict
class IWAEConfig(VAEConfig):
    """
    Args:
        num_samples: K, the number of samples per image under one logarithm.
    """

    model_type = "gae_iwae"

    num_samples: int = 10

    def validate_samples(self):
        self.require_positive("num_samples")


class IWAEModel(VAEModel):
    """Base of the importance weighted methods. A subclass overrides `draw_shape` or `compute_bound`."""

    config: IWAEConfig

    config_class = IWAEConfig
    kl_terms = ()  # the warm-up is part of the log weights

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch. The latents are the first sample of each image."""
        posterior = self.encode(pixel_values)
        latents, log_q = posterior.rsample_and_log_prob(*self.draw_shape, generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        divergence = log_q - self.prior_log_prob(latents)
        return self.build_output(
            {"bound": -self.compute_bound(log_p - self.compute_kl_warmup() * divergence)},
            posterior,
            metrics={"reconstruction": -log_p.mean(), "kl": divergence.mean()},
            return_loss=return_loss,
            reconstruction=reconstruction.flatten(1, len(self.draw_shape))[:, 0],
            latents=latents.flatten(1, len(self.draw_shape))[:, 0],
        )

    @property
    def draw_shape(self) -> tuple[int, ...]:
        """Shape of the samples of one image. The last axis holds the samples under one logarithm."""
        return (self.config.num_samples,)

    def compute_bound(self, log_weights: Tensor) -> Tensor:
        """(batch,): the bound in nats, for log weights (batch, *draw_shape)."""
        per_estimate = log_weights.logsumexp(-1) - log(log_weights.shape[-1])
        return per_estimate.view(log_weights.shape[0], -1).mean(1)


register_model(IWAEConfig, IWAEModel)
