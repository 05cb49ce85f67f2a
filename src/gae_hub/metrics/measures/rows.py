"""Storage of the rows that a measure receives."""

__all__ = ["RowStore", "Rows"]

from typing import Any, Protocol, Self

import torch
from torch import Tensor

from ...core.distributed import gather_rows

_DTYPES = (torch.float32, torch.float64, torch.int64)


class RowStore(Protocol):
    """Interface for one side of a measure's input: [`Rows`] stores all rows, [`Moments`] their statistics."""

    @property
    def count(self) -> int: ...

    def check(self, rows: Tensor): ...

    def add(self, rows: Tensor) -> Self: ...

    def merge(self, other: Any) -> Self: ...

    def reduce(self) -> Self: ...

    def copy(self) -> Self: ...


class Rows:
    """Rows that arrive in batches and are all stored, for measures that need more than running sums.

    Args:
        rows: first rows, (num, ...).
    """

    def __init__(self, rows: Tensor | None = None):
        self.parts: list[Tensor] = [] if rows is None else [rows]

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(map(len, self.parts))

    def check(self, rows: Tensor):
        """Raise ValueError if (num, ...) rows have another shape than earlier ones."""
        if self.parts and rows.shape[1:] != self.parts[0].shape[1:]:
            raise ValueError(
                f"all rows must have one shape, got {tuple(rows.shape[1:])} after {tuple(self.parts[0].shape[1:])}"
            )

    def add(self, rows: Tensor) -> "Rows":
        """Add (num, ...) rows. Returns this object.

        Raises:
            ValueError: if the rows have another shape than earlier ones.
        """
        self.check(rows)
        self.parts.append(rows.detach())
        return self

    def copy(self) -> "Rows":
        """An object with the same rows; adding to one does not change the other."""
        other = Rows()
        other.parts = list(self.parts)
        return other

    def merge(self, other: "Rows") -> "Rows":
        """Add the rows of another object. Returns this object."""
        for rows in list(other.parts):  # a copy, because `other` may be this object
            self.add(rows)
        return self

    def reduce(self) -> "Rows":
        """Rows of all processes, on each process. Some processes may have no rows."""
        own = self.to_tensor()
        known = torch.tensor([[own.dim(), _DTYPES.index(own.dtype)]] if self.parts else [[0, 0]])
        num_axes, dtype = gather_rows(known).amax(0).tolist()
        if not num_axes:
            return self
        empty = torch.zeros(0, *[0] * (num_axes - 1), dtype=_DTYPES[dtype])
        return Rows(gather_rows(own if self.parts else empty))

    def to_tensor(self) -> Tensor:
        """(num, ...) all rows; (0,) if there are none."""
        return torch.cat(self.parts) if self.parts else torch.zeros(0)
