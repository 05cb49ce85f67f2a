"""The part of `GAETrainer` that saves and loads checkpoints without pickle."""

__all__ = ["TRAINING_ARGS", "CheckpointMixin"]

from copy import copy
from pathlib import Path
from typing import Any, cast

import torch

from ..core.adapters import has_adapter, load_adapter_weights
from ..core.files import write_text
from .arguments import GAETrainingArguments
from .base_trainer import BaseTrainer
from .checkpointing import TRAINER_STATE, get_rng_state, load_tree, save_tree, set_rng_state
from .optimizer_checks import check_group_settings, check_optimizer_state
from .output_folder import delete_old_checkpoints
from .quiet import hide_progress_bars
from .resume_checks import check_model_files, check_trainer_state
from .state_checks import check_like, fits

OPTIMIZER, SCHEDULER, SCALER = "optimizer.safetensors", "scheduler.safetensors", "scaler.safetensors"
RUN_COST = "run_cost.safetensors"
TRAINING_ARGS = "training_args.json"


class CheckpointMixin(BaseTrainer):
    """Writes the training state as safetensors and JSON. FSDP and DeepSpeed write their shards in their own formats.

    trainer_state.json is the last file of a checkpoint, so its presence marks the checkpoint as complete. Old
    checkpoints are deleted in the order of their steps.
    """

    _args_to_record: GAETrainingArguments | None = None  # while a checkpoint is written

    def _save_checkpoint(self, model, trial):
        checkpoint = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            (checkpoint / TRAINER_STATE).unlink(missing_ok=True)  # a checkpoint that is rewritten is incomplete
        self.accelerator.wait_for_everyone()
        # transformers would delete old checkpoints by modification time, which may be wrong
        self._args_to_record, self.args = self.args, copy(self.args)
        self.args.save_total_limit = None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args, self._args_to_record = self._args_to_record, None
        if self.args.should_save:
            limit, state = self.args.save_total_limit, self.state
            best_step = state.best_global_step if state.best_model_checkpoint else None
            delete_old_checkpoints(checkpoint.parent, limit, state.global_step, best_step)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None):
        if not self.args.should_save:
            return
        folder = Path(output_dir or cast(str, self.args.output_dir))
        with hide_progress_bars(), self.averaged_weights():
            self.plain_model.save_pretrained(folder, state_dict=state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(folder))
        arguments = self._args_to_record or self.args
        write_text(folder / TRAINING_ARGS, arguments.to_json_string())

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None):
        """As in transformers, but nothing is loaded if the state or the weights do not fit this run."""
        check_trainer_state(resume_from_checkpoint, [*self.callback_handler.callbacks, self.control])
        target = self.plain_model if model is None else model
        if has_adapter(target) and not self.is_sharded:
            return load_adapter_weights(target, resume_from_checkpoint)
        if not self.is_sharded:
            check_model_files(resume_from_checkpoint, target)
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self):
        """As in transformers, which does not load an adapter that `add_adapter` added."""
        if has_adapter(self.plain_model) and not self.is_sharded:
            load_adapter_weights(self.plain_model, cast(str, self.state.best_model_checkpoint))
        else:
            super()._load_best_model()

    # Optimizer, scheduler, average, cost and guard

    def _save_optimizer_and_scheduler(self, output_dir: str):
        if self.is_sharded:
            return super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            folder = Path(output_dir)
            save_tree(cast(Any, self.optimizer).state_dict(), folder / OPTIMIZER)
            save_tree(cast(Any, self.lr_scheduler).state_dict(), folder / SCHEDULER)
            save_tree(self.cost.state_dict(), folder / RUN_COST)
            if self.average is not None:
                self.average.save(self.plain_model, folder)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None):
        if self.average is not None and checkpoint is not None:
            self.average.resume(self.plain_model, checkpoint)
        if checkpoint is None or self.is_sharded:
            return super()._load_optimizer_and_scheduler(checkpoint)
        folder = Path(checkpoint)
        self._load_optimizer(folder / OPTIMIZER)
        for file, target in ((folder / SCHEDULER, self.lr_scheduler), (folder / RUN_COST, self.cost)):
            _load_state(file, target)
        with fits(self._process_file(checkpoint)):
            self.guard.load_state_dict(self._load_process_state(checkpoint)["guard"])

    def _load_optimizer(self, file: Path):
        state = load_tree(file)
        with fits(file):
            self._load_optimizer_state(state)

    def _load_optimizer_state(self, state: Any):
        """Load the `state_dict` of an optimizer.

        Raises:
            ValueError: if it does not fit the optimizer and the model.
        """
        optimizer = cast(torch.optim.Optimizer, self.optimizer)
        check_optimizer_state(state, getattr(optimizer, "optimizer", optimizer), self.plain_model)
        check_group_settings(state["param_groups"], optimizer.param_groups)
        optimizer.load_state_dict(state)
        for parameter, values in optimizer.state.items():
            # fused kernels iterate over parameter and state together, so both need the same memory format
            for name, value in values.items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)

    # Gradient scaler

    def _save_scaler(self, output_dir: str):
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            save_tree(scaler.state_dict(), Path(output_dir) / SCALER)

    def _load_scaler(self, checkpoint: str | None):
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and checkpoint is not None and (Path(checkpoint) / SCALER).is_file():
            _load_state(Path(checkpoint) / SCALER, scaler)

    # State of each process

    def _save_rng_state(self, output_dir: str):
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_tree(self.process_state(), self._process_file(output_dir))
        self.accelerator.wait_for_everyone()  # trainer_state.json, written next, marks the checkpoint as complete

    def process_state(self) -> dict[str, Any]:
        """The part of the training state that differs between processes."""
        return {"random": get_rng_state(), "guard": self.guard.state_dict()}

    def _load_rng_state(self, checkpoint: str | None):
        if checkpoint is not None:
            with fits(self._process_file(checkpoint)):
                set_rng_state(self._load_process_state(checkpoint)["random"])

    def _process_file(self, checkpoint: str) -> Path:
        return Path(checkpoint) / f"rng_state_{self.args.process_index}.safetensors"

    def _load_process_state(self, checkpoint: str) -> dict[str, Any]:
        """The random state and the guard of this process."""
        file = self._process_file(checkpoint)
        if not self.is_sharded and not (Path(checkpoint) / OPTIMIZER).is_file():
            raise ValueError(
                f"'{checkpoint}' has no optimizer state, so training cannot resume from it; "
                "it was saved with save_only_model=True"
            )
        if not file.is_file():
            raise ValueError(
                f"'{checkpoint}' has no random state for process {self.args.process_index}: "
                "resume with as many processes as saved it"
            )
        state = load_tree(file)
        if not isinstance(state, dict) or not {"random", "guard"} <= state.keys():
            raise OSError(f"'{file}' does not hold the state of a process; resume from an earlier checkpoint")
        return state


def _load_state(file: Path, target: Any):
    """Load the state of a schedule, gradient scaler or cost that has the structure of its present one."""
    state = load_tree(file)
    with fits(file):
        check_like(state, target.state_dict(), file.stem)
        target.load_state_dict(state)
