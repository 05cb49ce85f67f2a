"""The part of `GAETrainer` that continues a run from a checkpoint as if it had not been interrupted."""

__all__ = ["ResumeMixin"]

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import EarlyStoppingCallback, PreTrainedConfig, TrainerState
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import speed_metrics
from transformers.utils import logging

from ..core.adapters import changed_adapter_settings, has_adapter, read_adapter_config
from ..core.checkpoint_checks import read_config
from ..core.configuration import one_error
from ..core.json_files import read_json_object
from .checkpoint_mixin import TRAINING_ARGS, CheckpointMixin
from .output_folder import CHECKPOINTS, delete_checkpoint
from .quiet import hide_resume_warnings
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
    "warmup_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "dataloader_drop_last",
    "train_sampling_strategy",
    "seed",
    "data_seed",
    "ema_decay",
)
"""Training arguments whose effect is part of a checkpoint's state: optimizer, schedule, average, order of the data."""
REPORTED_SETTINGS = (
    "num_train_epochs",
    "max_steps",
    "max_grad_norm",
    "group_max_grad_norm",
    "bf16",
    "fp16",
    "divergence_restarts",
    "divergence_threshold",
    "metric_for_best_model",
    "greater_is_better",
    "load_best_model_at_end",
)
"""Training arguments that may change on resume, and that change the result: the model card says from which step on."""

_OPTIMIZER_SETTINGS = FIXED_SETTINGS[: FIXED_SETTINGS.index("lr_scheduler_type")]

# the structure of `ResumeMixin.loss_state`; None stands for any plain value
_LOSS_STATE = {"since_log": torch.zeros(()), "total": 0.0, "last_log": 0, "terms": {"count": 0, "sums": None}}


