"""Base of the methods whose latents follow the prior because of a discriminator.

The discriminator learns to distinguish samples of the prior N(0, I) from encodings, and the encoder learns to produce
encodings that it classifies as prior samples. Both are trained in the same step, each on its own loss.
"""

__all__ = ["LatentGANConfig", "LatentGANModel"]

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.conditions import build_conditional
from gae_hub.modules.discriminators import (
    Discriminator,
    discriminator_accuracy,
    discriminator_loss,
    partition_parameters,
)
from gae_hub.modules.losses import call_frozen
from gae_hub.modules.noise import randn

from .base import GAEConfig, GAEOutput, GAEPreTrainedModel


@strict
class LatentGANConfig(GAEConfig):
    """
    Args:
        adversarial_weight: weight of the encoder's adversarial loss.
        discriminator_hidden_sizes: widths of the discriminator's hidden layers.
    """

    adversarial_weight: float | int = 1.0
    discriminator_hidden_sizes: list[int] | tuple[int, ...] = (256,)

    def validate_discriminator(self):
        if not self.adversarial_weight >= 0:
            raise ValueError(f"adversarial_weight must be 0 or more, got {self.adversarial_weight}")
        self.require_positive("discriminator_hidden_sizes")
        if not self.discriminator_hidden_sizes:
            raise ValueError("discriminator_hidden_sizes must name at least one layer, got none")


class LatentGANModel(GAEPreTrainedModel):
    """Mix-in of the adversarial methods. In a class statement, it precedes the base class that defines `encode`."""

    config: LatentGANConfig
    discriminator: nn.Module

    config_class = LatentGANConfig
    # the adversarial terms depend on the current opponent, and cannot be compared over time
    metric_for_best_model = "reconstruction"

    def setup(self, config: LatentGANConfig):
        super().setup(config)
        self.discriminator = build_conditional(
            config, (config.latent_dim,), lambda shape: Discriminator(shape, config.discriminator_hidden_sizes)
        )

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch. `generator` draws samples of posterior and prior."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior, sample=True, generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)

        prior = self.discriminator(randn(latents.shape, latents, generator))
        encoded = self.discriminator(latents.detach())
        terms = {
            "reconstruction": -log_p,
            "adversarial": F.softplus(-call_frozen(self.discriminator, latents)),
            "discriminator": discriminator_loss(prior, encoded),
        }
        metrics = {"discriminator_accuracy": discriminator_accuracy(prior, encoded)}
        return self.build_output(
            terms, posterior, metrics, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def loss_weights(self) -> dict[str, float]:
        return {"adversarial": self.config.adversarial_weight}

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim): samples of N(0, I), the distribution that the encodings are trained to have."""
        return GAEPreTrainedModel.sample_prior(self, num_samples, generator)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return partition_parameters(self, "autoencoder", discriminator=self.discriminator)
