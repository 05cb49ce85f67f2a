"""Count, mean and covariance of rows that arrive in batches: streamed in float64, and merged exactly."""

__all__ = ["Moments", "add_gram"]

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...core.argument_checks import describe
from ...core.distributed import gather_rows, num_processes, sum_over_processes
from .checks import check_finite

BLOCK = 1024  # rows that are folded together, unless there are more dimensions than that


@dataclass
class _Folded:
    """Statistics of rows that are no longer stored.

    Args:
        count: number of rows.
        mean: (dim,).
        scatter: (dim, dim) sum of outer products about the mean. Only its upper triangle is valid.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    def copy(self) -> "_Folded":
        return replace(self, scatter=self.scatter.clone())  # only the scatter matrix is changed in place

    def add_count_and_mean(self, count: int, mean: Tensor) -> tuple[Tensor, float]:
        """Add `count` rows with this mean to count and mean.

        Returns:
            The difference of the means before, and the weight of its outer product in the scatter of all rows (Chan,
            Golub & LeVeque, 1979).
        """
        total, offset = self.count + count, mean - self.mean
        weight = self.count * count / total
        self.mean, self.count = self.mean + offset * (count / total), total
        return offset, weight


class Moments:
    """Mean and covariance of (num, dim) rows, which are added in batches and not stored.

    Rows are folded into the statistics in blocks of a fixed size, so the result does not depend on the batch size.
    Rows of the last, incomplete block are stored. With no more rows than dimensions, they are a low-rank factor of
    the covariance, and no (dim, dim) matrix is allocated.

    Statistics are merged by the formula of Chan, Golub & LeVeque (1979): merged parts equal the whole up to the
    rounding of float64.

    Args:
        rows: first rows to add.
    """

    def __init__(self, rows: Tensor | None = None):
        self._folded: _Folded | None = None
        self._buffer: Tensor | None = None
        self._num_waiting = 0  # rows at the start of the buffer that are not folded yet
        if rows is not None:
            self.add(rows)

    @classmethod
    def from_statistics(cls, mean: Any, covariance: Any, count: int) -> "Moments":
        """Moments from known statistics, such as `mu` and `sigma` of a published file.

        Args:
            mean: (dim,) array or tensor.
            covariance: (dim, dim) array or tensor, normalised by count - 1.
            count: number of rows that they were computed from.

        Raises:
            ValueError: if the shapes do not match, values are not finite, or count is below 2.
        """
        mean, covariance = (torch.as_tensor(values, dtype=torch.float64) for values in (mean, covariance))
        if mean.dim() != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(
                f"mean must be (dim,) and covariance (dim, dim), got {tuple(mean.shape)} and {tuple(covariance.shape)}"
            )
        if count < 2:
            raise ValueError(f"count must be 2 or more, got {count}")
        for argument, values in (("mean", mean), ("covariance", covariance)):
            check_finite(f"{argument} of the moments", values)
        moments = cls()
        moments._folded = _Folded(int(count), mean.clone(), covariance * (count - 1))
        return moments

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._num_folded + self._num_waiting

    @property
    def dim(self) -> int | None:
        """Number of dimensions; None before the first rows."""
        if self._buffer is not None:
            return self._buffer.shape[1]
        return None if self._folded is None else len(self._folded.mean)

    @property
    def _num_folded(self) -> int:
        return 0 if self._folded is None else self._folded.count

    @property
    def _waiting(self) -> Tensor:
        """(num_waiting, dim) rows that are not folded yet."""
        if self._buffer is None:
            return torch.zeros(0, self.dim or 0, dtype=torch.float64)
        return self._buffer[: self._num_waiting]

    def check(self, rows: Tensor):
        """Raise ValueError if rows are not (num, dim), have another dim than earlier ones, or hold nan or infinity."""
        if not isinstance(rows, Tensor):
            raise ValueError(f"rows must be a torch.Tensor, (num, dim), got {describe(rows)}")
        if rows.dim() != 2 or (self.dim is not None and rows.shape[1] != self.dim):
            raise ValueError(
                f"rows must be (num, {self.dim if self.dim is not None else 'dim'}), got shape {tuple(rows.shape)}"
            )
        check_finite("rows of the moments", rows)

    def add(self, rows: Tensor) -> "Moments":
        """Add (num, dim) rows of any floating dtype. Returns this object.

        Raises:
            ValueError: if the rows have another dim than earlier ones, or hold nan or infinite values.
        """
        self.check(rows)
        rows = rows.detach().cpu() if rows.device.type == "mps" else rows.detach()  # mps has no float64
        block = max(BLOCK, rows.shape[1])
        while len(rows):
            if self._buffer is not None and self._num_waiting == block:
                self._folded, self._num_waiting = _fold(self._folded, self._buffer), 0
            num = min(len(rows), block - self._num_waiting)
            end = self._num_waiting + num
            buffer = self._grow_buffer(end + 1, block + 1, rows)  # `_fold` needs one row more
            buffer[self._num_waiting : end] = rows[:num]
            self._num_waiting, rows = end, rows[num:]
        return self

    def merge(self, other: "Moments") -> "Moments":
        """Add the rows of another object. Returns this object.

        Raises:
            ValueError: if the other object has another dim.
        """
        if None not in (self.dim, other.dim) and self.dim != other.dim:
            raise ValueError(f"moments of {self.dim} dimensions cannot be merged with moments of {other.dim}")
        if other._folded is not None:
            if self._folded is None:
                self._folded = other._folded.copy()
            else:
                offset, weight = self._folded.add_count_and_mean(other._folded.count, other._folded.mean)
                self._folded.scatter.add_(other._folded.scatter).addr_(offset, offset, alpha=weight)
        return self.add(other._waiting) if other._num_waiting else self

    def copy(self) -> "Moments":
        """An object with the same rows; adding to one does not change the other."""
        other = Moments()
        other._folded = None if self._folded is None else self._folded.copy()
        other._buffer = None if self._buffer is None else self._buffer.clone()
        other._num_waiting = self._num_waiting
        return other

    def reduce(self) -> "Moments":
        """Moments of the rows of all processes, on each process. In a single process, this object."""
        if num_processes() == 1:
            return self
        whole, dim = Moments(), int(gather_rows(torch.tensor([self.dim or 0])).max())
        num = self._num_folded
        mean = torch.zeros(dim, dtype=torch.float64) if self._folded is None else self._folded.mean
        count = sum_over_processes(torch.tensor(float(num), dtype=torch.float64, device=mean.device))
        if count:
            total_mean = sum_over_processes(num * mean) / count
            offset = mean - total_mean
            scatter = mean.new_zeros(dim, dim) if self._folded is None else self._folded.scatter
            scatter = sum_over_processes(scatter + num * torch.outer(offset, offset))
            whole._folded = _Folded(int(count), total_mean, scatter)
        rows = self._waiting if self._num_waiting else torch.zeros(0, dim, dtype=torch.float64)
        return whole.add(gather_rows(rows))

    def compute_statistics(self) -> tuple[int, Tensor, Tensor]:
        """Count, mean (dim,) and covariance (dim, dim), normalised by count - 1 as in all implementations of FID.

        Raises:
            ValueError: for fewer than 2 rows.
        """
        folded = None if self._folded is None else self._folded.copy()
        if self._buffer is not None and self._num_waiting:
            folded = _fold(folded, self._buffer[: self._num_waiting + 1].clone())
        if folded is None or folded.count < 2:
            raise _too_few(self.count)
        return folded.count, folded.mean, _symmetrise(folded.scatter).div_(folded.count - 1)

    def factorize_low_rank(self) -> tuple[Tensor, Tensor] | None:
        """Mean (dim,), and A (count, dim) with covariance A^T A; None if there are more rows than dimensions.

        Raises:
            ValueError: for fewer than 2 rows.
        """
        if self.count < 2:
            raise _too_few(self.count)
        rows = self._waiting
        if self._folded is not None or len(rows) > rows.shape[1]:
            return None
        mean = rows.mean(0)
        return mean, (rows - mean) / (len(rows) - 1) ** 0.5

    def _grow_buffer(self, min_rows: int, max_rows: int, like: Tensor) -> Tensor:
        """The buffer, with at least `min_rows` rows. It doubles, because small data sets never fill a block."""
        size = 0 if self._buffer is None else len(self._buffer)
        if self._buffer is None or size < min_rows:
            grown = like.new_empty(min(max(min_rows, 2 * size), max_rows), like.shape[1], dtype=torch.float64)
            if self._num_waiting:
                grown[: self._num_waiting] = self._waiting
            self._buffer = grown
        return self._buffer

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which `from_state_dict` builds an equal object."""
        state = {"rows": self._waiting.clone()} if self._num_waiting else {}
        if self._folded is not None:
            scatter = _symmetrise(self._folded.scatter)
            state |= {"count": torch.tensor(self._folded.count), "mean": self._folded.mean, "scatter": scatter}
        return state

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> "Moments":
        """Moments from the output of `state_dict`, which is not modified.

        Raises:
            ValueError: if tensors are missing, not finite, or their shapes do not fit together.
        """
        moments = cls()
        found = {name: (tensor.dtype, tensor.dim()) for name, tensor in state.items()}
        rows = {"rows": (torch.float64, 2)}
        folded = {"count": (torch.int64, 0), "mean": (torch.float64, 1), "scatter": (torch.float64, 2)}
        dims = {size for name in ("mean", "scatter") if name in state for size in state[name].shape}
        dims |= {tensor.shape[-1] for name, tensor in state.items() if name == "rows" and tensor.dim()}
        if found not in ({}, rows, folded, {**folded, **rows}) or len(dims) > 1:
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
            raise ValueError(f"expected the tensors of Moments.state_dict, got {shapes}")
        for name, tensor in state.items():
            check_finite(f"{name} of the moments", tensor)
        if "count" in state:
            moments._folded = _Folded(int(state["count"]), state["mean"], state["scatter"].clone())
        return moments.add(state["rows"]) if "rows" in state else moments


