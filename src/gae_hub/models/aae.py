r"""AAE: Adversarial Autoencoders (Makhzani, Shlens, Jaitly, Goodfellow & Frey, 2015), arXiv:1511.05644.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} [\log p(x|z) + \lambda \log D(z)]; \qquad
    \mathcal{L}_D = -\mathbb{E}_{z \sim N(0, I)} \log D(z) - \mathbb{E}_{q(z|x)} \log (1 - D(z))

Autoencoder and discriminator are trained at once, each on its own loss.

Changes: adversarial.
Use it when: you want codes that follow a prior, and a discriminator finds differences that an MMD misses.

Relations:
    The VAE with its KL replaced by a discriminator. The deterministic encoder is WAE-GAN.
    A weight of 0 gives encoder and decoder the gradients of the reconstruction alone.
"""

__all__ = ["AAEConfig", "AAEModel"]

from math import prod
from typing import Literal

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.posteriors import Posterior

from .base import DeterministicModel, GAEPreTrainedModel, register_model
from .latent_gan import LatentGANConfig, LatentGANModel
from .vae import VAEModel


@strict
class AAEConfig(LatentGANConfig):
    """
    Args:
        adversarial_weight: lambda.
        discriminator_hidden_sizes: widths of the discriminator's hidden layers.
        posterior: "gaussian", of learned variance, or "deterministic", which has no likelihood.
    """

    model_type = "gae_aae"

    posterior: Literal["gaussian", "deterministic"] = "gaussian"


class AAEModel(LatentGANModel, VAEModel):
    config_class = AAEConfig
    kl_terms = ()  # the game takes the KL's place

    def setup(self, config: AAEConfig):
        super().setup(config)
        if config.posterior == "deterministic":
            self.head = nn.Linear(prod(self.feature_shape), config.latent_dim)

    def encode(self, pixel_values: Tensor) -> Posterior:
        base = DeterministicModel if self.config.posterior == "deterministic" else VAEModel
        return base.encode(self, pixel_values)

    def log_likelihood(self, *args, **kwargs) -> Tensor:
        """(batch,) estimates of log p(x) in nats, as in [`VAEModel`], for the Gaussian posterior only."""
        base = GAEPreTrainedModel if self.config.posterior == "deterministic" else VAEModel
        return base.log_likelihood(self, *args, **kwargs)


register_model(AAEConfig, AAEModel)
