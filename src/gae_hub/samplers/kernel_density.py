r"""Kernel density: Multivariate Density Estimation: Theory, Practice, and Visualization (Scott, 1992),
doi:10.1002/9780470316849.

.. math::
    q(z) = \frac{1}{N} \sum_n N(z; z_n, h^2 S)

S is the diagonal matrix of the latents' variances. The bandwidth h maximises the likelihood of each latent under
the kernels of the others.

Use it when: latents have few dimensions and an odd shape, and you want a density without training.

Relations:
    A Gaussian mixture with one component per latent. As h goes to 0, the empirical distribution. A small h means
    that the latents lie in clusters or near a surface.
"""

__all__ = ["KernelDensitySampler", "KernelDensitySamplerConfig"]

from collections.abc import Callable, Sequence
from math import log, log10, pi
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..modules.noise import randn
from ..modules.precision import to_float64
from ..modules.projected_normal import projected_normal_log_prob
from .base import fitting_bar, register_sampler
from .empirical import EmpiricalSampler, EmpiricalSamplerConfig

_MAX_PAIRS = 2**24  # distances in memory at a time
_MAX_CPU_PAIRS = 2**18  # distances that fit into the cache of a CPU
_NUM_WIDTHS = (20, 9, 9)  # bandwidths in the scan of the whole range, and in the scans about the best one


@strict
class KernelDensitySamplerConfig(EmpiricalSamplerConfig):
    """Config of [`KernelDensitySampler`].

    Args:
        bandwidth: h, or how it is chosen: "likelihood" maximises the leave-one-out likelihood; "scott" is
            N^(-1 / (d + 4)), the right choice for a Gaussian and too wide for other densities.
        num_bandwidth_latents: number of latents, evenly spaced in the data set, whose likelihood is maximised.
    """

    model_type = "gae_kernel_density_sampler"

    bandwidth: float | int | Literal["likelihood", "scott"] = "likelihood"
    num_bandwidth_latents: int = 1000

    def validate_bandwidth(self):
        self.require_positive("num_bandwidth_latents", *(["bandwidth"] if not isinstance(self.bandwidth, str) else []))


