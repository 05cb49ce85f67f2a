"""Checks of the arrays that metrics receive."""

__all__ = ["check_features", "check_finite", "check_labels", "check_rows", "check_same_dim"]

from typing import Any

from torch import Tensor

from ...core.argument_checks import describe


def check_finite(argument: str, values: Tensor, first_row: int = 0):
    """Raise ValueError if (num, ...) `values` hold nan or infinity.

    Args:
        argument: the argument and the metric, for the message, such as "references of 'fid'".
        values: array to check.
        first_row: number of its first row, for the message.
    """
    # a finite sum proves it for all values and is faster; that of finite values can overflow
    if not values.is_floating_point() or values.sum().isfinite() or values.isfinite().all():
        return
    bad = ~values.isfinite()
    row = first_row + int(bad.reshape(len(bad), -1).any(1).nonzero()[0]) if bad.dim() else first_row
    raise ValueError(
        f"{argument} must be finite, but {int(bad.sum())} of {bad.numel()} values are nan or infinite, the first in "
        f"row {row}; remove these rows, or check the images and the network that they come from"
    )


def check_rows(name: str, argument: str, values: Any, min_rows: int, rows: str = "images"):
    """Raise ValueError unless `values` are a tensor (num, ...), finite, and of at least `min_rows` rows.

    Args:
        name: name of the metric, for the message.
        argument: name of the argument, for the message.
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
    check_finite(f"{argument} of {name}", values)


def check_features(name: str, argument: str, features: Tensor, min_rows: int, rows: str = "images"):
    """Raise ValueError unless `features` are a tensor (num, dim), finite, and of at least `min_rows` rows.

    Args:
        name: name of the metric, for the message.
        argument: name of the argument, for the message.
        features: array to check.
        min_rows: smallest number of rows.
        rows: plural noun for the rows, for the message.
    """
    if isinstance(features, Tensor) and features.dim() != 2:
        raise ValueError(f"{name} needs (num, dim) features, got shape {tuple(features.shape)}")
    check_rows(name, argument, features, min_rows, rows)


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
