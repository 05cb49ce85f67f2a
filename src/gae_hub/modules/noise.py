"""Random tensors from an optional generator, on the device of another tensor."""

__all__ = ["rand", "randn"]

from collections.abc import Sequence

import torch
from torch import Tensor

from gae_hub.core.argument_checks import generator_device


def randn(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise with the device and dtype of `like`.

    The noise is drawn on the generator's device and then moved, so a CPU generator gives the same values for every
    device.
    """
    device = generator_device(generator, like.device)
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def rand(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform noise in [0, 1), drawn as in [`randn`]."""
    device = generator_device(generator, like.device)
    return torch.rand(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
