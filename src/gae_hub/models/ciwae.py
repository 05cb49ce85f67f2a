r"""CIWAE: Tighter Variational Bounds are Not Necessarily Better (Rainforth, Kosiorek, Le, Maddison, Igl, Wood &
Teh, 2018), arXiv:1802.04537.

.. math::
    \mathcal{L}(x) = -\beta\, \frac{1}{K} \sum_k \log w_k - (1 - \beta) \log \frac{1}{K} \sum_k w_k

Relations:
    beta = 0 is IWAE(K), beta = 1 the VAE with K draws.
"""

__all__ = ["CIWAEConfig", "CIWAEModel"]

from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import register
from .iwae import IWAEConfig, IWAEModel


@strict
class CIWAEConfig(IWAEConfig):
    """
    Args:
        beta: share of the ELBO in the objective, from 0 to 1.
    """

    model_type = "gae_ciwae"

    beta: float | int = 0.05

    def validate_beta(self):
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta must lie in [0, 1], got {self.beta}")


class CIWAEModel(IWAEModel):
    config_class = CIWAEConfig

    def bound(self, log_weights: Tensor) -> Tensor:
        return self.config.beta * log_weights.mean(-1) + (1 - self.config.beta) * super().bound(log_weights)


register(CIWAEConfig, CIWAEModel)
