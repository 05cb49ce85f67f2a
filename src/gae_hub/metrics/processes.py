"""Sums and rows from all processes, by tensors only: objects would travel as pickles."""

__all__ = ["all_reduce", "gather_rows", "num_processes"]

import torch
import torch.distributed as dist
from torch import Tensor


def num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum over all processes; on one process, the tensor."""
    if num_processes() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather_rows(rows: Tensor) -> Tensor:
    """All processes' rows, (num, ...), in the order of the processes. Counts may differ, and may be 0.

    A process without rows passes (0, ...) with as many axes; it need not know their sizes.
    """
    if num_processes() == 1:
        return rows
    shapes = [torch.zeros(rows.dim(), dtype=torch.long, device=rows.device) for _ in range(num_processes())]
    dist.all_gather(shapes, torch.tensor(rows.shape, dtype=torch.long, device=rows.device))
    counts, inner = [int(shape[0]) for shape in shapes], torch.stack(shapes)[:, 1:].amax(0).tolist()
    padded = rows.new_zeros(max(counts), *inner)
    padded[: len(rows)] = rows.reshape(len(rows), *inner)
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
