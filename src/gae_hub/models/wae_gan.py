r"""WAE-GAN: Wasserstein Auto-Encoders (Tolstikhin, Bousquet, Gelly & Schölkopf, 2018), arXiv:1711.01558.

.. math::
    \mathcal{L}(x) = -\log p(x|z) - \lambda \log D(z), \quad z = f(x); \qquad
    \mathcal{L}_D = -\mathbb{E}_{z \sim N(0, I)} \log D(z) - \mathbb{E}_x \log (1 - D(f(x)))

Autoencoder and discriminator are trained in the same step, each on its own loss.

Changes: adversarial.
Use it when: you want what the AAE gives, derived from optimal transport.

Relations:
    AAE with a deterministic encoder is the same. WAE-MMD uses a kernel instead of the discriminator.
    With lambda = 0, encoder and decoder follow the gradients of the AE.
"""

__all__ = ["WAEGANConfig", "WAEGANModel"]

from huggingface_hub.dataclasses import strict

from .base import DeterministicModel, register_model
from .latent_gan import LatentGANConfig, LatentGANModel


@strict
class WAEGANConfig(LatentGANConfig):
    """
    Args:
        adversarial_weight: lambda.
        discriminator_hidden_sizes: widths of the discriminator's hidden layers; the default is the paper's.
    """

    model_type = "gae_wae_gan"

    adversarial_weight: float | int = 10.0
    discriminator_hidden_sizes: list[int] | tuple[int, ...] = (512, 512, 512, 512)


class WAEGANModel(LatentGANModel, DeterministicModel):
    config: WAEGANConfig

    config_class = WAEGANConfig


register_model(WAEGANConfig, WAEGANModel)
