"""The callback that connects a `DivergenceGuard` to the trainer."""

__all__ = ["DivergenceCallback"]

from typing import Any, cast

import torch
from torch import nn
from transformers.trainer_utils import SaveStrategy

from .callbacks import TrainerAwareCallback


class DivergenceCallback(TrainerAwareCallback):
    """Ends the steps of the trainer's guard, and restores the last good state when it has detected divergence.

    On a GPU with a fused optimizer the host does not wait for the device at every step: the optimizer skips a bad step
    by itself, and the host recovers at the next log, evaluation or checkpoint.
    """

    def on_train_begin(self, args, state, control, **kwargs):
        self._save_good_state()

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        guard = self.trainer.guard
        guard.end_step()
        if args.world_size > 1 and guard.diverged is not None:
            guard.agree(args.device)
        if self.optimizer_skips_bad_steps():
            diverged = guard.diverged  # None if a custom compute_loss observed nothing
            found_inf = None if diverged is None else torch.as_tensor(diverged, dtype=torch.float32)
            cast(Any, self._optimizer).found_inf = found_inf  # read by fused optimizers
        else:
            self._recover_if_diverged(state.global_step + 1)

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_evaluate or control.should_save:
            self._check_weights()
        host_waits = control.should_log or control.should_evaluate or control.should_save
        if host_waits or not self.optimizer_skips_bad_steps():
            self._recover_if_diverged(state.global_step)

    def on_epoch_end(self, args, state, control, **kwargs):
        self._check_weights()
        self._recover_if_diverged(state.global_step)
        if args.save_strategy == SaveStrategy.NO:
            self._save_good_state()

    def on_save(self, args, state, control, **kwargs):
        self._save_good_state()

    def optimizer_skips_bad_steps(self) -> bool:
        """Whether the optimizer reads a flag on the GPU that tells it to skip a step."""
        return (
            self.trainer.args.device.type == "cuda"
            and bool(self._optimizer.defaults.get("fused"))
            and getattr(self.trainer.accelerator, "scaler", None) is None  # a gradient scaler sets the flag itself
        )

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        wrapper: Any = self.trainer.optimizer
        return getattr(wrapper, "optimizer", wrapper)

    def _check_weights(self):
        if not self.trainer.is_sharded:
            self.trainer.guard.check_weights(self.trainer.plain_model, self.trainer.average)

    def _save_good_state(self):
        trainer = self.trainer
        if not trainer.is_sharded:
            step = trainer.state.global_step
            trainer.guard.save_good_state(trainer.plain_model, self._optimizer, step, trainer.average)

    def _recover_if_diverged(self, step: int):
        trainer = self.trainer
        if trainer.guard.diverged is None or not trainer.guard.diverged > 0:
            return
        scheduler = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
        trainer.guard.recover(trainer.plain_model, self._optimizer, scheduler, step, trainer.average)
        cast(nn.Module, trainer.model_wrapped).zero_grad()
        # bad losses must not appear in the log
        trainer.train_sums.clear()
        trainer._tr_loss.zero_()
        trainer._globalstep_last_logged = step
