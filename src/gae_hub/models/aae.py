r"""AAE: Adversarial Autoencoders (Makhzani, Shlens, Jaitly, Goodfellow & Frey, 2015), arXiv:1511.05644.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} [\log p(x|z) + \lambda \log D(z)]; \qquad
    \mathcal{L}_D = -\mathbb{E}_{z \sim N(0, I)} \log D(z) - \mathbb{E}_{q(z|x)} \log (1 - D(z))

Autoencoder and discriminator are trained in the same step, each on its own loss.

Changes: adversarial.
Use it when: you want codes that follow a prior, and a discriminator finds differences that an MMD misses.

Relations:
    The VAE with a discriminator instead of the KL. With a deterministic encoder, it is WAE-GAN.
    With lambda = 0, encoder and decoder follow the gradient of the reconstruction only.
    Pythae takes the logarithm of a sigmoid, which saturates; here the discriminator returns logits. There, the best
    weights are those with the smallest sum of the losses of both players.
"""

__all__ = ["AAEConfig", "AAEModel"]

from math import prod
from typing import Literal

from huggingface_hub.dataclasses import strict
from torch import Generator, Tensor, nn

from gae_hub.modules.posteriors import PointMass, Posterior
from gae_hub.modules.precision import at_least_float32

from .base import GAEPreTrainedModel, register_model
from .latent_gan import LatentGANConfig, LatentGANModel
from .vae import VAEModel


@strict
class AAEConfig(LatentGANConfig):
    """
    Args:
        adversarial_weight: lambda.
        discriminator_hidden_sizes: widths of the discriminator's hidden layers.
        posterior: "gaussian", with a learned variance, or "deterministic", for which log_likelihood is not defined.
    """

    model_type = "gae_aae"

    posterior: Literal["gaussian", "deterministic"] = "gaussian"


class AAEModel(LatentGANModel, VAEModel):
    config: AAEConfig
    head: nn.Linear

    config_class = AAEConfig
    kl_terms = ()  # the adversarial term replaces the KL

    def setup(self, config: AAEConfig):
        super().setup(config)
        if config.posterior == "deterministic":
            self.head = nn.Linear(prod(self.feature_shape), config.latent_dim)

    def encode(self, pixel_values: Tensor) -> Posterior:
        if self.config.posterior == "gaussian":
            return super().encode(pixel_values)
        return PointMass(at_least_float32(self.head(self.encode_features(pixel_values))))

    def estimate_log_likelihood(
        self, pixel_values: Tensor, num_samples: int, generator: Generator | None, batch_size: int
    ) -> Tensor:
        base = VAEModel if self.config.posterior == "gaussian" else GAEPreTrainedModel
        return base.estimate_log_likelihood(self, pixel_values, num_samples, generator, batch_size)


register_model(AAEConfig, AAEModel)
