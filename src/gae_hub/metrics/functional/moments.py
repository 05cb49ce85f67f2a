"""Count, mean and covariance of rows that arrive in batches: float64, streamed, merged exactly."""

__all__ = ["Moments"]

import torch
from torch import Tensor

from ...core.distributed import gather_rows, num_processes, sum_over_processes

BLOCK = 1024  # rows that are folded at once, or as many as there are dimensions


class Moments:
    """Mean and covariance of (num, dim) rows, which are added a batch at a time and not kept.

    Rows are folded in blocks of a fixed size, so that the batch size does not change a bit of the result. Up to one
    block, they are kept as they are: with fewer rows than dimensions these are the covariance's low-rank factor, and
    no (dim, dim) matrix is made.

    Sums are merged by the formula of Chan, Golub & LeVeque (1979), which is exact: parts give what the whole gives,
    up to float64's rounding.

    Args:
        rows: the first rows, if there are any yet.
    """

    def __init__(self, rows: Tensor | None = None):
        self.folded, self.mean = 0, None  # count, (dim,)
        self.scatter = None  # (dim, dim), the sum of outer products about the mean: its upper triangle only
        self.kept, self.buffer = 0, None  # rows that are not folded yet are the first of the buffer's
        if rows is not None:
            self.add(rows)

    @classmethod
    def from_statistics(cls, mean, covariance, count: int) -> "Moments":
        """Moments that somebody else has computed, such as `mu` and `sigma` of a published file.

        Args:
            mean: (dim,).
            covariance: (dim, dim), normalised by count - 1.
            count: rows that they come from.
        """
        mean, covariance = (torch.as_tensor(t, dtype=torch.float64) for t in (mean, covariance))
        if mean.dim() != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(
                f"mean must be (dim,) and covariance (dim, dim), got {tuple(mean.shape)} and {tuple(covariance.shape)}"
            )
        if count < 2:
            raise ValueError(f"count must be 2 or more, got {count}")
        moments = cls()
        moments.folded, moments.mean, moments.scatter = int(count), mean.clone(), covariance * (count - 1)
        return moments

    @property
    def count(self) -> int:
        return self.folded + self.kept

    @property
    def dim(self) -> int | None:
        return self.buffer.shape[1] if self.buffer is not None else None if self.mean is None else len(self.mean)

    @property
    def waiting(self) -> Tensor:
        """(kept, dim) rows that are not folded yet."""
        return torch.zeros(0, self.dim or 0, dtype=torch.float64) if self.buffer is None else self.buffer[: self.kept]

    def add(self, rows: Tensor) -> "Moments":
        """Add rows, (num, dim) of any floating dtype.

        Raises:
            ValueError: if they have another dim than those before, or hold nan or infinite values.
        """
        if rows.dim() != 2 or (self.dim is not None and rows.shape[1] != self.dim):
            raise ValueError(
                f"rows must be (num, {self.dim if self.dim is not None else 'dim'}), got shape {tuple(rows.shape)}"
            )
        if not (rows.sum().isfinite() or rows.isfinite().all()):  # a finite sum is of finite values, and sooner there
            raise ValueError("the features hold nan or infinite values: the images, or the network, hold them too")
        rows = rows.detach().cpu() if rows.device.type == "mps" else rows.detach()  # mps has no float64
        block = max(BLOCK, rows.shape[1])
        while len(rows):
            if self.kept == block:
                self._fold(self.buffer)
                self.kept = 0
            num = min(len(rows), block - self.kept)
            self._make_room(self.kept + num + 1, block + 1, rows)
            self.buffer[self.kept : self.kept + num] = rows[:num]
            self.kept, rows = self.kept + num, rows[num:]
        return self

    def merge(self, other: "Moments") -> "Moments":
        """Add the rows that another object has seen."""
        if other.folded and not self.folded:
            self.folded, self.mean, self.scatter = other.folded, other.mean, other.scatter.clone()
        elif other.folded:
            offset, share = self._join(other.folded, other.mean)
            self.scatter.add_(other.scatter).addr_(offset, offset, alpha=share)
        return self.add(other.waiting) if other.kept else self

    def reduce(self) -> "Moments":
        """The moments of all processes' rows together, on each of them; on one process, these."""
        if num_processes() == 1:
            return self
        whole, dim = Moments(), int(gather_rows(torch.tensor([self.dim or 0])).max())
        mean = self.mean if self.folded else torch.zeros(dim, dtype=torch.float64)
        count = sum_over_processes(torch.tensor(float(self.folded), dtype=torch.float64, device=mean.device))
        if count:
            whole.mean = sum_over_processes(self.folded * mean) / count
            offset = mean - whole.mean
            scatter = self.scatter if self.folded else torch.zeros(dim, dim, dtype=torch.float64, device=mean.device)
            whole.scatter = sum_over_processes(scatter + self.folded * torch.outer(offset, offset))
            whole.folded = int(count)
        rows = self.waiting if self.kept else torch.zeros(0, dim, dtype=torch.float64)
        return whole.add(gather_rows(rows))

    def totals(self) -> tuple[int, Tensor, Tensor]:
        """Count, mean (dim,) and covariance (dim, dim), with the unbiased normalisation that all FIDs use."""
        self.require(2)
        whole = Moments()
        whole.folded, whole.mean = self.folded, self.mean
        whole.scatter = None if self.scatter is None else self.scatter.clone()
        if self.kept:
            whole._fold(self.buffer[: self.kept + 1].clone())
        return whole.folded, whole.mean, symmetric(whole.scatter).div_(whole.folded - 1)

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        """Mean, and A of shape (count, dim) with covariance A^T A, if there are fewer rows than dimensions."""
        self.require(2)
        if self.folded or self.count > self.dim:
            return None
        rows = self.waiting
        mean = rows.mean(0)
        return mean, (rows - mean) / (len(rows) - 1) ** 0.5

    def require(self, least: int):
        if self.count < least:
            raise ValueError(f"a covariance needs {least} or more images on each side, got {self.count}")

    def _make_room(self, least: int, most: int, like: Tensor):
        """A buffer of so many rows: it grows by doubling, as not everybody fills a block."""
        size = 0 if self.buffer is None else len(self.buffer)
        if size < least:
            grown = like.new_empty(min(max(least, 2 * size), most), like.shape[1], dtype=torch.float64)
            if self.kept:
                grown[: self.kept] = self.waiting
            self.buffer = grown

    def _fold(self, rows: Tensor):
        """Take rows into mean and scatter. They are overwritten, and the last is none: it is room for the offset of
        the means, whose outer product is then one of the sum's."""
        values, room = rows[:-1], rows[-1]
        if not self.folded:
            self.mean = torch.zeros_like(room)
            self.scatter = room.new_zeros(len(room), len(room))
        mean = values.mean(0)
        values -= mean
        offset, share = self._join(len(values), mean)
        room.copy_(offset * share**0.5)
        self.scatter = plus_gram(self.scatter, rows)

    def _join(self, count: int, mean: Tensor) -> tuple[Tensor, float]:
        """Move count and mean as `count` more rows with a mean ask, and give the offset of the means with the weight
        that its outer product has in the scatter of all rows."""
        total, offset = self.folded + count, mean - self.mean
        share = self.folded * count / total
        self.mean, self.folded = self.mean + offset * (count / total), total
        return offset, share

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which `from_state_dict` makes the same object."""
        state = {"rows": self.waiting.clone()} if self.kept else {}
        if self.folded:
            state |= {"count": torch.tensor(self.folded), "mean": self.mean, "scatter": symmetric(self.scatter)}
        return state

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> "Moments":
        moments = cls()
        if "count" in state:
            moments.folded, moments.mean = int(state["count"]), state["mean"]
            moments.scatter = state["scatter"].clone()  # it is added to in its place
        return moments.add(state["rows"]) if "rows" in state else moments


def symmetric(triangle: Tensor) -> Tensor:
    """The symmetric matrix with this upper triangle."""
    upper = triangle.triu()
    return upper.add_(upper.triu(1).T)


def plus_gram(scatter: Tensor, rows: Tensor) -> Tensor:
    """scatter + rows^T rows, in its place; on the CPU the upper triangle only, which is half of the work."""
    if rows.device.type != "cpu":
        return scatter.addmm_(rows.T, rows)
    from scipy.linalg.blas import dsyrk

    # BLAS counts by columns: it sees the transposes, and the lower triangle
    total = dsyrk(1.0, rows.numpy().T, 1.0, scatter.numpy().T, lower=True, overwrite_c=True)
    return torch.from_numpy(total.T)
