r"""Masked autoregressive flow: Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou & Murray,
2017), arXiv:1705.07057.

.. math::
    p(z) = N(u; 0, I) \left| \det \frac{du}{dz} \right|, \quad u_i = (z_i - \mu_i(z_{<i})) \exp(-\alpha_i(z_{<i}))

in each block, with the order of the dimensions reversed from block to block.

Relations:
    The density takes one pass through the networks, a draw goes from dimension to dimension: the IAF is the other way
    round. One block without hidden layers would be a Gaussian of any covariance.
    Given those before, a dimension is Gaussian in each block, so that few blocks draw a bridge between two moons. More
    are no cure in a few hundred steps: 2, 5 and 10 blocks of 2 x 64 units end at energy distances of 0.014, 0.018 and
    0.047 from fresh data after 600 steps, where one Gaussian has 0.027, and at 0.009 with 10 and batch norm. The
    neural spline is at the floor of other fresh data, 0.001.
    Pythae's batch norm undoes the reversal and is not in eval mode after a reload; its draws take a pass for each
    dimension, and its narrow networks miss dimensions.
"""

__all__ = ["MAFSampler", "MAFSamplerConfig"]

import torch
from huggingface_hub.dataclasses import strict

from ..models.flows import MaskedAutoregressiveStep
from .base import register_sampler
from .flow import FlowSampler, FlowSamplerConfig


@strict
class MAFSamplerConfig(FlowSamplerConfig):
    """No field beside those of every flow."""

    model_type = "gae_maf_sampler"


class MAFSampler(FlowSampler):
    config_class = MAFSamplerConfig

    def step(self, dim: int, **made) -> torch.nn.Module:
        return MaskedAutoregressiveStep(dim, **made)


register_sampler(MAFSamplerConfig, MAFSampler)
