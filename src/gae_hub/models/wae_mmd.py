r"""WAE-MMD: Wasserstein Auto-Encoders (Tolstikhin, Bousquet, Gelly & Schölkopf, 2018), arXiv:1711.01558.

.. math::
    \mathcal{L}(x) = -\log p(x|z) + \lambda\, MMD^2(q(z), p(z)), \quad z = f(x), \quad p(z) = N(0, I)

Changes: objective.
Use it when: you want a deterministic encoder whose codes follow the prior, without a discriminator.

Relations:
    A weight of 0 is the AE. InfoVAE has the same penalty with a noisy encoder and a KL beside it; WAE-GAN and AAE use
    a discriminator in place of the MMD.
"""

__all__ = ["WAEMMDConfig", "WAEMMDModel"]

from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.modules.losses import mmd
from gae_hub.modules.noise import randn

from .base import DeterministicModel, GAEConfig, GAEOutput, GAEPreTrainedModel, register_model


@strict
class WAEMMDConfig(GAEConfig):
    """
    Args:
        mmd_weight: lambda.
        kernel: "imq" (inverse multi-quadratic, seven scales) or "rbf".
        bandwidth: standard deviation of the prior that the kernel is made for.
    """

    model_type = "gae_wae_mmd"

    mmd_weight: float | int = 10.0
    kernel: Literal["imq", "rbf"] = "imq"
    bandwidth: float | int = 1.0

    def validate_weights(self):
        if not self.mmd_weight >= 0:
            raise ValueError(f"mmd_weight must be 0 or more, got {self.mmd_weight}")
        self.require_positive("bandwidth")


class WAEMMDModel(DeterministicModel):
    config_class = WAEMMDConfig
    min_batch_size = 2

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch of at least 2; `generator` draws the latents to compare with."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        prior = randn(latents.shape, latents, generator)
        terms = {"reconstruction": -log_p, "mmd": mmd(latents, prior, self.config.kernel, self.config.bandwidth)}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def loss_weights(self) -> dict[str, float]:
        return {"mmd": self.config.mmd_weight}

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim) draws from N(0, I), to which the embeddings are drawn."""
        return GAEPreTrainedModel.sample_prior(self, num_samples, generator)


register_model(WAEMMDConfig, WAEMMDModel)
