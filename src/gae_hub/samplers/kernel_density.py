r"""Kernel density: Multivariate Density Estimation: Theory, Practice, and Visualization (Scott, 1992),
doi:10.1002/9780470316849.

.. math::
    q(z) = \frac{1}{N} \sum_n N(z; z_n, h^2 S)

S is the diagonal matrix of the embeddings' variances. The bandwidth h maximises the likelihood of each embedding under
the kernels of the others.

Use it when: latents have few dimensions and an odd shape, and you want a density without training.

Relations:
    A Gaussian mixture with one component per embedding. As h goes to 0, the empirical distribution. A small h means
    that the embeddings lie in clusters or near a surface.
"""

__all__ = ["KernelDensitySampler", "KernelDensitySamplerConfig"]

from math import log, pi
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..modules.noise import randn
from .base import fitting_bar, register_sampler, require_value
from .empirical import EmpiricalSampler, EmpiricalSamplerConfig

_MAX_PAIRS = 2**24  # distances in memory at a time


@strict
class KernelDensitySamplerConfig(EmpiricalSamplerConfig):
    """Config of [`KernelDensitySampler`].

    Args:
        bandwidth: h, or how it is chosen: "likelihood" maximises the leave-one-out likelihood; "scott" is
            N^(-1 / (d + 4)), the right choice for a Gaussian and too wide for other densities.
        num_bandwidth_latents: number of embeddings, evenly spaced in the data set, whose likelihood is maximised.
    """

    model_type = "gae_kernel_density_sampler"

    bandwidth: float | int | Literal["likelihood", "scott"] = "likelihood"
    num_bandwidth_latents: int = 1000

    def validate_bandwidth(self):
        self.require_positive("num_bandwidth_latents", *(["bandwidth"] if not isinstance(self.bandwidth, str) else []))


class KernelDensitySampler(EmpiricalSampler):
    """A Gaussian kernel around each embedding of the training set."""

    config: KernelDensitySamplerConfig
    std: Tensor  # (latent_dim,)
    width: Tensor  # scalar, the bandwidth

    config_class = KernelDensitySamplerConfig
    _keep_in_fp32_modules_strict = [*EmpiricalSampler._keep_in_fp32_modules_strict, "std", "width"]

    def allocate(self, config: KernelDensitySamplerConfig):
        super().allocate(config)
        self.register_buffer("std", torch.ones(require_value(config.latent_dim, "latent_dim")))
        self.register_buffer("width", torch.ones(()))

    def estimate_density(self, latents: Tensor, progress: bool = True):
        super().estimate_density(latents)
        num, d = latents.shape
        std = latents.double().std(0, correction=0)
        self.std.copy_(torch.where(std > 1e-6 * std.max(), std, std.max().clamp(min=1e-6) * 1e-6))
        bandwidth = self.config.bandwidth
        if bandwidth == "likelihood":
            self.width.copy_(self._find_most_likely_width(progress))
        else:
            self.width.fill_(num ** (-1 / (d + 4)) if bandwidth == "scott" else bandwidth)

    def _find_most_likely_width(self, progress: bool) -> Tensor:
        """The width with the largest leave-one-out likelihood, among 60 from 1e-3 to 10^0.5."""
        num, d = self.latents.shape
        if num < 2:
            return torch.ones(())
        chosen = (
            torch.linspace(0, num - 1, min(num, self.config.num_bandwidth_latents), device=self.device).long().unique()
        )
        widths = torch.logspace(-3, 0.5, 60, device=self.device)
        total = torch.zeros_like(widths)
        parts = chosen.split(max(1, _MAX_PAIRS // num))
        with fitting_bar(progress, "bandwidth", total=len(parts) * len(widths)) as bar:
            for rows in parts:
                squares = self._squared_distances(self.latents[rows])
                squares[torch.arange(len(rows), device=self.device), rows] = (
                    torch.inf
                )  # leave the embedding itself out
                for index, h in enumerate(widths):
                    total[index] += (squares / (-2 * h * h)).logsumexp(-1).sum() - len(rows) * d * h.log()
                    bar.update()
        return widths[total.argmax()]

    def _squared_distances(self, latents: Tensor) -> Tensor:
        """(num, num_latents): squared distances of latents (num, latent_dim) to the embeddings, in units of `std`."""
        exact = "donot_use_mm_for_euclid_dist"  # the distances that count are small: a matrix product would round them
        return torch.cdist(latents / self.std, self.latents / self.std, compute_mode=exact).square()

    @torch.no_grad()
    def log_prob(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, *latent_shape), in nats."""
        points = self._flatten_latents(latents)
        num, d = self.latents.shape
        constant = log(num) + d * (0.5 * log(2 * pi) + self.width.log()) + self.std.log().sum()
        parts = points.split(max(1, _MAX_PAIRS // num))
        squares = (self._squared_distances(part) for part in parts)
        return torch.cat([(square / (-2 * self.width.square())).logsumexp(-1) for square in squares]) - constant

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        centres = super().draw_latents(num_samples, generator)
        return centres + self.width * self.std * randn(centres.shape, centres, generator)


register_sampler(KernelDensitySamplerConfig, KernelDensitySampler)
