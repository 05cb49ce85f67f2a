"""Detects divergence before the optimizer steps, and restores the last good state with a smaller learning rate."""

__all__ = [
    "NUMERICAL_ERRORS",
    "DeviceDivergenceGuard",
    "DivergenceGuard",
    "HostDivergenceGuard",
    "make_divergence_guard",
]

from abc import ABC, abstractmethod
from copy import deepcopy
from math import isfinite, nan
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers.utils import logging

from .averaging import WeightAverage
from .state_checks import check_like, require

logger = logging.get_logger(__name__)

LEARNING_RATE_FACTOR = 0.1
NUMERICAL_ERRORS = (
    ArithmeticError,
    torch.linalg.LinAlgError,  # pyright: ignore[reportPrivateImportUsage] (documented, but not in __all__)
)
"""Errors of a forward pass that count as divergence, such as a matrix that is not positive definite."""

MEMORY = 0.98  # of the running mean and deviation of the loss, per step
NUM_WARMUP_LOSSES = 20  # losses before one can be too high


def make_divergence_guard(threshold: float, max_restarts: int, device: torch.device) -> "DivergenceGuard":
    """The guard that is fastest for a training device."""
    guard_class = HostDivergenceGuard if device.type == "cpu" else DeviceDivergenceGuard
    return guard_class(threshold, max_restarts)


