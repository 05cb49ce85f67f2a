"""Dimensions in which all latents are equal: they have no density, so samplers model the others."""

__all__ = ["find_constants", "has_constants", "insert_constants", "select_varying"]

from collections.abc import Sequence

import torch
from torch import Tensor

from ..modules.precision import to_float64

_MAX_RANGE = 1e-6  # of a constant dimension, relative to its value or to the largest standard deviation
_TOLERANCE = 1e-5  # of differences from a constant, relative to the latent's largest value


def find_constants(latents: Tensor) -> list[float | None] | None:
    """The value of each constant dimension.

    A dimension is constant if its range is at most 1e-6 of its value, or of the largest standard deviation: such
    differences are rounding errors. A single latent has no constant dimensions.

    Args:
        latents: (num, latent_dim).

    Returns:
        A list with None for each dimension that varies; or None if all of them vary.

    Raises:
        ValueError: if no dimension varies.
    """
    if len(latents) == 1:
        return None
    points = to_float64(latents)
    low, high = points.aminmax(dim=0)
    largest_std = points.std(0, correction=0).max()
    values = (low + high) / 2
    is_constant = high - low <= _MAX_RANGE * torch.maximum(values.abs(), largest_std)
    if is_constant.all():
        raise ValueError(
            f"all {len(latents)} latents are equal, so they have no density: check whether the model's encoder "
            "collapsed, or use EmpiricalSampler"
        )
    if not is_constant.any():
        return None
    return [value if fixed else None for value, fixed in zip(values.tolist(), is_constant.tolist(), strict=True)]


def select_varying(latents: Tensor, constants: Sequence[float | None] | None) -> Tensor:
    """Latents (num, latent_dim) without their constant dimensions, given by `find_constants`."""
    if constants is None:
        return latents
    return latents[:, [index for index, value in enumerate(constants) if value is None]]


def insert_constants(latents: Tensor, constants: Sequence[float | None] | None) -> Tensor:
    """(num, latent_dim) latents with the constants in their dimensions: the inverse of `select_varying`."""
    if constants is None:
        return latents
    values = latents.new_tensor([0.0 if value is None else value for value in constants])
    whole = values.repeat(len(latents), 1)
    whole[:, [index for index, value in enumerate(constants) if value is None]] = latents
    return whole


def has_constants(latents: Tensor, constants: Sequence[float | None] | None) -> Tensor:
    """(num,) whether latents (num, latent_dim) have the constants in their dimensions, up to rounding."""
    if constants is None:
        return latents.new_ones(len(latents), dtype=torch.bool)
    tolerance = max(_TOLERANCE, torch.finfo(latents.dtype).eps)
    differences = insert_constants(select_varying(latents, constants), constants) - latents
    return (differences.abs() <= tolerance * latents.abs().amax(1, keepdim=True)).all(1)
