"""Gradients inside a forward pass, in training and in evaluation."""

__all__ = ["as_normal", "check_not_exporting", "enable_gradients"]

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


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
