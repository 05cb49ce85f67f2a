"""`StackGuard`: finds the models of a stack that diverge."""

__all__ = ["StackGuard"]

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..training.divergence import MEMORY, NUM_WARMUP_LOSSES


class StackGuard:
    """Finds the models of a stack whose losses are nan, infinite or too high, as `DivergenceGuard` does for one model.

    Everything stays on the device, so that no step waits for a GPU.

    Args:
        threshold: of [`DivergenceGuard`].
        num_models: k, the number of models.
        device: of the losses.

    Attributes:
        diverged: (k,), whether a bad value was observed.
    """

    def __init__(self, threshold: float, num_models: int, device: torch.device):
        self.threshold = threshold
        self.diverged = torch.zeros(num_models, dtype=torch.bool, device=device)
        self.num_losses = 0
        self._running = torch.zeros(2, num_models, device=device)  # mean of the loss, and its absolute deviation

    @torch.no_grad()
    def observe(self, losses: Tensor, terms: dict[str, Tensor]):
        """Check the losses, (k,), of a step, and those of their terms that are scalars, (k,) each."""
        scalars = [term for term in terms.values() if term.dim() == 1]
        values = torch.stack([value.detach().float() for value in (*scalars, losses)])
        fine = (values - values == 0).all(0)  # inf - inf is nan too
        if self.threshold:
            loss, (mean, deviation) = values[-1], self._running
            excess = loss - mean
            if self.num_losses >= NUM_WARMUP_LOSSES:
                fine &= excess <= torch.maximum(self.threshold * deviation, mean.abs())
            mean = torch.lerp(loss, mean, MEMORY) if self.num_losses else loss
            updated = torch.stack([mean, torch.lerp(excess.abs(), deviation, MEMORY)])
            self._running = torch.where(fine, updated, self._running)
        self.diverged |= ~fine
        self.num_losses += 1

    def keep(self, places: Sequence[int]):
        """Forget all models but those at these places of the stack."""
        self.diverged, self._running = self.diverged[list(places)], self._running[:, list(places)]

    def state_dict(self) -> dict[str, Any]:
        """The state after a step in which no model has diverged."""
        return {"running": self._running, "num_losses": self.num_losses}

    def load_state_dict(self, state: dict[str, Any]):
        """Restore a state that `state_dict` returned."""
        self._running, self.num_losses = state["running"].to(self.diverged.device), state["num_losses"]
        self.diverged = self.diverged.new_zeros(self._running.shape[1])
