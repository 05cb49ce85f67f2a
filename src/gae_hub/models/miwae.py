r"""MIWAE: Tighter Variational Bounds are Not Necessarily Better (Rainforth, Kosiorek, Le, Maddison, Igl, Wood &
Teh, 2018), arXiv:1802.04537.

.. math::
    \mathcal{L}(x) = -\frac{1}{M} \sum_m \log \frac{1}{K} \sum_k w_{mk}, \quad
    w_{mk} = \frac{p(x|z_{mk})\, p(z_{mk})}{q(z_{mk}|x)}

Changes: bound.
Use it when: you want a tight bound, and IWAE with many samples trains its encoder badly.

Relations:
    M = 1 is IWAE(K). K = 1 is the VAE with M samples. A larger M improves the gradient of the encoder, a larger K
    tightens the bound.
    Pythae takes the logarithm over the M estimates instead of the K samples, which makes no difference for M = K, as
    in its examples; here it is over the samples.
"""

__all__ = ["MIWAEConfig", "MIWAEModel"]

from huggingface_hub.dataclasses import strict

from .base import register_model
from .iwae import IWAEConfig, IWAEModel


@strict
class MIWAEConfig(IWAEConfig):
    """
    Args:
        num_estimates: M, the number of bounds that are averaged. Each uses num_samples other samples.
    """

    model_type = "gae_miwae"

    num_samples: int = 8
    num_estimates: int = 8

    def validate_estimates(self):
        self.require_positive("num_estimates")


class MIWAEModel(IWAEModel):
    config: MIWAEConfig

    config_class = MIWAEConfig

    @property
    def draw_shape(self) -> tuple[int, ...]:
        return (self.config.num_estimates, self.config.num_samples)


register_model(MIWAEConfig, MIWAEModel)
