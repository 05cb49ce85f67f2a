"""The channels-last memory format of a model's convolutions."""

__all__ = ["use_channels_last"]

from itertools import chain

import torch
from torch import nn

# by the number of a tensor's dimensions: weights of convolutions in one dimension have no such format
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def use_channels_last(model: nn.Module):
    """Store the weights of convolutions in two and three dimensions channels last.

    `model.to(memory_format=torch.channels_last)` raises for a model that has weights of both, or of three dimensions.
    """
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.dim() in _CHANNELS_LAST:
            # `contiguous` would keep the strides of one-channel weights, by which torch chooses its kernels
            tensor.data = tensor.data.to(memory_format=_CHANNELS_LAST[tensor.dim()])
