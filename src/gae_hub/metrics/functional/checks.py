"""Checks of the arrays that metrics receive."""

__all__ = ["check_features", "check_labels", "check_rows", "check_same_dim"]

from typing import Any

import torch
from torch import Tensor

from ...core.argument_checks import describe


def check_rows(name: str, values: Any, min_rows: int, rows: str = "images"):
    """Raise ValueError unless `values` are a tensor (num, ...), finite, and of at least `min_rows` rows.

    Args:
        name: name of the metric, for the message.
        values: array to check.
        min_rows: smallest number of rows.
        rows: plural noun for the rows, for the message.
    """
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} needs a torch.Tensor, got {describe(values)}; torch.as_tensor converts arrays")
    if not values.dim():
        raise ValueError(f"{name} needs a batch, (num, ...), got a single number")
    if len(values) < min_rows:
        raise ValueError(f"{name} needs {min_rows} or more {rows}, got {len(values)}")
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} got values that are nan or infinite; check the images and the network")


def check_features(name: str, features: Tensor, min_rows: int, rows: str = "images"):
    """Raise ValueError unless `features` are a tensor (num, dim), finite, and of at least `min_rows` rows.

    Args:
        name: name of the metric, for the message.
        features: array to check.
        min_rows: smallest number of rows.
        rows: plural noun for the rows, for the message.
    """
    if isinstance(features, Tensor) and features.dim() != 2:
        raise ValueError(f"{name} needs (num, dim) features, got shape {tuple(features.shape)}")
    check_rows(name, features, min_rows, rows)


def check_labels(name: str, labels: Any, num_rows: int):
    """Raise ValueError unless `labels` are a tensor of integers, one for each of `num_rows` latents."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dim() != 1:
        found = f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else describe(labels)
        raise ValueError(f"{name} needs labels that are a tensor of integers, (num,), got {found}")
    if len(labels) != num_rows:
        raise ValueError(f"there are {num_rows} latents but {len(labels)} labels")


def check_same_dim(samples_dim: int | None, references_dim: int | None):
    """Raise ValueError unless the features of samples and references have the same number of dimensions."""
    if samples_dim != references_dim:
        raise ValueError(
            f"both sides need features of the same size, got {samples_dim} and {references_dim} dimensions"
        )
