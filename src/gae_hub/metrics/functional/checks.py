"""Checks of the arrays that metrics receive."""

__all__ = ["check_features", "check_same_dim"]

import torch
from torch import Tensor


def check_features(name: str, features: Tensor, min_rows: int, rows: str = "images"):
    """Raise ValueError unless `features` are (num, dim), finite, and at least `min_rows` rows.

    Args:
        name: name of the metric, for the message.
        features: array to check.
        min_rows: smallest number of rows.
        rows: plural noun for the rows, for the message.
    """
    if features.dim() != 2:
        raise ValueError(f"{name} needs (num, dim) features, got shape {tuple(features.shape)}")
    if len(features) < min_rows:
        raise ValueError(f"{name} needs {min_rows} or more {rows}, got {len(features)}")
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} got features that are nan or infinite; check the images and the network")


def check_same_dim(samples_dim: int | None, references_dim: int | None):
    """Raise ValueError unless the features of samples and references have the same number of dimensions."""
    if samples_dim != references_dim:
        raise ValueError(
            f"both sides need features of the same size, got {samples_dim} and {references_dim} dimensions"
        )
