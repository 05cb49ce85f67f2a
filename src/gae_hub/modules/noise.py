"""TODO docstring."""

__all__ = ["rand", "randn"]

import torch
from torch import Tensor


def randn(shape, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise on the device and in the dtype of `like`.

    It is drawn on the generator's device and then moved, so that a CPU generator gives the same numbers everywhere.
    """
    device = generator.device if generator is not None else like.device
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def rand(shape, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform noise in [0, 1), drawn as `randn` draws."""
    device = generator.device if generator is not None else like.device
    return torch.rand(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
