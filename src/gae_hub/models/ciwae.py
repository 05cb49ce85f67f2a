r"""CIWAE: Tighter Variational Bounds are Not Necessarily Better (Rainforth, Kosiorek, Le, Maddison, Igl, Wood &
Teh, 2018), arXiv:1802.04537.

.. math::
    \mathcal{L}(x) = -\beta\, \frac{1}{K} \sum_k \log w_k - (1 - \beta) \log \frac{1}{K} \sum_k w_k

Changes: bound.
Use it when: you want one knob between the VAE (1) and IWAE (0).

Relations:
    beta = 0 is IWAE(K), beta = 1 the VAE with K samples.
    Pythae reports the self-normalised average of log w_k instead of the second term, with the gradient of that term;
    its value is smaller by up to (1 - beta) log K nats.
"""

__all__ = ["CIWAEConfig", "CIWAEModel"]

from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import register_model
from .iwae import IWAEConfig, IWAEModel


@strict
class CIWAEConfig(IWAEConfig):
    """
    Args:
        elbo_weight: beta, the share of the ELBO in the objective, from 0 to 1.
    """

    model_type = "gae_ciwae"

    elbo_weight: float | int = 0.05

    def validate_weight(self):
        if not 0 <= self.elbo_weight <= 1:
            raise ValueError(f"elbo_weight must lie in [0, 1], got {self.elbo_weight}")


class CIWAEModel(IWAEModel):
    config: CIWAEConfig

    config_class = CIWAEConfig

    def compute_bound(self, log_weights: Tensor) -> Tensor:
        share, iwae = self.config.elbo_weight, super().compute_bound(log_weights)
        return share * log_weights.mean(-1) + (1 - share) * iwae


register_model(CIWAEConfig, CIWAEModel)
