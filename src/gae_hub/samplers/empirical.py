r"""Empirical distribution: An Introduction to the Bootstrap (Efron & Tibshirani, 1993), doi:10.1201/9780429246593.

.. math::
    q(z) = \frac{1}{N} \sum_n \delta(z - z_n)

A sample is a latent of a random training image, so generated images are reconstructions.

Use it when: you need latents that certainly decode well, and copies of training codes are acceptable.

Relations:
    The kernel density with a bandwidth of 0. Metrics of its samples show the error of the reconstruction alone. A
    learned density that is as close to the training data as this one, but no closer to test data, has memorised.
"""

__all__ = ["EmpiricalSampler", "EmpiricalSamplerConfig"]

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..core.argument_checks import generator_device
from .base import GAESampler, GAESamplerConfig, register_sampler, require_value


@strict
class EmpiricalSamplerConfig(GAESamplerConfig):
    """Config of [`EmpiricalSampler`].

    Args:
        num_latents: number of stored latents. `fit` sets it.
    """

    model_type = "gae_empirical_sampler"

    num_latents: int | None = None

    set_by_fit = (*GAESamplerConfig.set_by_fit, "num_latents")


class EmpiricalSampler(GAESampler):
    """The latents of the training set, drawn with replacement."""

    config: EmpiricalSamplerConfig
    latents: Tensor  # (num_latents, latent_dim)

    config_class = EmpiricalSamplerConfig
    _keep_in_fp32_modules_strict = ["latents"]

    def allocate(self, config: EmpiricalSamplerConfig):
        num = require_value(config.num_latents, "num_latents")
        self.register_buffer("latents", torch.zeros(num, config.density_dim))

    def estimate_density(self, latents: Tensor, progress: bool = True):
        self.config.num_latents = len(latents)
        self.reallocate(latents.device)
        self.latents.copy_(latents)

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        device = generator_device(generator, self.device)
        chosen = torch.randint(len(self.latents), (num_samples,), generator=generator, device=device)
        return self.latents[chosen.to(self.device)]


register_sampler(EmpiricalSamplerConfig, EmpiricalSampler)
