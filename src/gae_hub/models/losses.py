"""Pieces that more than one loss is made of."""

__all__ = ["frozen", "mean_over_processes", "mmd"]

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call


def mean_over_processes(value: Tensor) -> Tensor:
    """The average of a statistic over all processes of a distributed run; the value itself in a single one."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def frozen(module: nn.Module, *inputs: Tensor):
    """Call a module with its weights as constants: gradients reach the inputs only."""
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, inputs)


def mmd(x: Tensor, y: Tensor, kernel: str = "imq", bandwidth: float = 1.0) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of two samples (Gretton et al., 2012, U-statistic).

    The kernels are those of WAE, arXiv:1711.01558, for a prior of standard deviation `bandwidth`: with C = 2 dim
    bandwidth^2,
    "imq" is the sum of s C / (s C + d^2) over seven scales s, and "rbf" is exp(-d^2 / C). All scales share one
    distance matrix.

    Args:
        x, y: (num, dim), at least two points each and as many.

    Raises:
        ValueError: for fewer than two points.
    """
    if len(x) < 2:
        raise ValueError(f"the MMD needs at least 2 examples in a batch, got {len(x)}")
    points = torch.cat([x, y])
    norms = points.square().sum(-1)
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
