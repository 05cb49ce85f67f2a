r"""InfoVAE: Balancing Learning and Inference in Variational Autoencoders (Zhao, Song & Ermon, 2019), arXiv:1706.02262.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + (1 - \alpha)\, KL(q(z|x) \| p(z))
    + (\alpha + \lambda - 1)\, MMD^2(q(z), p(z))

Changes: objective.
Use it when: a VAE ignores its latents: the MMD keeps the prior matched while the KL may be weak.

Relations:
    alpha = 0 with an MMD weight of 0 (lambda = 1) is the VAE. alpha = 1 drops the KL, as in WAE-MMD, whose encoder is
    deterministic.
    Pythae's grid has lambda < 1 at alpha = 0, which rewards a large MMD; here the config has the weight of the MMD
    itself, which must not be negative.
"""

__all__ = ["InfoVAEConfig", "InfoVAEModel"]

from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.modules.losses import mmd
from gae_hub.modules.noise import randn
from gae_hub.modules.posteriors import DiagonalGaussian

from .base import register_model
from .vae import VAEConfig, VAEModel


@strict
class InfoVAEConfig(VAEConfig):
    """
    Args:
        alpha: at most 1; the weight of the KL is 1 - alpha.
        mmd_weight: weight of the MMD, alpha + lambda - 1 in the paper.
        kernel: "imq" (inverse multiquadratic with seven scales) or "rbf" (Gaussian).
        bandwidth: scale of the kernel, as the standard deviation of the prior that it fits.
    """

    model_type = "gae_info_vae"

    alpha: float | int = 0.0
    mmd_weight: float | int = 1000.0
    kernel: Literal["imq", "rbf"] = "imq"
    bandwidth: float | int = 1.0

    def validate_weights(self):
        if not self.alpha <= 1:
            raise ValueError(f"alpha must be 1 or less, got {self.alpha}")
        if not self.mmd_weight >= 0:
            raise ValueError(f"mmd_weight must be 0 or more, got {self.mmd_weight}")
        self.require_positive("bandwidth")


class InfoVAEModel(VAEModel):
    config: InfoVAEConfig

    config_class = InfoVAEConfig
    min_batch_size = 2

    def regularizers(
        self, latents: Tensor, posterior: DiagonalGaussian, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        prior = randn(latents.shape, latents, generator)
        return {"kl": posterior.kl(), "mmd": mmd(latents, prior, self.config.kernel, self.config.bandwidth)}

    def loss_weights(self) -> dict[str, float]:
        return {"kl": 1 - self.config.alpha, "mmd": self.config.mmd_weight}


register_model(InfoVAEConfig, InfoVAEModel)
