"""Count, mean and covariance of rows that arrive in batches: float64, streamed, merged exactly."""

__all__ = ["Moments"]

import torch
from torch import Tensor

from .processes import all_reduce, gather_rows, num_processes


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
        self.folded, self.mean, self.scatter = 0, None, None  # count, (dim,), (dim, dim)
        self.waiting: list[Tensor] = []  # rows that are not folded yet
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
        return self.folded + sum(map(len, self.waiting))

    @property
    def dim(self) -> int | None:
        return len(self.mean) if self.mean is not None else self.waiting[0].shape[1] if self.waiting else None

    @property
    def block(self) -> int:
        return max(1024, self.dim or 0)

    def add(self, rows: Tensor) -> "Moments":
        """Add rows, (num, dim) of any floating dtype.

        Raises:
            ValueError: if they have another dim than those before, or hold nan or infinite values.
        """
        if rows.dim() != 2 or (self.dim is not None and rows.shape[1] != self.dim):
            raise ValueError(
                f"rows must be (num, {self.dim if self.dim is not None else 'dim'}), got shape {tuple(rows.shape)}"
            )
        if not rows.isfinite().all():
            raise ValueError("the features hold nan or infinite values: the images, or the network, hold them too")
        if len(rows):
            rows = rows.cpu() if rows.device.type == "mps" else rows  # which has no float64
            self.waiting.append(rows.detach().double().clone())
        if sum(map(len, self.waiting)) > self.block:
            *blocks, last = torch.cat(self.waiting).split(self.block)
            for block in blocks:
                self._merge(*statistics(block))
            self.waiting = [last.clone()]  # not a view, which would keep the whole
        return self

    def merge(self, other: "Moments") -> "Moments":
        """Add the rows that another object has seen."""
        if other.folded:
            self._merge(other.folded, other.mean, other.scatter.clone())
        for rows in other.waiting:
            self.add(rows)
        return self

    def reduce(self) -> "Moments":
        """The moments of all processes' rows together, on each of them; on one process, these."""
        if num_processes() == 1:
            return self
        whole, dim = Moments(), int(gather_rows(torch.tensor([self.dim or 0])).max())
        mean = self.mean if self.folded else torch.zeros(dim, dtype=torch.float64)
        count = all_reduce(torch.tensor(float(self.folded), dtype=torch.float64, device=mean.device))
        if count:
            whole.mean = all_reduce(self.folded * mean) / count
            offset = mean - whole.mean
            scatter = self.scatter if self.folded else torch.zeros(dim, dim, dtype=torch.float64, device=mean.device)
            whole.scatter = all_reduce(scatter + self.folded * torch.outer(offset, offset))
            whole.folded = int(count)
        rows = torch.cat(self.waiting) if self.waiting else torch.zeros(0, dim, dtype=torch.float64)
        return whole.add(gather_rows(rows))

    def totals(self) -> tuple[int, Tensor, Tensor]:
        """Count, mean (dim,) and covariance (dim, dim), with the unbiased normalisation that all FIDs use."""
        self.require(2)
        if not self.waiting:
            return self.folded, self.mean, self.scatter / (self.folded - 1)
        whole = Moments()
        if self.folded:
            whole._merge(self.folded, self.mean, self.scatter.clone())
        whole._merge(*statistics(torch.cat(self.waiting)))
        return whole.folded, whole.mean, whole.scatter / (whole.folded - 1)

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        """Mean, and A of shape (count, dim) with covariance A^T A, if there are fewer rows than dimensions."""
        self.require(2)
        if self.folded or self.count > self.dim:
            return None
        rows = torch.cat(self.waiting)
        mean = rows.mean(0)
        return mean, (rows - mean) / (len(rows) - 1) ** 0.5

    def require(self, least: int):
        if self.count < least:
            raise ValueError(f"a covariance needs {least} or more images on each side, got {self.count}")

    def _merge(self, count: int, mean: Tensor, scatter: Tensor):
        if not self.folded:
            self.folded, self.mean, self.scatter = count, mean, scatter
            return
        total, offset = self.folded + count, mean - self.mean
        self.scatter += scatter.addr_(offset, offset, alpha=self.folded * count / total)
        self.mean = self.mean + offset * (count / total)
        self.folded = total

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which `from_state_dict` makes the same object."""
        state = {"rows": torch.cat(self.waiting)} if self.waiting else {}
        if self.folded:
            state |= {"count": torch.tensor(self.folded), "mean": self.mean, "scatter": self.scatter}
        return state

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> "Moments":
        moments = cls()
        if "count" in state:
            moments.folded, moments.mean, moments.scatter = int(state["count"]), state["mean"], state["scatter"]
        return moments.add(state["rows"]) if "rows" in state else moments


def statistics(rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """Count, mean and scatter, the sum of outer products about the mean."""
    mean = rows.mean(0)
    centred = rows - mean
    if rows.device.type == "cpu":
        array = centred.numpy()
        return len(rows), mean, torch.from_numpy(array.T @ array)  # numpy sees the symmetry, and does half of the work
    return len(rows), mean, centred.T @ centred