class DivergenceGuard(ABC):
    """Detects nan, infinite and too high losses, bad gradients or weights and numerical errors, and recovers.

    Recovery restores the last good state of model, optimizer and weight average, and divides the learning rate by 10,
    as in the Pythae paper (arXiv:2206.08309, appendix D). A loss is too high if it exceeds its running mean by more
    than `threshold` running mean absolute deviations, and by more than the absolute value of the mean.

    For every forward pass call `observe_loss`, then once `observe_gradient` and `end_step` before the optimizer steps.

    Args:
        threshold: see above; 0 detects nan and infinite values only.
        max_restarts: number of recoveries before `recover` raises.

    Attributes:
        events: one dict per recovery: `step`, `term` and `restored_step`.
        names: names of the observed terms in the order of `first_bad`, then "loss" and "gradient".
        diverged: whether a bad value was observed since the last recovery; None before the first step.
        first_bad: for every name, whether it was bad in the first bad step.
        failure: a numerical error, or "weights", if one of them was the reason: its name and its description.
        running: running mean of the loss, and of its absolute deviation from that mean.
        num_losses: how many losses were observed.
    """

    diverged: bool | Tensor | None
    first_bad: list[bool] | Tensor | None
    running: list[float] | Tensor

    def __init__(self, threshold: float, max_restarts: int):
        self.threshold, self.max_restarts = threshold, max_restarts
        self.events: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.diverged = self.first_bad = None
        self.failure: tuple[str, str] | None = None
        self.running = [0.0, 0.0]
        self.num_losses = 0
        self._good_state: dict[str, Any] | None = None

    # Detection

    @torch.no_grad()
    def observe_loss(self, loss: Tensor, terms: dict[str, Tensor]):
        """Check the scalar loss and the scalar terms of one forward pass. Terms that are vectors are skipped."""
        scalars = {**{name: value for name, value in terms.items() if not value.dim()}, "loss": loss}
        self._observe(torch.stack([value.detach().float() for value in scalars.values()]))
        self.num_losses += 1
        self.names = [*scalars, "gradient"]  # terms first: a bad term makes the loss and the gradient bad too

    def observe_error(self, model: nn.Module, error: BaseException) -> Tensor:
        """Count a forward pass that raised as diverged. Returns a loss of nan, to be used in place of the missing one.

        Its gradient is nan for every parameter.
        """
        sums = [parameter.sum() for parameter in model.parameters() if parameter.requires_grad]
        loss = torch.stack(sums).sum() * nan
        self.observe_loss(loss, dict.fromkeys(self.names[:-2], loss.detach()))
        name = type(error).__name__.lstrip("_")
        self.failure = name, f"{name}: {' '.join(str(error).split()).rstrip('.')}"
        return loss

    @torch.no_grad()
    def check_weights(self, model: nn.Module, average: WeightAverage | None = None):
        """Set `diverged` if a weight, a buffer or the average is nan or infinite.

        A step can do this to them although its loss and gradient are finite.
        """
        values = [*model.state_dict().values(), *((average and average.values) or ())]
        bad = torch.stack([~value.isfinite().all() for value in values if value.is_floating_point()]).any().float()
        if dist.is_available() and dist.is_initialized():  # buffers differ between processes
            dist.all_reduce(bad, dist.ReduceOp.MAX)
        if bad and not self.diverged:
            self.diverged = True
            self.failure = "weights", "the weights are nan or infinite"

    @abstractmethod
    def _observe(self, values: Tensor):
        """Check the values of one forward pass, of which the loss is the last, and update the running mean."""

    @abstractmethod
    def observe_gradient(self, norm: Tensor):
        """Check the norm of the gradient."""

    @abstractmethod
    def end_step(self):
        """Set `diverged` if a bad value was observed since the last step."""

    def agree(self, device: torch.device):
        """Share `diverged` and `first_bad` with all processes, so that all recover if one diverges."""
        flags = [torch.as_tensor(flag, device=device).float().view(-1) for flag in (self.diverged, self.first_bad)]
        merged = torch.cat(flags)
        dist.all_reduce(merged, dist.ReduceOp.MAX)
        self._set_flags(merged[0], merged[1:] > 0)

    @abstractmethod
    def _set_flags(self, diverged: Tensor, first_bad: Tensor):
        """Set `diverged` and `first_bad` from tensors."""

    # Recovery

    def save_good_state(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, average: WeightAverage | None = None
    ):
        """Copy the state that a recovery restores."""
        state: dict[str, Any] = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        if average is not None:
            state["average"] = average.values
        self._good_state = {**deepcopy(state), "step": step, "num_events": len(self.events)}

    def recover(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        step: int,
        average: WeightAverage | None = None,
    ):
        """Restore the last good state in this process, with a tenth of the learning rate.

        Raises:
            FloatingPointError: after `max_restarts` recoveries, or if no good state was saved.
        """
        if self.failure is not None:
            term, observed = self.failure
        else:
            first_bad = torch.as_tensor(self.first_bad).tolist()
            term = next(name for name, bad in zip(self.names, first_bad, strict=True) if bad)
            observed = f"'{term}' is nan, infinite or far above its running mean"
        self.diverged = self.first_bad = self.failure = None
        if self.num_losses <= NUM_WARMUP_LOSSES:  # the running mean may have started from a bad first loss
            self.num_losses = 0
        learning_rate = max(group["lr"] for group in optimizer.param_groups)
        good = self._good_state
        if good is not None:
            model.load_state_dict(good["model"])
            optimizer.load_state_dict(deepcopy(good["optimizer"]))
            if average is not None:
                average.values = deepcopy(good["average"])
        observed = f"training diverged at step {step}: {observed}"
        if good is None or len(self.events) >= self.max_restarts:
            raise FloatingPointError(
                f"{observed}, after {len(self.events)} restarts. "
                + ("The model has the weights of the last good state. " if good is not None else "")
                + "Try a smaller learning_rate, a max_grad_norm, or float32; divergence_restarts allows more restarts"
            )
        # the good state has the learning rate of the time when it was saved
        num_reductions = len(self.events) + 1 - good["num_events"]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * LEARNING_RATE_FACTOR**num_reductions
        if hasattr(scheduler, "base_lrs"):
            scheduler.base_lrs = [base * LEARNING_RATE_FACTOR for base in scheduler.base_lrs]
        self.events.append({"step": step, "term": term, "restored_step": good["step"]})
        logger.warning(
            f"{observed}. Restored the state of step {good['step']}; "
            f"learning rate {learning_rate:g} -> {learning_rate * LEARNING_RATE_FACTOR:g} "
            f"(restart {len(self.events)} of {self.max_restarts})"
        )

    # Resuming

    def state_dict(self) -> dict[str, Any]:
        """State of this process, whose running mean covers only the batches of this process."""
        return {"running": self.running, "num_losses": self.num_losses, "events": self.events}

    def load_state_dict(self, state: dict[str, Any]):
        """Restore a state that either subclass saved.

        Raises:
            ValueError: if it is not such a state.
        """
        require(isinstance(state, dict), "the guard's state", "a dict", state)
        running, num_losses, events = (cast(Any, state.get(name)) for name in ("running", "num_losses", "events"))
        numbers = running.tolist() if isinstance(running, Tensor) else running
        check_like(numbers, [0.0, 0.0], "the guard's running mean")
        require(type(num_losses) is int and num_losses >= 0, "the guard's num_losses", "0 or more", num_losses)
        require(isinstance(events, list), "the guard's events", "a list", events)
        for event in events:
            check_like(event, {"step": 0, "term": "", "restored_step": 0}, "an event of the guard")
        self.running, self.num_losses, self.events = running, num_losses, events