def _fold(folded: _Folded | None, rows: Tensor) -> _Folded:
    """Add rows to the statistics in place, and return the statistics.

    All but the last row are data. The last one is overwritten with the scaled offset of the means, so that a single
    product adds its outer product too. The data are overwritten as well.
    """
    values, last = rows[:-1], rows[-1]
    if folded is None:
        folded = _Folded(0, torch.zeros_like(last), last.new_zeros(len(last), len(last)))
    mean = values.mean(0)
    values -= mean
    offset, weight = folded.add_count_and_mean(len(values), mean)
    last.copy_(offset * weight**0.5)
    folded.scatter = add_gram(folded.scatter, rows)
    return folded


def _symmetrise(triangle: Tensor) -> Tensor:
    """The symmetric matrix with this upper triangle."""
    upper = triangle.triu()
    return upper.add_(upper.triu(1).T)


def add_gram(scatter: Tensor, rows: Tensor) -> Tensor:
    """scatter + rows^T rows, computed in place. On the CPU only the upper triangle, which is half of the work.

    Args:
        scatter: (dim, dim) float64.
        rows: (num, dim) float64.
    """
    if rows.device.type != "cpu":
        return scatter.addmm_(rows.T, rows)
    from scipy.linalg import blas

    # BLAS stores matrices by columns: it sees the transposes, and the lower triangle
    syrk = blas.dsyrk  # pyright: ignore[reportAttributeAccessIssue] (scipy loads the functions of BLAS by name)
    total = syrk(1.0, rows.numpy().T, 1.0, scatter.numpy().T, lower=True, overwrite_c=True)
    return torch.from_numpy(total.T)


def _too_few(count: int) -> ValueError:
    return ValueError(f"a covariance needs 2 or more images on each side, got {count}")
