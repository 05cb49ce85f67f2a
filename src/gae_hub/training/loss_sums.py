"""Running means of loss terms, summed on the device so that no training step waits for it."""

__all__ = ["LossSums"]

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class LossSums:
    """Weighted sums of named scalars or vectors, kept on their device until `pop_means`."""

    def __init__(self):
        self.count = 0
        self._sums: dict[str, Tensor] = {}

    def clear(self):
        """Set all sums to zero."""
        self._sums.clear()
        self.count = 0

    def add(self, terms: dict[str, Tensor], count: int):
        """Add the terms of one batch, each with weight `count`, the number of its examples."""
        for name, value in terms.items():
            if name not in self._sums:
                dtype = torch.float32 if value.device.type == "mps" else torch.float64  # MPS has no float64
                self._sums[name] = torch.zeros_like(value, dtype=dtype, requires_grad=False)
        if count:
            sums, values = [self._sums[name] for name in terms], [value.detach() for value in terms.values()]
            # one call for all terms
            torch._foreach_add_(sums, values, alpha=count)  # pyright: ignore[reportPrivateImportUsage] (no public one)
        self.count += count

    def state_dict(self) -> dict[str, Any]:
        """The sums, to continue them later."""
        return {"count": self.count, "sums": dict(self._sums)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device):
        """Continue sums that `state_dict` returned."""
        self.count = state["count"]
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}

    def pop_means(self) -> dict[str, float | list[float]]:
        """Means over all examples of all processes, by name, and clear the sums. Empty if nothing was added."""
        if not self._sums:
            return {}
        sums = torch.cat([value.flatten() for value in self._sums.values()])
        totals = torch.cat([sums, sums.new_tensor([self.count])])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(totals)
        lengths = {name: value.numel() if value.dim() else None for name, value in self._sums.items()}
        self.clear()
        means = iter((totals[:-1] / totals[-1]).tolist())
        return {
            name: next(means) if length is None else [next(means) for _ in range(length)]
            for name, length in lengths.items()
        }
