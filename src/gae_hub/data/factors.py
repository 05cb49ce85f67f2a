"""Reads factors of variation from the columns of a data set, as dSprites and Shapes3D have them on the Hub."""

__all__ = ["read_factors"]

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def read_factors(dataset: Any, names: Sequence[str] | None = None) -> tuple[Tensor, list[str]]:
    """(num, num_factors) indices of the factors' values, and the names of the factors.

    Args:
        dataset: a data set from [`load_images`], or an object with integers of this shape as its attribute `factors`.
        names: columns to use, of numbers or strings. A column of lists has one factor for each position in the
            lists. The default is `dataset.factors` or, without it, all columns of integers and classes that have more
            than one value and fewer values than rows.

    Raises:
        ValueError: if a named column does not exist or cannot be a factor, or if there are no default columns. A
            single default column raises too, because it is probably a label.
    """
    source, columns = getattr(dataset, "name", "the data set"), getattr(dataset, "columns", None)
    given = getattr(dataset, "factors", None)
    if names is None and given is not None:
        factors = torch.as_tensor(given)
        return factors, [str(index) for index in range(factors.shape[-1])]
    if columns is None:
        raise ValueError(
            f"'{source}' has no factors of variation: set dataset.factors to integers of shape (num, num_factors)"
        )
    known = f"its columns besides the images are {', '.join(columns.column_names) or 'none'}"
    unknown = [column for column in names or () if column not in columns.column_names]
    if unknown:
        raise ValueError(f"'{source}' has no factor '{unknown[0]}'; {known}")
    found: dict[str, np.ndarray] = {}
    for column in columns.column_names if names is None else names:
        if names is not None or _is_discrete(columns.features[column]):
            values = _read_column(columns, column, source)
            found |= {column: values} if values.ndim == 1 else {f"{column}.{i}": v for i, v in enumerate(values.T)}
    indices = {column: np.unique(values, return_inverse=True)[1] for column, values in found.items()}
    if names is None:
        # a constant is not a factor, and neither is an index of the rows
        indices = {column: values for column, values in indices.items() if 0 < values.max() < len(values) - 1}
        if len(indices) < 2:
            raise ValueError(
                f"'{source}' has no columns that are certain to be factors of variation, not labels: {known}; name "
                "the factors with --factors or factors=[...]"
            )
    return torch.from_numpy(np.stack(list(indices.values()), 1)), list(indices)


def _is_discrete(feature: Any) -> bool:
    """Whether a column holds integers or classes, or lists of them."""
    kind = str(getattr(getattr(feature, "feature", feature), "dtype", ""))
    return kind.startswith(("int", "uint", "bool"))


def _read_column(columns: Any, column: str, source: str) -> np.ndarray:
    """(num,) values or, for lists, (num, length)."""
    cells = columns[column][:]
    if any(cell is None for cell in cells):
        raise ValueError(f"column '{column}' of '{source}' cannot be a factor: it has rows without a value")
    try:
        values = np.array(cells)
    except ValueError as error:
        raise ValueError(
            f"column '{column}' of '{source}' cannot be a factor: its lists differ in length ({error})"
        ) from error
    if values.dtype.kind not in "biufU" or values.ndim > 2:
        raise ValueError(f"column '{column}' of '{source}' cannot be a factor: it holds neither numbers nor strings")
    return values
