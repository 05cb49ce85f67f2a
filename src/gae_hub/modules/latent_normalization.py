"""Latents with mean 0 and standard deviation 1 over a data set."""

__all__ = ["LatentNormalization"]

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.distributed import sum_over_processes

from .backbones import Sizes
from .precision import to_float64

_SMALLEST = 1e-3  # standard deviations, relative to the root of the mean variance


class LatentNormalization(nn.Module):
    """(latents - mean) / std, with statistics that `fit` estimates.

    Args:
        latent_shape: shape of one example's latents.
        per_channel: whether all positions of a map have the same mean and std.
    """

    mean: Tensor
    std: Tensor  # 0 before `fit`

    def __init__(self, latent_shape: Sizes, per_channel: bool = False):
        super().__init__()
        shape = (latent_shape[0], *[1] * (len(latent_shape) - 1)) if per_channel else latent_shape
        self.axes = [0, *range(2, len(latent_shape) + 1)] if per_channel else [0]
        for name in ("mean", "std"):
            self.register_buffer(name, torch.zeros(tuple(shape), dtype=torch.float32))
        self._is_ready = False  # whether the statistics are known to be there: reading them would stall a GPU

    def reset_parameters(self):
        init.zeros_(self.mean)
        init.zeros_(self.std)

    def _load_from_state_dict(self, *args, **kwargs):
        self._is_ready = False
        super()._load_from_state_dict(*args, **kwargs)

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` was called, on this module or on the one that was saved."""
        self._is_ready = self._is_ready or bool(self.std.any())
        return self._is_ready

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]):
        """Estimate mean and std exactly, in float64, in one pass over latents, (batch, *latent_shape) each.

        Several processes share the examples: each passes its own, maybe none. A coordinate that hardly varies has a
        standard deviation of 1/1000 of the root of the mean variance instead of its own, so that rounding errors are
        not magnified.

        Raises:
            ValueError: if the latents are not finite, or all equal.
        """
        count, total = torch.zeros((), dtype=torch.float64), to_float64(torch.zeros_like(self.mean))
        square = total.clone()
        for latents in batches:
            latents = to_float64(latents)
            count += latents.numel() / self.mean.numel()
            total += latents.sum(self.axes).view_as(total)
            square += latents.square().sum(self.axes).view_as(total)
        count, total, square = (sum_over_processes(value) for value in (count, total, square))
        mean = total / count.to(total)
        variance = (square / count.to(total) - mean.square()).clamp(min=0)
        typical = variance.mean().sqrt()
        if not 0 < typical < torch.inf:
            raise ValueError(
                f"the latents of {int(count):,} values a coordinate have the standard deviation {float(typical):.4g}, "
                "so they cannot be normalised: pass several different examples"
            )
        self.mean.copy_(mean)
        self.std.copy_(variance.sqrt().clamp(min=_SMALLEST * typical))

    def forward(self, latents: Tensor) -> Tensor:
        """(batch, *latent_shape): normalised latents, for latents of that shape."""
        return (latents - self.mean.to(latents)) / self.std.to(latents)

    def invert(self, normalized: Tensor) -> Tensor:
        """(batch, *latent_shape): the latents that `forward` normalises to `normalized`."""
        return normalized * self.std.to(normalized) + self.mean.to(normalized)
