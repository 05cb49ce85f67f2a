"""What to do when training diverges: see it before the optimizer step, go back, and go on with a smaller step."""

__all__ = ["DivergenceGuard", "GuardCallback"]

from copy import deepcopy
from math import isfinite
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers.trainer_utils import SaveStrategy
from transformers.utils import logging

from .callbacks import ServingCallback

logger = logging.get_logger(__name__)

LEARNING_RATE_FACTOR = 0.1
_MEMORY = 0.98  # of the running mean and deviation of the loss, per step
_LEARNING = 20  # steps before a loss can be out of line


class DivergenceGuard:
    """Sees a term, or the gradient, that is nan or infinite, and a loss that is far above where it was; then restores
    the last good state of model and optimizer, and divides the learning rate by 10 (as the Pythae paper does,
    arXiv:2206.08309, appendix D).

    A loss is out of line if it is above its running mean by `threshold` running mean absolute deviations, and by at
    least the mean itself. On a GPU all of this stays there: with a fused optimizer the step is skipped on the device,
    and the host looks only when it reads the log, saves or evaluates. On processors plain numbers are faster.

    Args:
        threshold: see above; 0 for nan and infinite values only.
        restarts: how often to go back before giving up.
        on_host: whether to look at numbers at once, or at tensors where they are.
    """

    def __init__(self, threshold: float, restarts: int, on_host: bool = True):
        self.threshold, self.restarts, self.on_host = threshold, restarts, on_host
        self.events: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.flag = self.first = self.fine = self.gradient = None
        self.running = [0.0, 0.0]  # the loss's mean, and its mean absolute deviation from it
        self.seen = 0  # how many losses
        self.good: dict[str, Any] | None = None

    # Seeing

    @torch.no_grad()
    def see(self, loss: Tensor, terms: dict[str, Tensor]):
        """Note the loss and the terms of one forward pass."""
        scalars = {**{name: value for name, value in terms.items() if not value.dim()}, "loss": loss}
        values = torch.stack([value.detach().float() for value in scalars.values()])
        (self._see_numbers if self.on_host else self._see_tensors)(values)
        self.seen += 1
        # a term that is bad makes the loss bad: it is named first
        self.names = [*scalars, "gradient"]

    def _see_numbers(self, values: Tensor):
        numbers, (mean, deviation) = values.tolist(), map(float, self.running)  # of a checkpoint: tensors, maybe
        fine, loss = [isfinite(number) for number in numbers], numbers[-1]
        if self.threshold:
            excess = loss - mean
            if self.seen >= _LEARNING:
                fine[-1] &= excess <= max(self.threshold * deviation, abs(mean))
            if all(fine):
                mean = loss + _MEMORY * (mean - loss) if self.seen else loss
                self.running = [mean, abs(excess) + _MEMORY * (deviation - abs(excess))]
        self.fine = fine if self.fine is None else [a and b for a, b in zip(self.fine, fine, strict=True)]

    def _see_tensors(self, values: Tensor):
        self.running = torch.as_tensor(self.running, dtype=values.dtype, device=values.device)
        fine = finite(values)
        if self.threshold:
            loss, (mean, deviation) = values[-1], self.running
            excess = loss - mean
            if self.seen >= _LEARNING:
                fine[-1] &= excess <= torch.maximum(self.threshold * deviation, mean.abs())
            mean = torch.lerp(loss, mean, _MEMORY) if self.seen else loss
            new = torch.stack([mean, torch.lerp(excess.abs(), deviation, _MEMORY)])
            self.running = torch.where(fine.all(), new, self.running)
        self.fine = fine if self.fine is None else self.fine & fine

    @torch.no_grad()
    def see_gradient(self, norm: Tensor):
        """Note the gradient's norm."""
        self.gradient = isfinite(norm) if self.on_host else finite(norm)

    @torch.no_grad()
    def conclude(self):
        """Raise the flag if something was bad since the last optimizer step."""
        if self.fine is None:  # nothing was seen, by a compute_loss of one's own
            return
        if self.on_host:
            bad = [not fine for fine in (*self.fine, self.gradient is None or self.gradient)]
            if not self.flag:
                self.flag, self.first = any(bad), bad
        else:
            gradient = self.fine.new_ones(1) if self.gradient is None else self.gradient.view(1)
            bad = ~torch.cat([self.fine, gradient])
            if self.flag is None or len(self.first) != len(bad):
                self.flag, self.first = self.fine.new_zeros((), dtype=torch.float32), torch.zeros_like(bad)
            self.first = torch.where(self.flag > 0, self.first, bad)
            self.flag = torch.maximum(self.flag, bad.any().float())
        self.fine = self.gradient = None

    def agree(self, device: torch.device):
        """All processes know what one has seen."""
        seen = torch.cat([torch.as_tensor(value, device=device).float().view(-1) for value in (self.flag, self.first)])
        dist.all_reduce(seen, dist.ReduceOp.MAX)
        self.flag, self.first = seen[0], seen[1:] > 0
        if self.on_host:
            self.flag, self.first = bool(self.flag), self.first.tolist()

    # Going back

    def remember(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int):
        """This is a good state."""
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        self.good = {**deepcopy(state), "step": step, "events": len(self.events)}

    def recover(self, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler, step: int):
        """Put the last good state back, with a smaller learning rate, in this process.

        Raises:
            FloatingPointError: if that was done `restarts` times before, or no good state is known.
        """
        first = [name for name, bad in zip(self.names, torch.as_tensor(self.first).tolist(), strict=True) if bad]
        what = f"'{first[0]}'"
        self.flag = self.first = None
        if self.seen <= _LEARNING:  # the first loss may have been the bad one, and the mean have begun at 0
            self.seen = 0
        rate = max(group["lr"] for group in optimizer.param_groups)
        if self.good is not None:
            model.load_state_dict(self.good["model"])
            optimizer.load_state_dict(deepcopy(self.good["optimizer"]))
        if self.good is None or len(self.events) >= self.restarts:
            raise FloatingPointError(
                f"training diverged at step {step}: {what} is nan, infinite or far above where it was, "
                f"after {len(self.events)} restarts. "
                + ("The model has the last good state's weights. " if self.good is not None else "")
                + "Try a smaller learning_rate, a max_grad_norm, or float32; divergence_restarts allows more restarts"
            )
        for group in optimizer.param_groups:  # the good state has the rate of its own time
            group["lr"] = group["lr"] * LEARNING_RATE_FACTOR ** (len(self.events) + 1 - self.good["events"])
        if hasattr(scheduler, "base_lrs"):
            scheduler.base_lrs = [base * LEARNING_RATE_FACTOR for base in scheduler.base_lrs]
        event = {"step": step, "term": first[0], "restored_step": self.good["step"]}
        self.events.append(event)
        logger.warning(
            f"training diverged at step {step}: {what} is nan, infinite or far above where it was. Restored the state "
            f"of step {self.good['step']}; learning rate {rate:g} -> {rate * LEARNING_RATE_FACTOR:g} "
            f"(restart {len(self.events)} of {self.restarts})"
        )

    # Resuming

    def state_dict(self) -> dict[str, Any]:
        """This process's: the loss that it has seen is that of its own batches."""
        return {"running": self.running, "seen": self.seen, "events": self.events}

    def load_state_dict(self, state: dict[str, Any]):
        self.running = [0.0, 0.0] if state["running"] is None else state["running"]
        self.seen, self.events = state["seen"], state["events"]


