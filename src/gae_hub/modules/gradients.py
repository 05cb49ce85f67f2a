"""Gradients inside a forward pass, in training and in evaluation."""

__all__ = ["as_normal", "check_not_exporting", "enable_gradients", "gradient_norm_ratio"]

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gae_hub.core.distributed import mean_over_processes

from .precision import at_least_float32


@contextmanager
def enable_gradients() -> Iterator[None]:
    """Record gradients, also where the caller has turned them off by `torch.no_grad` or `torch.inference_mode`.

    Raises:
        RuntimeError: in torch.export, which cannot trace gradients.
    """
    check_not_exporting()
    with torch.inference_mode(False), torch.enable_grad():
        yield


def check_not_exporting():
    """Raise RuntimeError in torch.export, which cannot trace gradients."""
    if torch.compiler.is_exporting():
        raise RuntimeError("torch.export cannot trace a forward pass that computes a gradient")


def as_normal(tensor: Tensor) -> Tensor:
    """Return a tensor that autograd can save: a copy of a tensor made in `torch.inference_mode`, others unchanged.

    Call it inside [`enable_gradients`], as a copy made in inference mode is an inference tensor too.
    """
    return tensor.clone() if tensor.is_inference() else tensor


@torch.compiler.disable(reason="torch.compile cannot differentiate a gradient; the rest is compiled")
def gradient_norm_ratio(loss: Tensor, other: Tensor, at: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Norm of the gradient of `loss` over that of `other` plus epsilon: a scalar without gradient.

    In a distributed run, the norms are those of the gradients of all processes together.

    Args:
        loss, other: scalars.
        at: the tensor, such as a layer's weight, with respect to which the gradients are computed.
        epsilon: bounds the ratio where `other` has no gradient.
    """
    check_not_exporting()
    gradients = (torch.autograd.grad(value, at, retain_graph=True)[0] for value in (loss, other))
    norm, other_norm = (at_least_float32(mean_over_processes(gradient)).norm() for gradient in gradients)
    return norm / (other_norm + epsilon)
