r"""PIWAE: Tighter Variational Bounds are Not Necessarily Better (Rainforth, Kosiorek, Le, Maddison, Igl, Wood &
Teh, 2018), arXiv:1802.04537.

The decoder follows the gradient of IWAE with all M K samples under one logarithm, the encoder that of MIWAE:

.. math::
    \mathcal{L}_\theta(x) = -\log \frac{1}{MK} \sum_{m,k} w_{mk}, \quad
    \mathcal{L}_\phi(x) = -\frac{1}{M} \sum_m \log \frac{1}{K} \sum_k w_{mk}

Changes: bound.
Use it when: you want the tightest bound for the decoder and clean gradients for the encoder.

Relations:
    With M = 1 both bounds are the same, and it is IWAE(K).
    Pythae adds both gradients in the encoder; here the encoder has the gradient of its own bound only.
"""

__all__ = ["PIWAEConfig", "PIWAEModel"]

from math import log

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.discriminators import partition_parameters
from gae_hub.modules.losses import call_frozen

from .base import GAEOutput, register_model
from .miwae import MIWAEConfig, MIWAEModel


@strict
class PIWAEConfig(MIWAEConfig):
    """Has the fields of `MIWAEConfig`."""

    model_type = "gae_piwae"


class PIWAEModel(MIWAEModel):
    config: PIWAEConfig

    config_class = PIWAEConfig
    shardable = False
    metric_for_best_model = "decoder_bound"  # the tighter bound; the loss is the sum of both

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch. The latents are the first sample of each image.

        Each bound has gradients for its own network only.
        """
        posterior = self.encode(pixel_values)
        latents, log_q = posterior.rsample_and_log_prob(*self.draw_shape, generator=generator)
        divergence = log_q - self.prior_log_prob(latents)
        kl = self.compute_kl_warmup() * divergence

        # the decoder's parameters are constants in the encoder's bound, and the samples in the decoder's bound
        log_p, reconstruction = self.log_prob(pixel_values, latents, decoder=lambda z: call_frozen(self.decoder, z))
        encoder_bound = self.compute_bound(log_p - kl)
        log_p, _ = self.log_prob(pixel_values, latents.detach())
        joint = (log_p - kl.detach()).flatten(1)
        decoder_bound = joint.logsumexp(1) - log(joint.shape[1])

        return self.build_output(
            {"encoder_bound": -encoder_bound, "decoder_bound": -decoder_bound},
            posterior,
            metrics={"reconstruction": -log_p.mean(), "kl": divergence.mean()},
            return_loss=return_loss,
            reconstruction=reconstruction.flatten(1, 2)[:, 0],
            latents=latents.flatten(1, 2)[:, 0],
        )

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return partition_parameters(self, "encoder", decoder=self.decoder)


register_model(PIWAEConfig, PIWAEModel)
