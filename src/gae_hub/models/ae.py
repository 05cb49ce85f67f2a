r"""AE: Reducing the Dimensionality of Data with Neural Networks (Hinton & Salakhutdinov, 2006),
doi:10.1126/science.1127647.

.. math::
    \mathcal{L}(x) = -\log p(x|z), \quad z = f(x)

Changes: objective.
Use it when: you want the smallest reconstruction error, or a deterministic code to fit a sampler on.

Relations:
    The VAE adds a noisy encoder and the KL to a prior. RAE-L2 and RAE-GP add a penalty on the latents and on the
    decoder.
    It has no prior: to generate, fit a sampler on its embeddings.
"""

__all__ = ["AEConfig", "AEModel"]

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import DeterministicModel, GAEConfig, GAEOutput, register_model


@strict
class AEConfig(GAEConfig):
    """No field beside the common ones."""

    model_type = "gae_ae"


class AEModel(DeterministicModel):
    config_class = AEConfig

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch. `generator` is not used: nothing is drawn."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )


register_model(AEConfig, AEModel)
