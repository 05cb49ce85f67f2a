r"""MSSSIM-VAE: Learning to Generate Images with Perceptual Similarity Metrics (Snell, Ridgeway, Liao, Roads, Mozer &
Zemel, 2017), arXiv:1511.06409.

.. math::
    \mathcal{L}(x) = D\, (1 - \text{MS-SSIM}(x, \hat{x})) + \beta\, KL(q(z|x) \| p(z)), \quad p(z) = N(0, I)

The dissimilarity of an image is multiplied by the number D of its pixel values, because every loss here is a sum over
the pixels. A beta of 1 then has the effect of a VAE's KL weight, in order of magnitude.

Changes: objective.
Use it when: perceived similarity matters more than the error of each pixel, and no likelihood is needed.

Relations:
    The beta-VAE with another distance between images, and therefore without a likelihood.
    Pythae adds the MS-SSIM of the whole batch, at most 1, to a KL in nats; here the MS-SSIM is per image and
    multiplied by D, so that Pythae's beta b corresponds to beta = D b.
"""

__all__ = ["MSSSIMVAEConfig", "MSSSIMVAEModel"]

from math import prod

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.modules.ms_ssim import max_scales, ms_ssim
from gae_hub.modules.precision import at_least_float32, full_precision

from .base import GAEOutput, GAEPreTrainedModel, register_model
from .vae import VAEConfig, VAEModel


@strict
class MSSSIMVAEConfig(VAEConfig):
    """
    Args:
        beta: weight of the KL.
        window_size: side of the Gaussian window in pixels, odd.
        num_scales: number of scales, at most five. By default as many as the image size allows.
    """

    model_type = "gae_msssim_vae"

    beta: float | int = 1.0
    window_size: int = 11
    num_scales: int | None = None

    def validate_similarity(self):
        if not self.beta >= 0:
            raise ValueError(f"beta must be 0 or more, got {self.beta}")
        if self.window_size < 1 or self.window_size % 2 == 0:
            raise ValueError(f"window_size must be odd and above 0, got {self.window_size}")
        if len(self.input_shape) != 3:
            raise ValueError(f"input_shape must be (channels, height, width) for MS-SSIM, got {self.input_shape}")
        most = max_scales(*self.input_shape[1:])
        if not most:
            raise ValueError(f"input_shape must have at least 4 pixels per side for MS-SSIM, got {self.input_shape}")
        if self.num_scales is not None and not 1 <= self.num_scales <= most:
            raise ValueError(f"num_scales must lie in [1, {most}] for {self.input_shape}, got {self.num_scales}")


class MSSSIMVAEModel(VAEModel):
    config: MSSSIMVAEConfig

    config_class = MSSSIMVAEConfig
    estimate_log_likelihood = GAEPreTrainedModel.estimate_log_likelihood

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch, with one sample per example."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior, sample=True, generator=generator)
        reconstruction = at_least_float32(self.decode(latents))
        similarity = self.compute_similarity(pixel_values, reconstruction)
        terms = {"reconstruction": prod(self.config.input_shape) * (1 - similarity), "kl": posterior.kl()}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def compute_similarity(self, pixel_values: Tensor, reconstruction: Tensor) -> Tensor:
        """(batch,): MS-SSIM. Autocast is off, because variances are small differences of products."""
        with full_precision(reconstruction):
            images = pixel_values.to(reconstruction.dtype)
            return ms_ssim(images, reconstruction, self.config.num_scales, self.config.window_size)

    def loss_weights(self) -> dict[str, float]:
        return {"kl": self.config.beta}


register_model(MSSSIMVAEConfig, MSSSIMVAEModel)