def finite(values: Tensor) -> Tensor:
    """Where values are finite, by fewer operations than `isfinite` takes: inf - inf is nan, too."""
    return values - values == 0


class GuardCallback(ServingCallback):
    """Asks the trainer's [`DivergenceGuard`] at the right moments."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return getattr(self.trainer.optimizer, "optimizer", self.trainer.optimizer)

    def remember(self):
        if not self.trainer.engine_saves():
            self.trainer.guard.remember(self.trainer.plain_model, self.optimizer, self.trainer.state.global_step)

    def look(self, steps: int):
        """If something was bad in the steps so far, put all back to where it was before it."""
        trainer = self.trainer
        if trainer.guard.flag is None or not trainer.guard.flag > 0:
            return
        scheduler = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
        trainer.guard.recover(trainer.plain_model, self.optimizer, scheduler, steps)
        trainer.model_wrapped.zero_grad()
        trainer.sums[True].clear()
        trainer._tr_loss.zero_()
        trainer._globalstep_last_logged = steps

    def skips_on_device(self) -> bool:
        """Whether the optimizer leaves out a step by a flag on its device, so that the host need not wait for it."""
        return (
            self.trainer.args.device.type == "cuda"
            and bool(self.optimizer.defaults.get("fused"))
            and getattr(self.trainer.accelerator, "scaler", None) is None  # which sets the flag itself
        )

    def on_train_begin(self, args, state, control, **kwargs):
        self.remember()

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.trainer.guard.conclude()
        if args.world_size > 1 and self.trainer.guard.flag is not None:
            self.trainer.guard.agree(args.device)
        if self.skips_on_device():
            flag = self.trainer.guard.flag  # None where nothing was seen
            self.optimizer.found_inf = None if flag is None else torch.as_tensor(flag, dtype=torch.float32)
        else:
            self.look(state.global_step + 1)

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_log or control.should_evaluate or control.should_save or not self.skips_on_device():
            self.look(state.global_step)

    def on_epoch_end(self, args, state, control, **kwargs):
        self.on_step_end(args, state, control)
        if args.save_strategy == SaveStrategy.NO:
            self.remember()

    def on_save(self, args, state, control, **kwargs):
        self.remember()
