"""Factors of variation from the columns of a data set, as dSprites and Shapes3D have them on the Hub."""

__all__ = ["factors_of"]

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def factors_of(dataset, names: Sequence[str] | None = None) -> tuple[Tensor, list[str]]:
    """(num, num_factors) integers, one for each value of a factor, and what the factors are called.

    Args:
        dataset: what [`load_images`] gives, or anything with such a tensor as `factors`.
        names: columns that are factors, of numbers or words; a column of lists is as many factors as the lists are
            long. By default `dataset.factors`, else all columns of integers and classes that have more than one value
            and fewer than there are rows.

    Raises:
        ValueError: if there are no such columns, or by default fewer than two: a single one is mostly a label.
    """
    name, columns = getattr(dataset, "name", "the data set"), getattr(dataset, "columns", None)
    given = getattr(dataset, "factors", None)
    if names is None and given is not None:
        factors = torch.as_tensor(given)
        return factors, [str(index) for index in range(factors.shape[-1])]
    if columns is None:
        raise ValueError(
            f"'{name}' has no factors of variation: set dataset.factors to integers of shape (num, num_factors)"
        )
    known = f"its columns beside the images are {', '.join(columns.column_names) or 'none'}"
    unknown = [column for column in names or () if column not in columns.column_names]
    if unknown:
        raise ValueError(f"'{name}' has no factor '{unknown[0]}'; {known}")
    found: dict[str, np.ndarray] = {}
    for column in columns.column_names if names is None else names:
        if names is not None or _is_discrete(columns.features[column]):
            values = _values(columns, column, name)
            found |= {column: values} if values.ndim == 1 else {f"{column}.{i}": v for i, v in enumerate(values.T)}
    indices = {column: np.unique(values, return_inverse=True)[1] for column, values in found.items()}
    if names is None:  # an index of the rows is no factor, and neither is what does not vary
        indices = {column: values for column, values in indices.items() if 0 < values.max() < len(values) - 1}
        if len(indices) < 2:
            raise ValueError(
                f"'{name}' has no factors of variation that can be told from labels: {known}; "
                "name those that are (--factors, or factors=[...])"
            )
    return torch.from_numpy(np.stack(list(indices.values()), 1)), list(indices)


def _is_discrete(feature) -> bool:
    """Whether a column holds integers or classes, or lists of them."""
    kind = str(getattr(getattr(feature, "feature", feature), "dtype", ""))
    return kind.startswith(("int", "uint", "bool"))


def _values(columns, column: str, name: str) -> np.ndarray:
    """(num,) or, of lists, (num, length)."""
    cells = columns[column][:]
    if any(cell is None for cell in cells):
        raise ValueError(f"the column '{column}' of '{name}' has rows without a value: it cannot be a factor")
    try:
        values = np.array(cells)
    except ValueError as error:
        raise ValueError(f"the column '{column}' of '{name}' has lists of unlike length ({error})") from error
    if values.dtype.kind not in "biufU" or values.ndim > 2:
        raise ValueError(f"the column '{column}' of '{name}' holds neither numbers nor words: it cannot be a factor")
    return values
