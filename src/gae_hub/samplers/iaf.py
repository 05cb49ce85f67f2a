r"""Inverse autoregressive flow: Improved Variational Inference with Inverse Autoregressive Flow (Kingma, Salimans,
Jozefowicz, Chen, Sutskever & Welling, 2016), arXiv:1606.04934.

.. math::
    p(z) = N(u; 0, I) \left| \det \frac{dz}{du} \right|^{-1}, \quad z_i = u_i \exp(a_i(u_{<i})) + m_i(u_{<i})

in each block. The order of the dimensions is reversed from block to block.

Use it when: draws must be fast and latents have many dimensions; fitting is slower than with MAF.

Relations:
    A sample needs one pass through the networks, the density one step per dimension. The MAF is the other way round,
    and faster to fit. Fitting solves for u as sampling from the MAF does. Gradients follow from the implicit function
    theorem at the cost of two passes, where Pythae keeps the graph of one pass per dimension.
"""

__all__ = ["IAFSampler", "IAFSamplerConfig"]

from typing import Any

from huggingface_hub.dataclasses import strict

from ..modules.autoregressive_steps import InverseAutoregressiveStep
from ..modules.flows import FlowStep, Inverted
from .base import register_sampler
from .flow_base import AffineFlowSampler, AffineFlowSamplerConfig


@strict
class IAFSamplerConfig(AffineFlowSamplerConfig):
    """Config of [`IAFSampler`], with the fields of every affine flow."""

    model_type = "gae_iaf_sampler"


class IAFSampler(AffineFlowSampler):
    """An inverse autoregressive flow: fast to sample from, slower to fit."""

    config: IAFSamplerConfig

    config_class = IAFSamplerConfig

    def build_step(self, dim: int, **made_arguments: Any) -> FlowStep:
        bound = self.config.log_scale_bound
        return Inverted(InverseAutoregressiveStep(dim, update="affine", log_scale_bound=bound, **made_arguments))


register_sampler(IAFSamplerConfig, IAFSampler)
