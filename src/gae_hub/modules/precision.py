"""Guards against the loss of digits in half precision and in float32."""

__all__ = ["at_least_float32", "full_precision", "to_float64"]

import torch
from torch import Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """Context manager that turns autocast off on the device of `like`.

    Differences of products, such as squared distances and variances, cancel: they need every digit of their dtype.
    """
    return torch.autocast(like.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Cast half precision to float32, which densities and sums over pixels need. Other dtypes are unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def to_float64(tensor: Tensor) -> Tensor:
    """Cast to float64. Tensors on Apple GPUs are unchanged, as these GPUs do not support float64."""
    return tensor if tensor.device.type == "mps" else tensor.double()
