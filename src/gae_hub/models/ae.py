r"""AE: Reducing the Dimensionality of Data with Neural Networks (Hinton & Salakhutdinov, 2006),
doi:10.1126/science.1127647.

.. math::
    \mathcal{L}(x) = -\log p(x|z), \quad z = f(x)

Changes: objective.
Use it when: you want the smallest reconstruction error, or a deterministic code to fit a sampler on.

Relations:
    The VAE adds noise in the encoder and the KL to a prior. RAE-L2 and RAE-GP add penalties on the latents and the
    decoder. The AE has no prior: to generate images, fit a sampler to its embeddings.
    Pythae's loss is the squared error of this family, and half of it in the family of the VAE; here both are
    negative log-likelihoods, with `observation_std`.
"""

__all__ = ["AEConfig", "AEModel"]

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import DeterministicModel, GAEConfig, GAEOutput, register_model


@strict
class AEConfig(GAEConfig):
    """Has no other fields than `GAEConfig`."""

    model_type = "gae_ae"


class AEModel(DeterministicModel):
    config: AEConfig

    config_class = AEConfig

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch. `generator` is not used, because nothing is random."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )


register_model(AEConfig, AEModel)
