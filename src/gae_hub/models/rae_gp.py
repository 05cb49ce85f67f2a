r"""RAE-GP: From Variational to Deterministic Autoencoders (Ghosh, Sajjadi, Vergari, Black & Schölkopf, 2020),
arXiv:1903.12436.

.. math::
    \mathcal{L}(x) = -\log p(x|z) + \frac{\beta}{2} \|z\|^2 + \lambda\, \|\nabla_z D(z)\|^2, \quad z = f(x)

The squared Frobenius norm of the decoder's Jacobian is estimated without bias from one random projection of the pixels
onto signs (Hutchinson's estimator), with one backward pass for the whole batch.

Changes: objective.
Use it when: you want what RAE-L2 gives, with a decoder that is smooth in the latents.

Relations:
    With beta = lambda = 0 it is the AE. RAE-L2 penalises the decoder's parameters instead of its gradient.
    Pythae penalises the gradient of the sum of the pixels, through the encoder too; here it is the decoder's Jacobian.
"""

__all__ = ["RAEGPConfig", "RAEGPModel"]

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.modules.backbones import keep_running_statistics
from gae_hub.modules.gradients import check_not_exporting
from gae_hub.modules.noise import randn

from .base import register_model
from .rae_l2 import RegularizedAEConfig, RegularizedAEModel


@strict
class RAEGPConfig(RegularizedAEConfig):
    """Has the fields of `RegularizedAEConfig`."""

    model_type = "gae_rae_gp"


class RAEGPModel(RegularizedAEModel):
    config: RAEGPConfig

    config_class = RAEGPConfig
    can_be_compiled = False
    penalty_name = "gradient_penalty"

    @torch.compiler.disable(reason="torch.compile cannot differentiate a gradient; the rest is compiled")
    def compute_decoder_penalty(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        check_not_exporting()
        signs = randn((latents.shape[0], *self.config.input_shape), latents, generator).sign()
        with keep_running_statistics(self.decoder):
            gradient = torch.func.grad(lambda z: (signs * self.decode(z)).sum())(latents)
        return gradient.square().sum(-1)


register_model(RAEGPConfig, RAEGPModel)
