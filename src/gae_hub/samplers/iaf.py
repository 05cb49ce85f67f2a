r"""Inverse autoregressive flow: Improved Variational Inference with Inverse Autoregressive Flow (Kingma, Salimans,
Jozefowicz, Chen, Sutskever & Welling, 2016), arXiv:1606.04934.

.. math::
    p(z) = N(u; 0, I) \left| \det \frac{dz}{du} \right|^{-1}, \quad z_i = u_i \exp(a_i(u_{<i})) + m_i(u_{<i})

in each block, with the order of the dimensions reversed from block to block.

Relations:
    A draw takes one pass through the networks, the density goes from dimension to dimension: the MAF is the other way
    round, and fits faster. Fitting solves for u as a draw of the MAF does; gradients are those of the implicit
    function theorem, at the cost of two passes, where Pythae keeps a graph of one pass for each dimension.
"""

__all__ = ["IAFSampler", "IAFSamplerConfig"]

import torch
from huggingface_hub.dataclasses import strict

from ..modules.autoregressive_steps import InverseAutoregressiveStep
from ..modules.flows import Inverted
from .base import register_sampler
from .flow import AffineFlowSampler, AffineFlowSamplerConfig


@strict
class IAFSamplerConfig(AffineFlowSamplerConfig):
    """No field beside those of every affine flow."""

    model_type = "gae_iaf_sampler"


class IAFSampler(AffineFlowSampler):
    config_class = IAFSamplerConfig

    def step(self, dim: int, **made) -> torch.nn.Module:
        return Inverted(
            InverseAutoregressiveStep(dim, update="affine", log_scale_bound=self.config.log_scale_bound, **made)
        )


register_sampler(IAFSamplerConfig, IAFSampler)
