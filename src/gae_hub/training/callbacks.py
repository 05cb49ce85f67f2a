"""Callbacks of the trainer: schedules of the model, a progress bar with the loss terms, and Ctrl-C."""

__all__ = ["InterruptCallback", "LossBarCallback", "ScheduleCallback", "TrainerAwareCallback"]

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import torch
import torch.distributed as dist
from tqdm.auto import tqdm
from transformers import TrainerCallback

from .base_trainer import BaseTrainer

_NOT_TERMS = {"epoch", "learning_rate", "grad_norm", "total_flos", "step"}


class TrainerAwareCallback(TrainerCallback):
    """A callback that reads its trainer.

    The reference is weak, so that a trainer and its data are freed as soon as the user deletes it. The callbacks of a
    deep copy of a trainer refer to the copy.
    """

    def __init__(self, trainer: BaseTrainer):
        self._trainer_ref = ref(trainer)

    @property
    def trainer(self) -> BaseTrainer:
        trainer = self._trainer_ref()
        if trainer is None:
            raise ReferenceError(f"the trainer of this {type(self).__name__} no longer exists; keep a reference to it")
        return trainer

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer_ref": self.trainer}

    def __setstate__(self, state: dict[str, Any]):
        self.__dict__.update(state, _trainer_ref=ref(state["_trainer_ref"]))


class ScheduleCallback(TrainerCallback):
    """Sets the model's buffer `progress` to the share of training that is done, and to 1 outside training.

    It also seeds each process differently, calls the model's `before_optimizer_step`, and adds an entry to the log
    at the end of each epoch, so that short epochs show their loss terms too.

    Attributes:
        epoch_ended: whether no step was taken since the end of an epoch.
    """

    epoch_ended = True

    def on_train_begin(self, args, state, control, **kwargs):
        if args.world_size > 1:  # the Trainer seeds all processes alike
            torch.manual_seed(args.seed + 1 + args.process_index)

    def on_step_begin(self, args, state, control, model: Any = None, **kwargs):
        self.epoch_ended = False
        model.set_progress(state.global_step, state.max_steps)

    def on_pre_optimizer_step(self, args, state, control, model: Any = None, **kwargs):
        if hasattr(model, "before_optimizer_step"):  # a sampler has none
            model.before_optimizer_step()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.epoch_ended = control.should_log = True

    def on_train_end(self, args, state, control, model: Any = None, **kwargs):
        model.set_progress(state.max_steps, state.max_steps)


class LossBarCallback(TrainerCallback):
    """One progress bar for the whole training with the newest loss terms, and one line per evaluation."""

    def __init__(self):
        self._bar: tqdm | None = None
        self._latest_terms = ""

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self._bar = tqdm(
                total=state.max_steps, initial=state.global_step, unit=" steps", desc="training", dynamic_ncols=True
            )

    def on_step_end(self, args, state, control, **kwargs):
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self._bar is None or not logs or "train_runtime" in logs:
            return
        if "eval_loss" in logs:
            epoch = f"epoch {state.epoch:g}"
            self._bar.write(f"{epoch:>10}  train: {self._latest_terms}  |  validation: {_format_terms(logs)}")
        else:
            self._latest_terms = _format_terms(logs)
            self._bar.set_postfix_str(self._latest_terms)

    def on_train_end(self, args, state, control, **kwargs):
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _format_terms(logs: dict[str, float]) -> str:
    """'loss 12.3  reconstruction 11.1  kl 1.2' from one entry of the log."""
    terms = {name.removeprefix("eval_"): value for name, value in logs.items()}
    return "  ".join(
        f"{name} {value:.4g}"
        for name, value in terms.items()
        if name not in _NOT_TERMS and not name.endswith(("runtime", "per_second"))
    )


class InterruptCallback(TrainerCallback):
    """Ends training after the current step on the first Ctrl-C, with a checkpoint. A second Ctrl-C raises at once.

    Several processes must stop at the same step, so they agree on it at every logging step.

    Attributes:
        interrupted: whether Ctrl-C was pressed in this training.
    """

    def __init__(self):
        self.interrupted = False

    @contextmanager
    def handle_sigint(self) -> Iterator[None]:
        """Handle SIGINT inside this context. Does nothing outside the main thread, where Python forbids it."""
        self.interrupted = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def _on_signal(self, signum, frame):
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def on_step_end(self, args, state, control, **kwargs):
        if args.world_size > 1:
            if state.global_step % max(int(args.logging_steps), 1):
                return
            flag = torch.tensor(float(self.interrupted), device=args.device)
            dist.all_reduce(flag, dist.ReduceOp.MAX)
            self.interrupted = bool(flag)
        if self.interrupted:
            control.should_save = control.should_training_stop = True

    def on_epoch_end(self, args, state, control, **kwargs):
        is_last = state.global_step >= state.max_steps
        if control.should_training_stop and self.interrupted and state.epoch % 1 and not is_last:
            # stopped in the middle of an epoch: the resumed run evaluates, saves and logs at its end
            control.should_evaluate = control.should_save = control.should_log = False
