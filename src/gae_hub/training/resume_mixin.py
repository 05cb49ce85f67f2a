"""The part of `GAETrainer` that continues a run from a checkpoint as if it had not been interrupted."""

__all__ = ["ResumeMixin"]

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import TrainerState
from transformers.trainer_callback import ExportableState
from transformers.utils import logging

from ..core.json_files import read_json_object
from .checkpoint_mixin import TRAINING_ARGS, CheckpointMixin
from .quiet import hide_best_checkpoint_warning
from .state_checks import check_like, fits, require

logger = logging.get_logger(__name__)

FIXED_SETTINGS = (
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "optim",
    "optim_args",
    "group_learning_rates",
    "group_weight_decay",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_ratio",
    "warmup_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "dataloader_drop_last",
    "seed",
    "data_seed",
    "ema_decay",
)
"""Training arguments whose effect is part of a checkpoint's state: optimizer, schedule, average, order of the data."""

# the structure of `ResumeMixin.loss_state`; None stands for any plain value
_LOSS_STATE = {"since_log": torch.zeros(()), "total": 0.0, "last_log": 0, "terms": {"count": 0, "sums": None}}


class ResumeMixin(CheckpointMixin):
    """Resumes at the exact step, with the state of callbacks and the sums for the log, and ends where a run ended."""

    _has_ended = False  # whether the run of the checkpoint needs no further step
    _train_loss = 0.0  # mean loss of all steps
    _loss_state: dict[str, Any] | None = None  # the sums for the log, until training continues

    def check_settings(self, checkpoint: str | Path):
        """Check that the settings of a checkpoint's run which resuming cannot change are those of this trainer.

        Raises:
            ValueError: if they are not. The message names each setting, the value of the run, and the new value.
        """
        file = Path(checkpoint) / TRAINING_ARGS
        if not file.is_file():
            logger.warning(f"'{checkpoint}' has no {TRAINING_ARGS}: resuming cannot check that the settings are equal")
            return
        saved = read_json_object(file)
        given = json.loads(self.args.to_json_string())
        changed = [name for name in FIXED_SETTINGS if name in saved and saved[name] != given.get(name)]
        if changed:
            differences = "; ".join(f"{name} was {saved[name]!r} and is {given.get(name)!r}" for name in changed)
            raise ValueError(
                f"'{checkpoint}' belongs to a run with other settings: {differences}. Resume with the settings of "
                "that run, or start a new run from its weights: GAETrainer(AutoGAE.from_pretrained(checkpoint), ...)"
            )

    # Hooks of transformers' training loop, in order

    def _init_training_state(
        self, max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
    ):
        """As in transformers, and remember whether the run has ended and what its best checkpoint is."""
        with hide_best_checkpoint_warning():
            position = super()._init_training_state(
                max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
            )
        self._has_ended, self._loss_state = False, None
        if resume_from_checkpoint is None:
            return position
        state, checkpoint = self.state, Path(resume_from_checkpoint)
        if state.best_global_step:  # by its number, because the run may have been moved
            best = checkpoint.parent / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best) if best.is_dir() else None
            if not best.is_dir():
                logger.warning(f"the best checkpoint, '{best}', does not exist: later ones can still become the best")
        # transformers fills these entries when it saves, and fails for callbacks that the checkpoint does not have
        callbacks = [c for c in [*self.callback_handler.callbacks, self.control] if isinstance(c, ExportableState)]
        state.stateful_callbacks = TrainerState(stateful_callbacks=cast(Any, callbacks)).stateful_callbacks
        saved = self._load_process_state(resume_from_checkpoint)
        with fits(self._process_file(resume_from_checkpoint)):
            check_like(saved.get("losses"), _LOSS_STATE, "losses")
            for name, value in (saved["losses"]["terms"]["sums"] or {}).items():
                require(isinstance(value, Tensor), f"the sum of {name}", "a tensor", value)
        self._loss_state = saved["losses"]
        self._has_ended = state.global_step >= max_steps or saved.get("stopped") is True
        return position

    def _load_callback_state(self):
        """Restore the state of the trainer's callbacks, but not their arguments, which may have changed on purpose."""
        if not self.args.restore_callback_states_from_checkpoint:
            return
        for name, saved in cast(dict[str, Any], self.state.stateful_callbacks).items():
            found = [c for c in self.callback_handler.callbacks if type(c).__name__ == name]
            for callback, entry in zip(found, saved if isinstance(saved, list) else [saved], strict=False):
                for attribute, value in entry.get("attributes", {}).items():
                    setattr(callback, attribute, value)
            if not found and name != type(self.control).__name__:
                logger.warning(f"the run of the checkpoint had a {name}, which this trainer does not have")

    def _run_epoch(self, *args, **kwargs):
        """As in transformers, but a run that has ended takes no further step."""
        self._restore_losses()
        if self._has_ended:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _finalize_training(self, trial, num_train_samples, start_time):
        """As in transformers, but train_loss is the mean over all steps of a run that was resumed."""
        self._restore_losses()
        if self._has_ended:
            self._end_last_epoch(trial, start_time)
        total = self._total_loss_scalar + self._tr_loss.item()
        self._train_loss = total / max(self.state.global_step, 1)
        output = super()._finalize_training(trial, num_train_samples, start_time)
        return output._replace(training_loss=self._train_loss)

    def log(self, logs: dict[str, float], start_time: float | None = None):
        """As in transformers, whose train_loss covers the steps since the run was resumed only."""
        if "train_loss" in logs:
            logs["train_loss"] = self._train_loss
        super().log(logs, start_time)

    def _end_last_epoch(self, trial, start_time):
        """Log, evaluate and save as at the end of an epoch: the checkpoint may have been saved before that."""
        self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
        if any("eval_loss" in entry and entry["step"] == self.state.global_step for entry in self.state.log_history):
            self.control.should_evaluate = self.control.should_save = False
        self._maybe_log_save_evaluate(self._tr_loss, None, self.model, trial, self.state.epoch, None, start_time)

    # The sums for the log

    def process_state(self) -> dict[str, Any]:
        stopped = self.control.should_training_stop and not self.interrupt.interrupted
        return {
            **super().process_state(),
            "losses": self.loss_state(),
            "stopped": stopped and self.state.global_step < self.state.max_steps,  # by a callback
        }

    def loss_state(self) -> dict[str, Any]:
        """What the next entry of the log and train_loss are computed from."""
        return {
            "since_log": self._tr_loss,
            "total": self._total_loss_scalar,
            "last_log": self._globalstep_last_logged,
            "terms": self.train_sums.state_dict(),
        }

    def _restore_losses(self):
        """Restore the sums once, after transformers has set its own to zero."""
        if self._loss_state is not None:
            state, self._loss_state = self._loss_state, None
            self._tr_loss.copy_(state["since_log"])
            self._total_loss_scalar, self._globalstep_last_logged = state["total"], state["last_log"]
            self.train_sums.load_state_dict(state["terms"], self.args.device)
