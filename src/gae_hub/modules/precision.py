"""TODO docstring."""

__all__ = ["at_least_float32", "full_precision", "wide"]


import torch
from torch import Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """No autocast inside: differences of products, such as distances and variances, have no digits to lose."""
    return torch.autocast(like.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Densities and sums over pixels need more digits than half precision has."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def wide(tensor: Tensor) -> Tensor:
    """In float64, where the device has it: Apple's has not."""
    return tensor if tensor.device.type == "mps" else tensor.double()
