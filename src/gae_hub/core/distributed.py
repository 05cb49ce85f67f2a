"""Communication between the processes of a distributed run. In a single process every function returns its argument.

Only tensors are sent: `torch.distributed` would pickle other objects.
"""

__all__ = [
    "all_agree",
    "broadcast_from_first",
    "gather_batch",
    "gather_rows",
    "is_distributed",
    "mean_over_processes",
    "num_processes",
    "process_index",
    "single_process",
    "sum_over_processes",
]

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

_single: ContextVar[bool] = ContextVar("single_process", default=False)


@contextmanager
def single_process() -> Iterator[None]:
    """Ignore the other processes inside this context, so that a loss depends on this process's batch only.

    Evaluation uses it: the value of a batch must not depend on the number of processes.
    """
    token = _single.set(True)
    try:
        yield
    finally:
        _single.reset(token)


def is_distributed() -> bool:
    """Whether several processes run and their batches belong together."""
    # the ContextVar is read last, so that torch.compile never meets it in a single process
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1 and not _single.get()


def process_index() -> int:
    """Index of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def num_processes() -> int:
    """Number of processes whose batches belong together."""
    return dist.get_world_size() if is_distributed() else 1


def _on_wire(tensor: Tensor) -> Tensor:
    """A tensor on a device that the backend can send from: NCCL sends from GPUs only."""
    return tensor.cuda() if "nccl" in str(dist.get_backend()) else tensor.cpu()


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum of a tensor over all processes, on the tensor's device. The argument stays as it is."""
    if not is_distributed():
        return value
    total = _on_wire(value).clone()
    dist.all_reduce(total)
    return total.to(value.device)


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor over all processes."""
    return sum_over_processes(value) / num_processes() if is_distributed() else value


def broadcast_from_first(value: Tensor) -> Tensor:
    """Overwrite a tensor with that of process 0, and return it."""
    if is_distributed():
        dist.broadcast(value, 0)
    return value


def all_agree(answer: bool) -> bool:
    """Whether `answer` is true in all processes."""
    if not is_distributed():
        return answer
    return int(sum_over_processes(torch.tensor(int(answer)))) == num_processes()


class _GatherBatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather_batch(tensor: Tensor) -> Tensor:
    """(batch of all processes, ...): the examples of all processes, ordered by process, with gradients to each.

    All processes must call it at the same point of their loss, with batches of one size. DistributedDataParallel
    averages the gradients of the processes' losses; with this function that is the gradient of the average loss.
    """
    return _GatherBatch.apply(tensor) if is_distributed() else tensor


def gather_rows(rows: Tensor) -> Tensor:
    """(total, ...): the rows of all processes, ordered by process. Numbers of rows may differ, and may be 0.

    A process without rows passes a tensor (0, ...) with the same number of axes; their sizes do not matter.
    """
    if not is_distributed():
        return rows
    shape = _on_wire(torch.tensor(rows.shape))
    shapes = [torch.zeros_like(shape) for _ in range(num_processes())]
    dist.all_gather(shapes, shape)
    counts, inner = [int(shape[0]) for shape in shapes], torch.stack(shapes)[:, 1:].amax(0).tolist()
    padded = _on_wire(rows).new_zeros(max(counts), *inner)
    padded[: len(rows)] = rows.reshape(len(rows), *inner)
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).to(rows.device)
