r"""Kernel density: Multivariate Density Estimation: Theory, Practice, and Visualization (Scott, 1992),
doi:10.1002/9780470316849.

.. math::
    q(z) = \frac{1}{N} \sum_n N(z; z_n, h^2 S)

with S the diagonal of the embeddings' variances, and a bandwidth h that is chosen by the likelihood of each embedding
under the kernels of the others.

Relations:
    A Gaussian mixture with a component for each embedding; as h goes to 0, the empirical distribution. A small h says
    that the embeddings lie in heaps or on a surface.
"""

__all__ = ["KernelDensitySampler", "KernelDensitySamplerConfig"]

from math import log, pi
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..modules.noise import randn
from .base import register_sampler
from .empirical import EmpiricalSampler, EmpiricalSamplerConfig

_PAIRS = 2**24  # distances that are held at a time


@strict
class KernelDensitySamplerConfig(EmpiricalSamplerConfig):
    """
    Args:
        bandwidth: h; "likelihood" chooses it by leave-one-out likelihood, and "scott" is N^(-1 / (d + 4)), right for a
            Gaussian and too wide for others.
        num_bandwidth_latents: embeddings, spread over all, whose likelihood the choice is made by.
    """

    model_type = "gae_kernel_density_sampler"

    bandwidth: float | int | Literal["likelihood", "scott"] = "likelihood"
    num_bandwidth_latents: int = 1000

    def validate_bandwidth(self):
        self.require_positive("num_bandwidth_latents", *(["bandwidth"] if not isinstance(self.bandwidth, str) else []))


class KernelDensitySampler(EmpiricalSampler):
    config_class = KernelDensitySamplerConfig

    def allocate(self, config: KernelDensitySamplerConfig):
        super().allocate(config)
        self.register_buffer("std", torch.ones(config.latent_dim))
        self.register_buffer("width", torch.ones(()))

    def estimate(self, latents: Tensor):
        super().estimate(latents)
        num, d = latents.shape
        std = latents.double().std(0, correction=0)
        self.std.copy_(torch.where(std > 1e-6 * std.max(), std, std.max().clamp(min=1e-6) * 1e-6))
        if self.config.bandwidth == "likelihood":
            self.width.copy_(self._most_likely())
        else:
            self.width.fill_(num ** (-1 / (d + 4)) if self.config.bandwidth == "scott" else self.config.bandwidth)

    def _most_likely(self) -> Tensor:
        """Of 60 widths from 1e-3 to 3, that under which embeddings are likeliest by the kernels of the others."""
        num, d = self.latents.shape
        if num < 2:
            return torch.ones(())
        chosen = (
            torch.linspace(0, num - 1, min(num, self.config.num_bandwidth_latents), device=self.device).long().unique()
        )
        widths = torch.logspace(-3, 0.5, 60, device=self.device)
        total = torch.zeros_like(widths)
        for rows in chosen.split(max(1, _PAIRS // num)):
            squares = self._squares(self.latents[rows])
            squares[torch.arange(len(rows), device=self.device), rows] = torch.inf  # itself
            total += torch.stack(
                [(squares / (-2 * h * h)).logsumexp(-1).sum() - len(rows) * d * h.log() for h in widths]
            )
        return widths[total.argmax()]

    def _squares(self, latents: Tensor) -> Tensor:
        """(num, num_latents): squared distances to the embeddings, in standard deviations."""
        exact = "donot_use_mm_for_euclid_dist"  # near points are what counts
        return torch.cdist(latents / self.std, self.latents / self.std, compute_mode=exact).square()

    @torch.no_grad()
    def log_prob(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, *latent_shape), in nats."""
        self.require_fitted()
        num, d = self.latents.shape
        constant = log(num) + d * (0.5 * log(2 * pi) + self.width.log()) + self.std.log().sum()
        parts = latents.flatten(1).to(self.dtype).split(max(1, _PAIRS // num))
        squares = (self._squares(part) for part in parts)
        return torch.cat([(square / (-2 * self.width.square())).logsumexp(-1) for square in squares]) - constant

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        rows = self.rows(num_samples, generator)
        return rows + self.width * self.std * randn(rows.shape, rows, generator)


register_sampler(KernelDensitySamplerConfig, KernelDensitySampler)
