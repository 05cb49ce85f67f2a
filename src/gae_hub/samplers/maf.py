r"""Masked autoregressive flow: Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou & Murray,
2017), arXiv:1705.07057.

.. math::
    p(z) = N(u; 0, I) \left| \det \frac{du}{dz} \right|, \quad u_i = (z_i - \mu_i(z_{<i})) \exp(-\alpha_i(z_{<i}))

in each block, with the order of the dimensions reversed from block to block.

Relations:
    The density takes one pass through the networks, a draw goes from dimension to dimension: the IAF is the other way
    round. One block without hidden layers would be a Gaussian of any covariance.
    Given those before, a dimension is Gaussian in each block, so that two blocks draw a bridge between two moons; five
    draw none that is to be seen, and neither do two of the neural spline.
    Pythae's batch norm undoes the reversal and is not in eval mode after a reload; its draws take a pass for each
    dimension, and its narrow networks miss dimensions.
"""

__all__ = ["MAFSampler", "MAFSamplerConfig"]

import torch
from huggingface_hub.dataclasses import strict

from ..modules.autoregressive_steps import MaskedAutoregressiveStep
from .base import register_sampler
from .flow import AffineFlowSampler, AffineFlowSamplerConfig


@strict
class MAFSamplerConfig(AffineFlowSamplerConfig):
    """No field beside those of every affine flow."""

    model_type = "gae_maf_sampler"


class MAFSampler(AffineFlowSampler):
    config_class = MAFSamplerConfig

    def step(self, dim: int, **made) -> torch.nn.Module:
        return MaskedAutoregressiveStep(dim, log_scale_bound=self.config.log_scale_bound, **made)


register_sampler(MAFSamplerConfig, MAFSampler)
