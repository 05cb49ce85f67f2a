"""Random tensors from an optional generator, on the device of another tensor."""

__all__ = ["rand", "randn"]

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gae_hub.core.argument_checks import generator_device


def randn(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise with the device and dtype of `like`, but at least float32.

    The noise is drawn on the generator's device and then moved, so a CPU generator gives the same values for every
    device. Half precision would draw other values, and few different ones.
    """
    return torch.randn(shape, **_options(like, generator)).to(like.device)


def rand(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform noise in [0, 1), drawn as in [`randn`]."""
    return torch.rand(shape, **_options(like, generator)).to(like.device)


def _options(like: Tensor, generator: torch.Generator | None) -> dict[str, Any]:
    """Keyword arguments of torch's random functions, which cannot be traced with `generator=None` and a free size."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    options = {"device": generator_device(generator, like.device), "dtype": dtype}
    return options if generator is None else {**options, "generator": generator}
