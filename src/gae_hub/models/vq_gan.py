r"""VQ-GAN: Taming Transformers for High-Resolution Image Synthesis (Esser, Rombach & Ommer, 2021), arXiv:2012.09841.

.. math::
    \mathcal{L}(x) = \|x - \hat{x}\|_1 + D\, \lambda_p\, \mathrm{LPIPS}(x, \hat{x}) + \mathcal{L}_{VQ}
        - \lambda\, \lambda_{adapt}\, \mathbb{E}\, d(\hat{x})

with pixels in [-1, 1], D numbers in an image, the terms :math:`\mathcal{L}_{VQ}` of the VQ-VAE's quantizer, a patch
discriminator d with the hinge loss, which starts later, and an adaptive weight: `image_gan.py` has these terms.

Changes: discrete.
Use it when: you want an image as a short sequence of codes, for a transformer, with sharp reconstructions.

Relations:
    With perceptual_weight = discriminator_weight = 0 it is the VQ-VAE with a Laplace likelihood. KL-GAN has a KL
    instead of the quantizer.
    The authors average the pixel loss over pixels, and the commitment over the latents' numbers; here both are sums
    over an example. The balance is theirs with commitment_weight times D over the numbers of a latent map.
"""

__all__ = ["VQGANConfig", "VQGANModel"]

from huggingface_hub.dataclasses import strict

from .base import register_model
from .image_gan import ImageGANConfig, ImageGANModel
from .vq_vae import VQVAEConfig, VQVAEModel


@strict
class VQGANConfig(ImageGANConfig, VQVAEConfig):
    """Has the fields of `ImageGANConfig` and `VQVAEConfig`."""

    model_type = "gae_vq_gan"


class VQGANModel(ImageGANModel, VQVAEModel):
    config: VQGANConfig

    config_class = VQGANConfig


register_model(VQGANConfig, VQGANModel)