class ResumeMixin(CheckpointMixin):
    """Resumes at the exact step, with the state of callbacks and the sums for the log, and ends where a run ended."""

    _checkpoint = ""  # that this run was resumed from
    _has_ended = False  # whether the run of the checkpoint needs no further step
    _epoch_is_open = False  # whether the checkpoint was saved after the last step of an epoch, but before its end
    _summary: dict[str, float]  # duration, rates and mean loss of all sessions
    _last_step: dict[str, Any]  # gradient norm and learning rate of the last step, for the log
    _loss_state: dict[str, Any] | None = None  # the sums for the log, until training continues

    def check_settings(self, checkpoint: str | Path):
        """Check that the settings of a checkpoint's run which resuming cannot change are those of this trainer.

        They are arguments, and the model's config. Other arguments that differ are logged with their values.

        Raises:
            ValueError: if they are not. The message names each setting, the value of the run, and the new value.
        """
        self._changed_settings: list[str] = []
        file = Path(checkpoint) / TRAINING_ARGS
        if not file.is_file():
            logger.warning(f"'{checkpoint}' has no {TRAINING_ARGS}: resuming cannot check that the settings are equal")
            return
        saved = read_json_object(file)
        given = json.loads(self.args.to_json_string())
        changed = [name for name in FIXED_SETTINGS if name in saved and saved[name] != given.get(name)]
        if self.optimizer is not None:  # the user's, whose settings are compared instead
            changed = [name for name in changed if name not in _OPTIMIZER_SETTINGS]
        differences = [f"{name} was {saved[name]!r} and is {given.get(name)!r}" for name in changed]
        if not differences:  # the file of another config may not fit the class of this one
            differences = list(self._changed_config_fields(checkpoint))
        if differences:
            differences = "; ".join(differences)
            raise ValueError(
                f"'{checkpoint}' belongs to a run with other settings: {differences}. Resume with the settings of "
                "that run, or start a new run from its weights: GAETrainer(AutoGAE.from_pretrained(checkpoint), ...)"
            )
        self._changed_settings = [
            f"{name} was {saved[name]!r} and is {given.get(name)!r}"
            for name in REPORTED_SETTINGS
            if name in saved and saved[name] != given.get(name)
        ]

    def _changed_config_fields(self, checkpoint: str | Path) -> Iterator[str]:
        """For each field in which the config of a checkpoint differs from the model's: name and both values.

        A checkpoint of an adapter has the adapter's config.
        """
        model = self.plain_model
        if has_adapter(model):
            (name,) = model.active_adapters()
            yield from changed_adapter_settings(read_adapter_config(checkpoint), model.peft_config[name])
            return
        content, config = read_config(checkpoint), cast(Any, self.plain_model.config)
        if "model_type" not in content or not hasattr(config, "own_fields"):
            return  # shards have no config
        if content["model_type"] != config.model_type:
            yield f"model_type was '{content['model_type']}' and is '{config.model_type}'"
            return
        with one_error(f"config.json in '{checkpoint}'"):
            saved = type(config).from_dict(content)
        yield from _differences(saved, config)

    # Hooks of transformers' training loop, in order

    def _init_training_state(
        self, max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
    ):
        """As in transformers, and remember whether the run has ended and what its best checkpoint is."""
        with hide_resume_warnings():
            position = super()._init_training_state(
                max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
            )
        self._has_ended, self._epoch_is_open, self._loss_state, self.setting_changes = False, False, None, []
        self._last_step = {}
        if resume_from_checkpoint is None:
            return position
        self._checkpoint = resume_from_checkpoint
        state, checkpoint = self.state, Path(resume_from_checkpoint)
        if state.global_step > max_steps:
            raise ValueError(
                f"'{checkpoint}' was saved at step {state.global_step}, and max_steps or num_train_epochs end the run "
                f"at step {max_steps}: set them higher, or resume from an earlier checkpoint"
            )
        state.compute_steps(self.args, max_steps)  # transformers keeps the intervals of the checkpoint
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
            num_images, changes = saved.get("num_images"), saved.get("setting_changes", [])
            if num_images != self._num_images():
                raise ValueError(f"train_dataset had {num_images} images and has {self._num_images()}")
            last_step = saved.get("last_step", {})
            is_valid = isinstance(last_step, dict) and all(isinstance(value, float) for value in last_step.values())
            require(is_valid, "last_step", "numbers", last_step)
            require(
                isinstance(changes, list) and all(isinstance(c, str) for c in changes), "changes", "texts", changes
            )
        self._loss_state, self._last_step = saved["losses"], last_step
        self.setting_changes = changes + [
            f"{change} after step {state.global_step}" for change in self._changed_settings
        ]
        for change in self._changed_settings:
            logger.warning(f"{change} after step {state.global_step}, where the run is resumed")
        self._has_ended = state.global_step >= max_steps or self._stopped_early()
        is_last_of_epoch = state.global_step % num_update_steps_per_epoch == 0 or self._has_ended
        self._epoch_is_open = is_last_of_epoch and saved.get("epoch_ended") is False
        return position

    def _stopped_early(self) -> bool:
        """Whether the patience of early stopping ended before the checkpoint was saved."""
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback):
                patience = callback.early_stopping_patience
                if callback.early_stopping_patience_counter >= patience:
                    logger.warning(
                        f"early stopping ended the run at step {self.state.global_step}; an early_stopping_patience "
                        f"above {patience} continues it"
                    )
                    return True
        return False

    def _num_images(self) -> int | None:
        """Number of images to train on; None if they are streamed."""
        return len(cast(Any, self.train_dataset)) if hasattr(self.train_dataset, "__len__") else None

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
        if self._epoch_is_open:
            self._end_epoch(kwargs["trial"], kwargs["start_time"])
            self._has_ended |= self.control.should_training_stop  # by the evaluation
        if self._has_ended:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _finalize_training(self, trial, num_train_samples, start_time):
        """As in transformers, but train_loss, train_runtime and the rates cover all sessions of a resumed run."""
        self._restore_losses()
        if self._epoch_is_open:
            self._end_epoch(trial, start_time)
        best = self.state.best_model_checkpoint
        if self.args.should_save and self.args.save_total_limit == 1 and best is not None:
            # transformers deletes them too, but a kill meanwhile could leave one that looks complete
            for checkpoint in Path(self._get_output_dir(trial)).glob(CHECKPOINTS[0]):
                if checkpoint.is_dir() and not checkpoint.samefile(best):
                    delete_checkpoint(checkpoint)
        steps = self.state.global_step
        self._summary = speed_metrics(
            "train",
            start_time - self.cost.earlier_seconds,
            num_samples=num_train_samples * steps / max(self.state.max_steps, 1),
            num_steps=steps,
        )
        self._summary["train_loss"] = (self._total_loss_scalar + self._tr_loss.item()) / max(steps, 1)
        output = super()._finalize_training(trial, num_train_samples, start_time)
        metrics = {**output.metrics, **self._summary}
        return output._replace(training_loss=self._summary["train_loss"], metrics=metrics)

    def log(self, logs: dict[str, float], start_time: float | None = None):
        """As in transformers, whose last entry covers the steps since the run was resumed only."""
        if "train_loss" in logs:
            logs = {**logs, **self._summary}
        super().log(logs, start_time)

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm)
        self._last_step = {"learning_rate": cast(Any, self.optimizer).param_groups[0]["lr"]}
        if norm is not None:
            self._last_step["grad_norm"] = norm
        return norm

    def _end_epoch(self, trial, start_time):
        """Log, evaluate and save as at the end of an epoch, which the checkpoint was saved before."""
        self._epoch_is_open = False
        self._load_rng_state(self._checkpoint)  # the next checkpoint may be saved here
        self.control.should_log = self.control.should_evaluate = self.control.should_save = False
        self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
        norm, rate = (self._last_step.get(name) for name in ("grad_norm", "learning_rate"))
        self._maybe_log_save_evaluate(self._tr_loss, norm, self.model, trial, self.state.epoch, None, start_time, rate)

    # The sums for the log

    def process_state(self) -> dict[str, Any]:
        return {
            **super().process_state(),
            "losses": self.loss_state(),
            "last_step": {name: float(value) for name, value in self._last_step.items()},
            "epoch_ended": self.schedule.epoch_ended,
            "num_images": self._num_images(),
            "setting_changes": self.setting_changes,
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


def _differences(saved: Any, given: Any, prefix: str = "") -> Iterator[str]:
    """For each own field in which two configs of one class differ: name and both values."""
    for name in given.own_fields():
        one, other = getattr(saved, name), getattr(given, name)
        if isinstance(one, PreTrainedConfig) and type(one) is type(other):
            if hasattr(one, "own_fields"):
                yield from _differences(one, other, f"{prefix}{name}.")
        elif isinstance(one, PreTrainedConfig) or isinstance(other, PreTrainedConfig):
            kinds = [getattr(value, "model_type", value) for value in (one, other)]
            yield f"{prefix}{name} was {kinds[0]} and is {kinds[1]}"
        elif json.dumps(one, default=repr) != json.dumps(other, default=repr):  # a tuple is saved as a list
            yield f"{prefix}{name} was {one!r} and is {other!r}"
