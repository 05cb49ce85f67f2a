"""Sums and rows from all processes, by tensors only: objects would travel as pickles."""

__all__ = ["all_reduce", "gather_rows", "num_processes"]

import torch
import torch.distributed as dist
from torch import Tensor


def num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def on_wire(tensor: Tensor) -> Tensor:
    """The tensor where the processes' backend can send it: NCCL takes those of a GPU only."""
    return tensor.cuda() if "nccl" in str(dist.get_backend()) else tensor.cpu()


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum over all processes; on one process, the tensor."""
    if num_processes() == 1:
        return tensor
    total = on_wire(tensor).clone()
    dist.all_reduce(total)
    return total.to(tensor.device)


def gather_rows(rows: Tensor) -> Tensor:
    """All processes' rows, (num, ...), in the order of the processes. Counts may differ, and may be 0.

    A process without rows passes (0, ...) with as many axes; it need not know their sizes.
    """
    if num_processes() == 1:
        return rows
    shape = on_wire(torch.tensor(rows.shape))
    shapes = [torch.zeros_like(shape) for _ in range(num_processes())]
    dist.all_gather(shapes, shape)
    counts, inner = [int(shape[0]) for shape in shapes], torch.stack(shapes)[:, 1:].amax(0).tolist()
    padded = on_wire(rows).new_zeros(max(counts), *inner)
    padded[: len(rows)] = rows.reshape(len(rows), *inner)
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).to(rows.device)
