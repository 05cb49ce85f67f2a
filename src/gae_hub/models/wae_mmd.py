r"""WAE-MMD: Wasserstein Auto-Encoders (Tolstikhin, Bousquet, Gelly & Schölkopf, 2018), arXiv:1711.01558.

.. math::
    \mathcal{L}(x) = -\log p(x|z) + \lambda\, MMD^2(q(z), p(z)), \quad z = f(x), \quad p(z) = N(0, I)

Changes: objective.
Use it when: you want a deterministic encoder whose codes follow the prior, without a discriminator.

Relations:
    lambda = 0 is the AE. InfoVAE adds the same penalty to a VAE, which has a noisy encoder and a KL; WAE-GAN and AAE
    use a discriminator instead of the MMD.
    Pythae's default weight of the MMD, 0.03 beside a sum over pixels, is too small to have an effect.
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
        kernel: "imq" (inverse multiquadratic with seven scales) or "rbf" (Gaussian).
        bandwidth: scale of the kernel, as the standard deviation of the prior that it fits.
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
    config: WAEMMDConfig

    config_class = WAEMMDConfig
    min_batch_size = 2

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch of at least 2. `generator` draws the samples of the prior."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p}
        if return_loss:
            prior = randn(latents.shape, latents, generator)
            terms["mmd"] = mmd(latents, prior, self.config.kernel, self.config.bandwidth)
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def loss_weights(self) -> dict[str, float]:
        return {"mmd": self.config.mmd_weight}

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim): samples of N(0, I), the distribution that the embeddings are trained to have."""
        return GAEPreTrainedModel.sample_prior(self, num_samples, generator)


register_model(WAEMMDConfig, WAEMMDModel)
