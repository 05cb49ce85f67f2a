r"""KL-GAN: High-Resolution Image Synthesis with Latent Diffusion Models (Rombach, Blattmann, Lorenz, Esser & Ommer,
2022), arXiv:2112.10752.

The autoencoder of latent diffusion with KL regularisation (section 3.1 and appendix G):

.. math::
    \mathcal{L}(x) = \|x - \hat{x}\|_1 + D\, \lambda_p\, \mathrm{LPIPS}(x, \hat{x}) + \beta\, KL(q(z|x) \| p(z))
        - \lambda\, \lambda_{adapt}\, \mathbb{E}\, d(\hat{x}), \quad z \sim q(z|x)

with pixels in [-1, 1], D numbers in an image, a patch discriminator d with the hinge loss, which starts later, and an
adaptive weight: `image_gan.py` has these terms. The KL has a tiny weight, so the latents are hardly regularised.

Changes: adversarial.
Use it when: you want sharp reconstructions and a map of latents, for a diffusion model or a flow.

Relations:
    With perceptual_weight = discriminator_weight = 0 and kl_weight = 1 it is the VAE with a Laplace likelihood. VQ-GAN
    has a quantizer instead of the KL. VAE-GAN compares features of its own discriminator instead of LPIPS.
    The authors' code also has a trainable scale of the reconstruction error, which it never trains.
"""

__all__ = ["KLGANConfig", "KLGANModel"]

from huggingface_hub.dataclasses import strict

from .base import register_model
from .image_gan import ImageGANConfig, ImageGANModel
from .vae import VAEConfig, VAEModel


@strict
class KLGANConfig(ImageGANConfig, VAEConfig):
    """
    Args:
        kl_weight: beta, in the authors' configs 1e-6.
    """

    model_type = "gae_kl_gan"

    kl_weight: float | int = 1e-6

    def validate_weights(self):
        if not self.kl_weight >= 0:
            raise ValueError(f"kl_weight must be 0 or more, got {self.kl_weight}")


class KLGANModel(ImageGANModel, VAEModel):
    config: KLGANConfig

    config_class = KLGANConfig

    def loss_weights(self) -> dict[str, float]:
        return {**super().loss_weights(), "kl": self.config.kl_weight}


register_model(KLGANConfig, KLGANModel)
