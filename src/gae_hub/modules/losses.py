"""Pieces that more than one loss is made of.

A loss that couples the examples of a batch sees the batch of all processes: `gather_batch` brings it together.
"""

__all__ = ["frozen", "mmd", "require_examples"]


import torch
from torch import Tensor, nn
from torch.func import functional_call

from gae_hub.core.distributed import gather_batch

from .precision import full_precision


def frozen(module: nn.Module, *inputs: Tensor):
    """Call a module with its weights as constants: gradients reach the inputs only."""
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, inputs)


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
    x, y = gather_batch(x), gather_batch(y)
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
