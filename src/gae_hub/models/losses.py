"""Pieces that more than one loss is made of.

A loss that couples the examples of a batch sees the batch of all processes: `gather` brings it together.
"""

__all__ = [
    "alone",
    "frozen",
    "full_precision",
    "gather",
    "is_distributed",
    "mean_over_processes",
    "mmd",
    "rank",
    "require_examples",
]

from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call

_alone = False


@contextmanager
def alone():
    """Inside, a loss sees this process's batch only: in evaluation, where a batch's value must not depend on how many
    processes share the work."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def is_distributed() -> bool:
    """Whether this process is one of several whose batches belong together."""
    return not _alone and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number, 0 in a single one."""
    return dist.get_rank() if is_distributed() else 0


def mean_over_processes(value: Tensor) -> Tensor:
    """The average of a statistic over all processes of a distributed run; the value itself in a single one."""
    if is_distributed():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


class _Gather(torch.autograd.Function):
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


def gather(tensor: Tensor) -> Tensor:
    """(batch of all processes, ...), by rank: the examples of all, with gradients back to each.

    Every process must use it in its loss in the same way, with batches of one size. The average over processes of the
    gradients of their losses, which is what DistributedDataParallel takes, is then the gradient of the average of the
    losses.
    """
    return _Gather.apply(tensor) if is_distributed() else tensor


def frozen(module: nn.Module, *inputs: Tensor):
    """Call a module with its weights as constants: gradients reach the inputs only."""
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, inputs)


def full_precision(like: Tensor) -> torch.autocast:
    """No autocast inside: differences of products, such as distances and variances, have no digits to lose."""
    return torch.autocast(like.device.type, enabled=False)


def require_examples(count: int, what: str, least: int = 2):
    """Raise ValueError for a batch that is too small for a statistic over its examples."""
    if count < least:
        raise ValueError(f"{what} needs at least {least} examples in a batch, got {count}")


def mmd(x: Tensor, y: Tensor, kernel: str = "imq", bandwidth: float = 1.0) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of two samples (Gretton et al., 2012, U-statistic).

    The kernels are those of WAE, arXiv:1711.01558, for a prior of standard deviation `bandwidth`: with C = 2 dim
    bandwidth^2,
    "imq" is the sum of s C / (s C + d^2) over seven scales s, and "rbf" is exp(-d^2 / C). All scales share one
    distance matrix. With several processes, the samples are those of all.

    Args:
        x, y: (num, dim), at least two points each and as many.

    Raises:
        ValueError: for fewer than two points.
    """
    x, y = gather(x), gather(y)
    require_examples(len(x), "the MMD")
    points = torch.cat([x, y])
    norms = points.square().sum(-1)
    with full_precision(points):
        squares = (norms.unsqueeze(0) + norms.unsqueeze(1) - 2 * points @ points.T).clamp(min=0)
    constant = 2 * x.shape[1] * bandwidth**2
    if kernel == "rbf":
        values = (-squares / constant).exp()
    else:
        values = sum(scale * constant / (scale * constant + squares) for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))
    n = len(x)
    diagonal = torch.diagonal(values)
    within_x = (values[:n, :n].sum() - diagonal[:n].sum()) / (n * (n - 1))
    within_y = (values[n:, n:].sum() - diagonal[n:].sum()) / (n * (n - 1))
    return within_x + within_y - 2 * values[:n, n:].mean()
