r"""Empirical distribution: An Introduction to the Bootstrap (Efron & Tibshirani, 1993), doi:10.1201/9780429246593.

.. math::
    q(z) = \frac{1}{N} \sum_n \delta(z - z_n)

A draw is the embedding of some training image: the generated images are reconstructions.

Relations:
    The kernel density without a width. What a measure of samples says of it is what reconstruction alone costs: a
    learned density that comes no nearer to the training data than this, and no nearer to test data, has memorised.
"""

__all__ = ["EmpiricalSampler", "EmpiricalSamplerConfig"]

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from .base import GAESampler, GAESamplerConfig, register_sampler


@strict
class EmpiricalSamplerConfig(GAESamplerConfig):
    """
    Args:
        num_latents: how many it holds; `fit` fills it in.
    """

    model_type = "gae_empirical_sampler"

    num_latents: int | None = None


class EmpiricalSampler(GAESampler):
    config_class = EmpiricalSamplerConfig

    def prepare(self, latents: Tensor):
        self.config.num_latents = len(latents)

    def allocate(self, config: EmpiricalSamplerConfig):
        self.register_buffer("latents", torch.zeros(config.num_latents, config.latent_dim))

    def estimate(self, latents: Tensor):
        self.latents.copy_(latents)

    def rows(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        """(num_samples, latent_dim) of the latents, each by chance."""
        device = generator.device if generator is not None else self.device
        chosen = torch.randint(len(self.latents), (num_samples,), generator=generator, device=device)
        return self.latents[chosen.to(self.device)]

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        return self.rows(num_samples, generator)


register_sampler(EmpiricalSamplerConfig, EmpiricalSampler)
