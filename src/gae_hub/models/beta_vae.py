r"""beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins, Matthey, Pal, Burgess,
Glorot, Botvinick, Mohamed & Lerchner, 2017), openreview:Sy2fzU9gl.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + \beta\, KL(q(z|x) \| p(z))

Changes: objective.
Use it when: you want to trade sharp reconstructions (beta < 1) against independent latents (beta > 1).

Relations:
    beta = 1 is the VAE, beta = 0 an autoencoder with a noisy encoder. Disentangled beta-VAE keeps the KL near a
    growing target; beta-TC-VAE weights the parts of the KL separately.
"""

__all__ = ["BetaVAEConfig", "BetaVAEModel"]

from huggingface_hub.dataclasses import strict

from .base import register_model
from .vae import VAEConfig, VAEModel


@strict
class BetaVAEConfig(VAEConfig):
    """
    Args:
        beta: weight of the KL, 0 or more. Above 1 it favours independent latents, below 1 sharp reconstructions.
    """

    model_type = "gae_beta_vae"

    beta: float | int = 1.0

    def validate_beta(self):
        if not self.beta >= 0:
            raise ValueError(f"beta must be 0 or more, got {self.beta}")


class BetaVAEModel(VAEModel):
    config: BetaVAEConfig

    config_class = BetaVAEConfig

    def loss_weights(self) -> dict[str, float]:
        return {"kl": self.config.beta}


register_model(BetaVAEConfig, BetaVAEModel)
