"""Checks of the values that a model receives."""

__all__ = ["check_values"]

from torch import Tensor


def check_values(pixel_values: Tensor):
    """Check that all values are finite and in [0, 1].

    Raises:
        ValueError: if they are not.
    """
    low, high = (float(bound) for bound in pixel_values.detach().aminmax())
    if 0 <= low and high <= 1:  # False for NaN
        return
    bad = int((~pixel_values.isfinite()).sum())
    if bad:
        raise ValueError(
            f"pixel_values must be finite, got {bad} values that are nan or infinite; remove or replace them"
        )
    hint = "divide by 255" if low >= 0 and 1 < high <= 255 else "rescale them, for example with GAEImageProcessor"
    raise ValueError(f"pixel_values must lie in [0, 1], got values from {low:g} to {high:g}; {hint}")
