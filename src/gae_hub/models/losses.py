"""Pieces that more than one loss is made of."""

__all__ = ["mean_over_processes"]

import torch.distributed as dist
from torch import Tensor


def mean_over_processes(value: Tensor) -> Tensor:
    """The average of a statistic over all processes of a distributed run; the value itself in a single one."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value
