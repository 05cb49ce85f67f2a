"""Parts that several losses share."""

__all__ = ["call_frozen", "mmd", "require_examples"]

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gae_hub.core.distributed import gather_batch

from .backbones import keep_running_statistics
from .distances import squared_distances

MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def call_frozen(module: nn.Module, *inputs: Any) -> Any:
    """Call a module with detached parameters: gradients reach the inputs, but not the parameters.

    Running statistics of batch normalisation are left to the call that trains the parameters.
    """
    with keep_running_statistics(module):
        return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, inputs)


def require_examples(count: int, what: str, minimum: int = 2):
    """Check that a batch is large enough for a statistic over its examples.

    Args:
        count: number of examples in the batch.
        what: the statistic or method, for the error.
        minimum: smallest number of examples.

    Raises:
        ValueError: if the batch is smaller.
    """
    if count < minimum:
        raise ValueError(f"{what} needs at least {minimum} examples in a batch, got {count}")


def mmd(x: Tensor, y: Tensor, kernel: Literal["imq", "rbf"] = "imq", bandwidth: float = 1.0) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of two samples (Gretton et al., 2012, U-statistic).

    The kernels follow WAE, arXiv:1711.01558, for a prior with standard deviation `bandwidth`. With distance d
    and C = 2 dim bandwidth^2, "imq" is the sum of s C / (s C + d^2) over seven scales s, and "rbf" is exp(-d^2 / C).
    In a distributed run, the samples of all processes are used.

    Args:
        x, y: (num, dim) each, with the same num of at least 2.
        kernel: "imq", the inverse multiquadratic, or "rbf", the Gaussian.
        bandwidth: standard deviation of the prior.

    Returns:
        A scalar.

    Raises:
        ValueError: if num is less than 2.
    """
    x, y = gather_batch(x), gather_batch(y)
    require_examples(x.shape[0], "the MMD")
    constant = 2 * x.shape[1] * bandwidth**2

    def evaluate_kernel(points: Tensor, others: Tensor) -> Tensor:
        squares = squared_distances(points, others)
        if kernel == "rbf":
            return (-squares / constant).exp()
        values = torch.zeros_like(squares)
        for scale in MMD_SCALES:
            values = values + scale * constant / (scale * constant + squares)
        return values

    def mean_of_pairs(points: Tensor) -> Tensor:
        values, num = evaluate_kernel(points, points), points.shape[0]
        return (values.sum() - values.diagonal().sum()) / (num * (num - 1))

    return mean_of_pairs(x) + mean_of_pairs(y) - 2 * evaluate_kernel(x, y).mean()