class KernelDensitySampler(EmpiricalSampler):
    """A Gaussian kernel around each latent of the training set."""

    config: KernelDensitySamplerConfig
    std: Tensor  # (latent_dim,)
    width: Tensor  # scalar, the bandwidth

    config_class = KernelDensitySamplerConfig
    _keep_in_fp32_modules_strict = [*EmpiricalSampler._keep_in_fp32_modules_strict, "std", "width"]
    omits_constants = True

    def allocate(self, config: KernelDensitySamplerConfig):
        super().allocate(config)
        self.register_buffer("std", torch.ones(config.density_dim))
        self.register_buffer("width", torch.ones(()))

    def estimate_density(self, latents: Tensor, progress: bool = True):
        super().estimate_density(latents)
        num, d = latents.shape
        std = latents.double().std(0, correction=0)
        self.std.copy_(torch.where(std > 1e-6 * std.max(), std, std.max().clamp(min=1e-6) * 1e-6))
        bandwidth = self.config.bandwidth
        if bandwidth == "likelihood":
            self.width.fill_(self._find_most_likely_width(progress))
        else:
            self.width.fill_(num ** (-1 / (d + 4)) if bandwidth == "scott" else bandwidth)

    def _find_most_likely_width(self, progress: bool) -> float:
        """The width from 1e-3 to 10^0.5 with the largest leave-one-out likelihood, to one percent.

        The likelihood may have several maxima, so the first scan covers the whole range. Each of the next two covers
        the interval about the best width so far.
        """
        num = len(self.latents)
        if num < 2:
            return 1.0
        chosen = torch.linspace(0, num - 1, min(num, self.config.num_bandwidth_latents), device=self.device)
        chosen = chosen.long().unique()
        num_blocks = len(chosen.split(self._block_size()))
        likelihoods: dict[float, float] = {}  # by width
        widths = torch.logspace(-3, 0.5, _NUM_WIDTHS[0], dtype=torch.float64)
        with fitting_bar(progress, "bandwidth", total=num_blocks * sum(_NUM_WIDTHS)) as bar:
            for num_following in (*_NUM_WIDTHS[1:], 0):
                found = self._compute_left_out_likelihoods(chosen, widths.tolist(), bar.update)
                likelihoods.update(zip(widths.tolist(), found, strict=True))
                tried = sorted(likelihoods)
                place = tried.index(max(tried, key=likelihoods.__getitem__))
                low, high = tried[max(0, place - 1)], tried[min(len(tried) - 1, place + 1)]
                widths = torch.logspace(log10(low), log10(high), num_following + 2, dtype=torch.float64)[1:-1]
        return max(likelihoods, key=likelihoods.__getitem__)

    def _compute_left_out_likelihoods(
        self, chosen: Tensor, widths: Sequence[float], after_width: Callable[[], Any]
    ) -> list[float]:
        """For each width, the log likelihood of the chosen latents under the kernels of the others.

        Terms that do not depend on the width are left out.

        Args:
            chosen: (num,) indices of latents.
            widths: bandwidths.
            after_width: called after each width of each block of latents.
        """
        d = self.latents.shape[1]
        totals = [-len(chosen) * d * log(width) for width in widths]
        for rows in chosen.split(self._block_size()):
            squares = self._squared_distances(self.latents[rows])
            squares[torch.arange(len(rows), device=self.device), rows] = torch.inf  # leave the latent itself out
            for index, width in enumerate(widths):
                totals[index] += to_float64(_log_sum_kernels(squares, width)).sum().item()
                after_width()
        return totals

    def _block_size(self) -> int:
        """Number of latents whose distances to all fitted latents are in memory at a time."""
        num_pairs = _MAX_CPU_PAIRS if self.device.type == "cpu" else _MAX_PAIRS
        return max(1, num_pairs // len(self.latents))

    def _squared_distances(self, latents: Tensor) -> Tensor:
        """(num, num_latents): squared distances of latents (num, density_dim) to the fitted ones, over `std`."""
        exact = "donot_use_mm_for_euclid_dist"  # the distances that count are small: a matrix product would round them
        return torch.cdist(latents / self.std, self.latents / self.std, compute_mode=exact).square()

    def compute_log_density(self, latents: Tensor) -> Tensor:
        num, d = self.latents.shape
        constant = log(num) + d * (0.5 * log(2 * pi) + self.width.log()) + self.std.log().sum()
        blocks = latents.split(self._block_size())
        width = self.width.item()
        return torch.cat([_log_sum_kernels(self._squared_distances(block), width) for block in blocks]) - constant

    def compute_log_density_of_directions(self, latents: Tensor) -> Tensor:
        scale = self.width * self.std
        constant = log(len(self.latents)) + scale.log().sum()
        blocks, means = (latents / scale).split(self._block_size()), self.latents / scale
        log_densities = [projected_normal_log_prob(block, means).logsumexp(-1) for block in blocks]
        return torch.cat(log_densities).to(latents.dtype) - constant

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        centres = super().draw_latents(num_samples, generator)
        return centres + self.width * self.std * randn(centres.shape, centres, generator)


def _log_sum_kernels(squares: Tensor, width: float) -> Tensor:
    """(num,) log of the sum of exp(-square / (2 width^2)) over squared distances (num, num_latents).

    Kernels below exp(-80) of the largest one do not change the sum, but would underflow, which is slow on CPUs.
    """
    nearest = squares.amin(1, keepdim=True)
    exponents = ((squares - nearest) * (-0.5 / width**2)).clamp_(min=-80)
    return exponents.exp_().sum(1).log() - nearest.squeeze(1) * (0.5 / width**2)


register_sampler(KernelDensitySamplerConfig, KernelDensitySampler)
