"""TODO docstring."""

__all__ = ["LatentGANConfig", "LatentGANModel"]

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

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
        adversarial_weight: weight of the encoder's game against the discriminator.
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
    """A discriminator tells draws of the prior N(0, I) from encodings; the encoder learns to pass for the prior.

    Mixed in before the base that gives `encode`.
    """

    metric_for_best_model = (
        "reconstruction"  # the game's terms measure one player by the other, and cannot be compared over time
    )

    def setup(self, config: LatentGANConfig):
        super().setup(config)
        self.discriminator = Discriminator((config.latent_dim,), config.discriminator_hidden_sizes)

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch; `generator` draws from posterior and prior."""
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
        fields = {"reconstruction": reconstruction, "latents": latents}
        return self.build_output(terms, posterior, metrics, return_loss=return_loss, **fields)

    def loss_weights(self) -> dict[str, float]:
        return {"adversarial": self.config.adversarial_weight}

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim) draws from N(0, I), for which the encodings are to pass."""
        return GAEPreTrainedModel.sample_prior(self, num_samples, generator)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return partition_parameters(self, "autoencoder", discriminator=self.discriminator)
