r"""Neural spline flow: Neural Spline Flows (Durkan, Bekasov, Murray & Papamakarios, 2019), arXiv:1906.04032.

.. math::
    p(z) = N(u; 0, I) \left| \det \frac{du}{dz} \right|, \quad u_i = s(z_i; h_i(z_{<i}))

s is a monotonic rational-quadratic spline on [-bound, bound]; a MADE returns its knots and slopes.

Use it when: MAF leaves samples between the modes: splines bend more per step.

Relations:
    The MAF with a spline in place of each affine map: given the dimensions before it, a dimension may have many modes.
    Latents are standardized first, so the bound is in standard deviations, or in larger units for latents with heavy
    tails, which are scaled to lie within it.
"""

__all__ = ["NeuralSplineSampler", "NeuralSplineSamplerConfig"]

from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..modules.autoregressive_steps import SplineAutoregressiveStep
from ..modules.flows import FlowStep
from .base import register_sampler
from .flow_base import FlowSampler, FlowSamplerConfig

_MAX_SHRINKAGE = 4.0  # of latents with heavy tails, relative to unit variance


@strict
class NeuralSplineSamplerConfig(FlowSamplerConfig):
    """Config of [`NeuralSplineSampler`].

    Args:
        num_bins: number of bins of each spline.
        tail_bound: the splines act on [-tail_bound, tail_bound], in standard deviations, and are the identity outside.
            Latents that reach further are scaled to lie within it, up to a factor of 4. Bins beyond the data are
            wasted: after 300 steps on two rings, the energy distance of the samples is 1.4 times as large with 5 as
            with 3.
    """

    model_type = "gae_neural_spline_sampler"

    num_bins: int = 8
    tail_bound: float | int = 3.0

    def validate_spline(self):
        self.require_positive("num_bins", "tail_bound")


class NeuralSplineSampler(FlowSampler):
    """An autoregressive flow of monotonic rational-quadratic splines."""

    config: NeuralSplineSamplerConfig

    config_class = NeuralSplineSamplerConfig

    def fit_standardization(self, latents: Tensor):
        """Standardize latents (num, density_dim), and shrink those with heavy tails until the splines act on all.

        Beyond its bound, a spline leaves latents to the tails of a normal distribution. The factor is bounded, so that
        an outlier does not squeeze all other latents into one bin.
        """
        super().fit_standardization(latents)
        reach = self.standardization(latents.to(self.dtype))[0].abs().amax(0)
        self.standardization.std.mul_((reach / self.config.tail_bound).clamp(1, _MAX_SHRINKAGE))

    def build_step(self, dim: int, **made_arguments: Any) -> FlowStep:
        return SplineAutoregressiveStep(dim, self.config.num_bins, self.config.tail_bound, **made_arguments)


register_sampler(NeuralSplineSamplerConfig, NeuralSplineSampler)
