"""Callbacks of the trainer: progress for the model's schedules, a bar that shows every loss term, Ctrl-C."""

__all__ = ["InterruptCallback", "LossBarCallback", "ScheduleCallback", "ServingCallback"]

import signal
import threading
from contextlib import contextmanager
from weakref import ref

import torch
import torch.distributed as dist
from tqdm.auto import tqdm
from transformers import TrainerCallback

_NOT_TERMS = {"epoch", "learning_rate", "grad_norm", "total_flos", "step"}


class ServingCallback(TrainerCallback):
    """A callback that knows its trainer and does not hold it, so that a trainer is freed, with its data, as soon as
    nobody else does. Copies of a trainer have callbacks of their own."""

    def __init__(self, trainer):
        self.served = ref(trainer)

    @property
    def trainer(self):
        return self.served()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "served": self.trainer}

    def __setstate__(self, state: dict):
        self.__dict__.update(state, served=ref(state["served"]))


class ScheduleCallback(TrainerCallback):
    """Tells the model the share of training that is done, in its buffer `progress`; 1 outside training.

    It also asks for an entry in the log at the end of each epoch, so that short epochs show their loss terms too.
    """

    def on_train_begin(self, args, state, control, **kwargs):
        if args.world_size > 1:  # the Trainer has seeded all processes alike, but their noise must differ
            torch.manual_seed(args.seed + 1 + args.process_index)

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        model.progress.fill_(state.global_step / max(state.max_steps, 1))

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        getattr(model, "before_optimizer_step", lambda: None)()  # a stage of FSDP has none

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_log = True

    def on_train_end(self, args, state, control, model=None, **kwargs):
        model.progress.fill_(1.0)


def readable(logs: dict[str, float]) -> str:
    """'loss 12.30  reconstruction 11.10  kl 1.20' from one entry of the log."""
    terms = {
        name.removeprefix("eval_"): value
        for name, value in logs.items()
        if name.removeprefix("eval_") not in _NOT_TERMS
    }
    return "  ".join(
        f"{name} {value:.4g}" for name, value in terms.items() if not name.endswith(("runtime", "per_second"))
    )


class LossBarCallback(TrainerCallback):
    """One bar for the whole training with the newest loss terms beside it, and one line per evaluation."""

    def __init__(self):
        self.bar, self.latest = None, ""

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, unit=" steps", desc="training", dynamic_ncols=True
            )

    def on_step_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.bar is None or not logs or "train_runtime" in logs:
            return
        if "eval_loss" in logs:
            epoch = f"epoch {state.epoch:g}"
            self.bar.write(f"{epoch:>10}  train: {self.latest}  |  validation: {readable(logs)}")
        else:
            self.latest = readable(logs)
            self.bar.set_postfix_str(self.latest)

    def on_train_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class InterruptCallback(TrainerCallback):
    """On the first Ctrl-C, training ends after the step it is in, with a checkpoint. A second one stops at once.

    Many processes must stop at the same step: they agree on it whenever they log.
    """

    def __init__(self):
        self.interrupted = False

    @contextmanager
    def listening(self):
        """Handle SIGINT here, and as before afterwards. Only the main thread can."""
        self.interrupted = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, self.handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def handle(self, signum, frame):
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
        if control.should_training_stop and self.interrupted and state.epoch % 1:
            # in the middle of an epoch: what is due at its end will be done there, after the resume
            control.should_evaluate = control.should_save = control.should_log = False
