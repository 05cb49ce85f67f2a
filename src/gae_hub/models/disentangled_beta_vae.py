r"""Disentangled beta-VAE: Understanding Disentangling in beta-VAE (Burgess, Higgins, Pal, Matthey, Watters, Desjardins
& Lerchner, 2018), arXiv:1804.03599.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + \beta\, |KL(q(z|x) \| p(z)) - C|

The capacity C grows linearly during the first part of training and then stays constant. Evaluation uses the final C.

Changes: objective.
Use it when: you want disentangled latents and control of how many nats the code may hold.

Relations:
    A capacity of 0 is beta-VAE.
    Pythae increases C once per epoch, does not quite reach the final C, and evaluates with the current C; here C grows
    with every step, and evaluation uses the final C.
"""

__all__ = ["DisentangledBetaVAEConfig", "DisentangledBetaVAEModel"]

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.modules.posteriors import DiagonalGaussian

from .base import GAEOutput, register_model
from .vae import VAEConfig, VAEModel


@strict
class DisentangledBetaVAEConfig(VAEConfig):
    """
    Args:
        beta: weight of the distance to the capacity (the paper's gamma).
        capacity: the final C, in nats.
        capacity_warmup_fraction: share of the training steps over which C grows from 0.
    """

    model_type = "gae_disentangled_beta_vae"

    beta: float | int = 10.0
    capacity: float | int = 25.0
    capacity_warmup_fraction: float | int = 0.5

    def validate_schedule(self):
        for name in ("beta", "capacity"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 < self.capacity_warmup_fraction <= 1:
            raise ValueError(f"capacity_warmup_fraction must lie in (0, 1], got {self.capacity_warmup_fraction}")


class DisentangledBetaVAEModel(VAEModel):
    config: DisentangledBetaVAEConfig

    config_class = DisentangledBetaVAEConfig
    kl_terms = ("capacity_distance",)

    def compute_capacity(self) -> Tensor | float:
        """C at this point of the training, in nats."""
        return self.config.capacity * self.compute_warmup(self.config.capacity_warmup_fraction)

    def regularizers(
        self, latents: Tensor, posterior: DiagonalGaussian, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        return {"capacity_distance": (posterior.kl() - self.compute_capacity()).abs()}

    def build_output(
        self,
        terms: dict[str, Tensor],
        posterior: DiagonalGaussian,
        metrics: dict[str, Tensor] | None = None,
        **options: Any,
    ) -> GAEOutput:
        """As for every method, with the KL itself among the metrics."""
        return super().build_output(terms, posterior, {**(metrics or {}), "kl": posterior.kl().mean()}, **options)

    def loss_weights(self) -> dict[str, float]:
        return {"capacity_distance": self.config.beta}


register_model(DisentangledBetaVAEConfig, DisentangledBetaVAEModel)