class HostDivergenceGuard(DivergenceGuard):
    """Compares Python floats, which is fastest on the CPU."""

    def __init__(self, threshold: float, max_restarts: int):
        super().__init__(threshold, max_restarts)
        self._fine: list[bool] | None = None  # by name without the gradient, since the last step
        self._gradient_fine = True

    def _observe(self, values: Tensor):
        numbers = values.tolist()
        mean, deviation = map(float, self.running)  # tensors, if a DeviceDivergenceGuard saved them
        fine, loss = [isfinite(number) for number in numbers], numbers[-1]
        if self.threshold:
            excess = loss - mean
            if self.num_losses >= NUM_WARMUP_LOSSES:
                fine[-1] &= excess <= max(self.threshold * deviation, abs(mean))
            if all(fine):
                mean = loss + MEMORY * (mean - loss) if self.num_losses else loss
                self.running = [mean, abs(excess) + MEMORY * (deviation - abs(excess))]
        if self._fine is None or len(self._fine) != len(fine):  # the terms are unknown if the first pass raised
            self._fine = fine
        else:
            self._fine = [a and b for a, b in zip(self._fine, fine, strict=True)]

    def observe_gradient(self, norm: Tensor):
        self._gradient_fine = isfinite(norm)

    def end_step(self):
        if self._fine is None:  # a custom compute_loss observed nothing
            return
        bad = [not fine for fine in (*self._fine, self._gradient_fine)]
        if not self.diverged:
            self.diverged, self.first_bad = any(bad), bad
        self._fine, self._gradient_fine = None, True

    def _set_flags(self, diverged: Tensor, first_bad: Tensor):
        self.diverged, self.first_bad = bool(diverged), first_bad.tolist()


class DeviceDivergenceGuard(DivergenceGuard):
    """Compares tensors on their device, so that no step waits for a GPU.

    A fused optimizer reads `diverged` on the device and skips its step; the host reads it only when it logs, saves or
    evaluates anyway.
    """

    diverged: Tensor | None
    first_bad: Tensor | None

    def __init__(self, threshold: float, max_restarts: int):
        super().__init__(threshold, max_restarts)
        self._fine: Tensor | None = None  # by name without the gradient, since the last step
        self._gradient_fine: Tensor | None = None

    def _observe(self, values: Tensor):
        running = torch.as_tensor(self.running, dtype=values.dtype, device=values.device)  # a list after resuming
        fine = _is_finite(values)
        if self.threshold:
            loss, (mean, deviation) = values[-1], running
            excess = loss - mean
            if self.num_losses >= NUM_WARMUP_LOSSES:
                fine[-1] &= excess <= torch.maximum(self.threshold * deviation, mean.abs())
            mean = torch.lerp(loss, mean, MEMORY) if self.num_losses else loss
            updated = torch.stack([mean, torch.lerp(excess.abs(), deviation, MEMORY)])
            running = torch.where(fine.all(), updated, running)
        self.running = running
        self._fine = fine if self._fine is None or len(self._fine) != len(fine) else self._fine & fine

    @torch.no_grad()
    def observe_gradient(self, norm: Tensor):
        self._gradient_fine = _is_finite(norm).view(1)

    @torch.no_grad()
    def end_step(self):
        if self._fine is None:  # a custom compute_loss observed nothing
            return
        gradient_fine = self._fine.new_ones(1) if self._gradient_fine is None else self._gradient_fine
        bad = ~torch.cat([self._fine, gradient_fine])
        if self.diverged is None or self.first_bad is None or len(self.first_bad) != len(bad):
            self.diverged, self.first_bad = self._fine.new_zeros((), dtype=torch.float32), torch.zeros_like(bad)
        self.first_bad = torch.where(self.diverged > 0, self.first_bad, bad)
        self.diverged = torch.maximum(self.diverged, bad.any().float())
        self._fine = self._gradient_fine = None

    def _set_flags(self, diverged: Tensor, first_bad: Tensor):
        self.diverged, self.first_bad = diverged, first_bad


def _is_finite(values: Tensor) -> Tensor:
    """As `torch.isfinite`, with fewer kernels: inf - inf is nan too."""
    return values - values == 0
