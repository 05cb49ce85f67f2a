r"""Masked autoregressive flow: Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou & Murray,
2017), arXiv:1705.07057.

.. math::
    p(z) = N(u; 0, I) \left| \det \frac{du}{dz} \right|, \quad u_i = (z_i - \mu_i(z_{<i})) \exp(-\alpha_i(z_{<i}))

in each block. The order of the dimensions is reversed from block to block.

Use it when: the mixture misses structure, and you want an exact density that is trained in minutes.

Relations:
    The density needs one pass through the networks, a sample one step per dimension. The IAF is the other way round,
    and slower to fit. One block without hidden layers would be a Gaussian of any covariance.
    In each block a dimension is Gaussian given those before it, so two blocks draw a bridge between two moons. Five
    blocks draw no visible bridge, and neither do two blocks of the neural spline.
    In Pythae, batch norm undoes the reversal and is not in eval mode after a reload, samples take one pass per
    dimension, and narrow networks miss dimensions.
"""

__all__ = ["MAFSampler", "MAFSamplerConfig"]

from typing import Any

from huggingface_hub.dataclasses import strict

from ..modules.autoregressive_steps import MaskedAutoregressiveStep
from ..modules.flows import FlowStep
from .base import register_sampler
from .flow_base import AffineFlowSampler, AffineFlowSamplerConfig


@strict
class MAFSamplerConfig(AffineFlowSamplerConfig):
    """Config of [`MAFSampler`], with the fields of every affine flow."""

    model_type = "gae_maf_sampler"


class MAFSampler(AffineFlowSampler):
    """A masked autoregressive flow: fast to fit, slower to sample from."""

    config: MAFSamplerConfig

    config_class = MAFSamplerConfig

    def build_step(self, dim: int, **made_arguments: Any) -> FlowStep:
        return MaskedAutoregressiveStep(dim, log_scale_bound=self.config.log_scale_bound, **made_arguments)


register_sampler(MAFSamplerConfig, MAFSampler)
