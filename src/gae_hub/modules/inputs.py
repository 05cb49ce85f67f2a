"""TODO docstring."""

__all__ = ["check_values"]

from torch import Tensor


def check_values(pixel_values: Tensor):
    """Raise ValueError unless all values are finite and in [0, 1]."""
    low, high = (float(bound) for bound in pixel_values.detach().aminmax())
    if 0 <= low and high <= 1:  # False for nan
        return
    bad = int((~pixel_values.isfinite()).sum())
    if bad:
        raise ValueError(f"pixel_values holds {bad} values that are nan or infinite; remove or replace them first")
    hint = "divide by 255" if low >= 0 and 1 < high <= 255 else "rescale them, for instance with GAEImageProcessor"
    raise ValueError(f"pixel_values must lie in [0, 1], but lie in [{low:g}, {high:g}]: {hint}")
